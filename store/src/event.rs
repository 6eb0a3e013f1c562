//! What a commit changed: typed events that carry the object before and after.

use std::{fmt, sync::Arc};

use skep_proto::{
    ids::Id,
    swarmkit::{
        Cluster, Config, Extension, Network, Node, Resource, Secret, Service, Task, Volume,
    },
};

use crate::{By, Kind, Object, object::for_each_kind};

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Create,
    Update,
    Remove,
}

impl Action {
    /// Every action.
    pub const ALL: [Action; 3] = [Action::Create, Action::Update, Action::Remove];
}

/// One object before and after. At least one of the two is there.
#[derive(Clone, PartialEq)]
pub struct Change<T> {
    pub id: Id,
    /// The object before; none if it was created.
    pub old: Option<Arc<T>>,
    /// The object after; none if it was removed.
    pub new: Option<Arc<T>>,
}

impl<T: Object> Change<T> {
    /// What happened.
    pub fn action(&self) -> Action {
        match (&self.old, &self.new) {
            (None, _) => Action::Create,
            (Some(_), Some(_)) => Action::Update,
            (Some(_), None) => Action::Remove,
        }
    }

    /// The object as it is now, or as it last was if it was removed.
    pub fn object(&self) -> Option<&Arc<T>> {
        self.new.as_ref().or(self.old.as_ref())
    }

    pub(crate) fn matches(&self, by: &By) -> bool {
        self.object().is_some_and(|object| object.matches(by))
    }
}

macro_rules! event {
    ($($Kind:ident $field:ident $Id:ident $tag:literal,)*) => {
        /// A change of one object, by kind.
        #[derive(Clone, PartialEq)]
        pub enum Event {
            $($Kind(Change<$Kind>),)*
        }

        impl Event {
            /// The kind of the object.
            pub fn kind(&self) -> Kind {
                match self { $(Event::$Kind(_) => Kind::$Kind,)* }
            }

            /// What happened to it.
            pub fn action(&self) -> Action {
                match self { $(Event::$Kind(change) => change.action(),)* }
            }

            /// Its id.
            pub fn id(&self) -> Id {
                match self { $(Event::$Kind(change) => change.id,)* }
            }

            /// Whether the condition holds for the object as it is now, or as it last was if it was removed.
            pub fn matches(&self, by: &By) -> bool {
                match self { $(Event::$Kind(change) => change.matches(by),)* }
            }
        }
    };
}
for_each_kind!(event);

/// Objects may hold secrets: only what happened to which object is shown.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} {} {}", self.action(), self.kind(), self.id())
    }
}

/// Everything that one log entry changed, or a restored snapshot.
#[derive(Clone, Debug, PartialEq)]
pub struct Commit {
    /// Index of the log entry (of the snapshot's last entry): the same on every manager.
    pub version: u64,
    /// In the order in which they were made; for a watcher, those that it selected.
    pub events: Vec<Event>,
}
