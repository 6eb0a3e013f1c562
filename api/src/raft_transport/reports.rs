//! What the transport tells the raft node about its messages.

use skep_raft::{NodeHandle, RaftId};

/// Takes the reports. Called from the transport's tasks and from whoever sends: must not block.
pub trait Reports: Send + Sync + 'static {
    /// Messages to this member arrive.
    fn reachable(&self, peer: RaftId);
    /// A message to this member was lost.
    fn unreachable(&self, peer: RaftId);
    /// A snapshot for this member arrived, or did not. Told for every snapshot exactly once.
    fn snapshot(&self, peer: RaftId, delivered: bool);
    /// A member says that this one was removed from the group.
    fn removed(&self);
}

impl Reports for NodeHandle {
    fn reachable(&self, peer: RaftId) {
        self.report_reachable(peer);
    }

    fn unreachable(&self, peer: RaftId) {
        self.report_unreachable(peer);
    }

    fn snapshot(&self, peer: RaftId, delivered: bool) {
        self.report_snapshot(peer, delivered);
    }

    fn removed(&self) {
        self.report_removed();
    }
}
