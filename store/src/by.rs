//! What a query or a watch selects by. The same [`By`] asks an index and judges a single object, so that a list and the
//! events after it agree.

use skep_proto::{
    ids::{ConfigId, Id, NetworkId, NodeId, SecretId, ServiceId, VolumeId},
    swarmkit::{NodeRole, TaskState, node_spec::Membership},
};

use crate::Kind;

/// A condition on an object. A condition that has no meaning for a kind (the slot of a network) matches none of it; see
/// [`By::applies_to`] to refuse such a question instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// Every object.
    All,
    /// Any of these. None, if it is empty.
    Or(Vec<By>),
    /// Exactly this id.
    Id(Id),
    /// Ids that begin with this text.
    IdPrefix(String),
    /// Exactly this name; case does not count. A node's name is its hostname, a task's `service.slot.id` (or
    /// `service.node.id` for a global service).
    Name(String),
    /// Names that begin with this text; case does not count.
    NamePrefix(String),
    /// An entry of the object's `indices` with this key and this value.
    Custom { key: String, value: String },
    /// An entry of the object's `indices` with this key and a value that begins with this text.
    CustomPrefix { key: String, value_prefix: String },
    /// Nodes whose desired role it is.
    Role(NodeRole),
    /// Nodes with this membership.
    Membership(Membership),
    /// Tasks of this service.
    Service(ServiceId),
    /// Tasks assigned to this node.
    Node(NodeId),
    /// Tasks in this slot of this service.
    Slot(ServiceId, u64),
    /// Tasks that should be in this state.
    DesiredState(TaskState),
    /// Tasks that were last seen in this state.
    TaskState(TaskState),
    /// Services and tasks of this runtime: `container`, `attachment` or a generic runtime's kind in lower case.
    Runtime(String),
    /// Services and tasks whose spec attaches to this network.
    ReferencedNetwork(NetworkId),
    /// Services and tasks whose container uses this secret.
    ReferencedSecret(SecretId),
    /// Services and tasks whose container uses this config.
    ReferencedConfig(ConfigId),
    /// Resources of this kind, by the name of its extension; case counts.
    Kind(String),
    /// Volumes of this group.
    VolumeGroup(String),
    /// Volumes of this driver.
    Driver(String),
    /// Tasks that this volume is attached to.
    VolumeAttachment(VolumeId),
}

impl By {
    /// Whether objects of this kind can be asked for in this way.
    pub fn applies_to(&self, kind: Kind) -> bool {
        match self {
            By::All
            | By::Id(_)
            | By::IdPrefix(_)
            | By::Name(_)
            | By::NamePrefix(_)
            | By::Custom { .. }
            | By::CustomPrefix { .. } => true,
            By::Or(any) => any.iter().all(|by| by.applies_to(kind)),
            By::Role(_) | By::Membership(_) => kind == Kind::Node,
            By::Service(_)
            | By::Node(_)
            | By::Slot(..)
            | By::DesiredState(_)
            | By::TaskState(_)
            | By::VolumeAttachment(_) => kind == Kind::Task,
            By::Runtime(_)
            | By::ReferencedNetwork(_)
            | By::ReferencedSecret(_)
            | By::ReferencedConfig(_) => matches!(kind, Kind::Service | Kind::Task),
            By::Kind(_) => kind == Kind::Resource,
            By::VolumeGroup(_) | By::Driver(_) => kind == Kind::Volume,
        }
    }
}
