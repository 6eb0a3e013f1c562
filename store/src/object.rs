//! What can be stored: the ten kinds of objects and what the store must know of each. Sealed: the wire fixes the set.

use std::{borrow::Cow, fmt};

use skep_proto::{ids::Id, swarmkit};

use crate::{By, Change, Event};

/// Calls `$with!` with a row for each kind: variant and type, field, id type, field number in a log entry's action.
macro_rules! for_each_kind {
    ($with:ident) => {
        $with! {
            Node node NodeId 2,
            Service service ServiceId 3,
            Task task TaskId 4,
            Network network NetworkId 5,
            Cluster cluster ClusterId 6,
            Secret secret SecretId 7,
            Resource resource ResourceId 8,
            Extension extension ExtensionId 9,
            Config config ConfigId 10,
            Volume volume VolumeId 11,
        }
    };
}
pub(crate) use for_each_kind;

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    Node,
    Service,
    Task,
    Network,
    Cluster,
    Secret,
    Resource,
    Extension,
    Config,
    Volume,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 10] = [
        Kind::Node,
        Kind::Service,
        Kind::Task,
        Kind::Network,
        Kind::Cluster,
        Kind::Secret,
        Kind::Resource,
        Kind::Extension,
        Kind::Config,
        Kind::Volume,
    ];

    /// The kind's name in lower case, as the watch interface spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Node => "node",
            Kind::Service => "service",
            Kind::Task => "task",
            Kind::Network => "network",
            Kind::Cluster => "cluster",
            Kind::Secret => "secret",
            Kind::Resource => "resource",
            Kind::Extension => "extension",
            Kind::Config => "config",
            Kind::Volume => "volume",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A message that the store keeps in a table of its own.
pub trait Object: sealed::Row {
    /// The id of this kind of object.
    type Id: Copy + Ord + fmt::Display + Into<Id> + From<Id> + Send + Sync + 'static;
    /// This kind.
    const KIND: Kind;

    /// The id as the message has it; not necessarily a valid one.
    fn id(&self) -> &str;
    /// Version and times.
    fn meta(&self) -> Option<&swarmkit::Meta>;
    /// Sets version and times.
    fn set_meta(&mut self, meta: swarmkit::Meta);
    /// Name, labels and custom index entries, as the user gave them.
    fn annotations(&self) -> Option<&swarmkit::Annotations>;
    /// The name it is found by, in its own spelling; none if it has none yet.
    fn name(&self) -> Option<Cow<'_, str>>;
    /// Whether the condition holds for this object, on its own.
    fn matches(&self, by: &By) -> bool {
        crate::matching::matches(self, by)
    }
    /// The change as an event of this kind.
    fn event(change: Change<Self>) -> Event;
}

pub(crate) mod sealed {
    use skep_proto::ids::Id;

    use crate::{
        By, Object, StoreError,
        index::Ids,
        tables::{Table, Tables},
    };

    /// What only this crate may call or implement.
    pub trait Row:
        prost::Message + Clone + PartialEq + Default + Send + Sync + Sized + 'static
    {
        type Indexes: IndexSet<Self>;
        /// Names are unique within the table.
        const UNIQUE_NAME: bool;

        fn table(tables: &Tables) -> &Table<Self>
        where
            Self: Object;
        /// Copies the table first if somebody else still looks at it.
        fn table_mut(tables: &mut Tables) -> &mut Table<Self>
        where
            Self: Object;
        /// Conditions that only this kind knows.
        fn matches_own(&self, _: &By) -> bool {
            false
        }
        /// Gives bytes that are part of a larger buffer (the message that they came in) an allocation of their own, so that
        /// the object keeps no more in memory than it needs. For kinds that carry payloads.
        fn own_bytes(&mut self) {}
        /// Holds in common with `old` and other objects what is equal to theirs, where that is much.
        fn share(&mut self, _old: Option<&Self>, _: &Tables) {}
        /// Decodes one as it stands in an entry, to be applied to these tables.
        fn decode_for(encoded: &[u8], _: &Tables) -> Result<Self, prost::DecodeError> {
            Self::decode(encoded)
        }
        /// Rules between objects that hold for this kind alone.
        fn check(_: &Tables, _old: Option<&Self>, _new: Option<&Self>) -> Result<(), StoreError> {
            Ok(())
        }
    }

    /// The indexes of one table.
    pub trait IndexSet<T>: Clone + Default + Send + Sync {
        /// Follows one object from old to new; touches no index whose keys stay the same.
        fn replace(&mut self, id: Id, old: Option<&T>, new: Option<&T>);
        /// Whether every object has to be judged, since no index would be worth its cost.
        fn judges_all(_: &By) -> bool {
            false
        }
        /// Ids of all objects that match, and perhaps of some that do not. None if no index can tell.
        fn candidates(&self, by: &By) -> Option<Ids<'_>>;
    }
}
