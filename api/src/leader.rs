//! What the door asks of the raft group: who leads.

use futures::future::BoxFuture;

/// Where the leader is, as far as this manager knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Leader {
    /// This manager leads and has applied everything up to its election.
    Local,
    /// Another manager leads.
    Remote {
        /// `host:port` of its remote listener.
        addr: String,
        /// Its node id.
        node_id: String,
    },
    /// Nobody is known to lead, or this manager was elected and has not caught up yet.
    Unknown {
        /// For how many ticks of a second it has been so.
        for_ticks: u32,
    },
}

/// Knows who leads. Implemented by the manager on top of its raft node.
pub trait LeaderRoute: Send + Sync + 'static {
    /// The leader now. Called for every request to a method of the leader: must not block.
    fn leader(&self) -> Leader;

    /// Resolves when [`leader`](Self::leader) may answer otherwise than at the time of this call. Safe to drop.
    fn changed(&self) -> BoxFuture<'static, ()>;
}
