//! The raft group as services and control loops see it: a trait, so that their tests can own the answers.

use async_trait::async_trait;

/// A member of the raft group, as this manager sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberState {
    /// Its raft id; never used again once removed.
    pub raft_id: u64,
    /// The node that it runs on.
    pub node_id: String,
    /// `host:port` of its remote listener.
    pub addr: String,
    /// It leads, as far as this manager knows.
    pub leader: bool,
    /// The last message to it got through; always true for this manager itself.
    pub reachable: bool,
}

/// Why the group did not do what was asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum GroupError {
    /// Another manager leads, or none does.
    #[error("this manager is not the leader of the raft group")]
    NotLeader,
    /// The member is not one.
    #[error("raft member {raft_id:x} is not part of the group")]
    UnknownMember {
        /// The id that was asked for.
        raft_id: u64,
    },
    /// The change would leave the group without a quorum.
    #[error(
        "raft: member cannot be removed, because removing it may result in loss of quorum \
         ({reachable} of the {remaining} remaining managers can be reached, {needed} are needed)"
    )]
    QuorumLoss {
        /// Members that would remain and can be reached.
        reachable: usize,
        /// Members that would remain.
        remaining: usize,
        /// Reachable members that the change needs.
        needed: usize,
    },
    /// Anything else, in the words of the raft group.
    #[error("{0}")]
    Failed(String),
}

/// What services and loops need of the raft group.
#[async_trait]
pub trait Group: Send + Sync + 'static {
    /// This manager's raft id.
    fn own_raft_id(&self) -> u64;
    /// All members.
    fn members(&self) -> Vec<MemberState>;
    /// Whether the group would keep its quorum without this member (SwarmKit: self and reachable peers other than it
    /// must be at least (n-1)/2 + 1).
    fn check_removal(&self, raft_id: u64) -> Result<(), GroupError>;
    /// Takes a member out of the group for ever. When the future is dropped the removal may still happen.
    async fn remove(&self, raft_id: u64) -> Result<(), GroupError>;
    /// Hands leadership to another member, the one furthest along when none is named.
    async fn transfer(&self, to: Option<u64>) -> Result<(), GroupError>;
    /// Returns once this manager's store holds every write that was acknowledged before the call.
    async fn read_barrier(&self) -> Result<(), GroupError>;
    /// Resolves at each change of membership or reachability.
    async fn changed(&self);
}
