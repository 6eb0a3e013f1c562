//! What the services need of the raft node: a trait, so that their tests can own the answers.

use std::sync::Arc;

use futures::{FutureExt as _, future::BoxFuture};
use skep_proto::raftpb;
use skep_raft::{Joined, Membership, MembershipError, NodeHandle, RaftId, StepError};

/// The raft node.
pub trait RaftPort: Send + Sync + 'static {
    /// This member and all others, as of now. Called for every message: must not block.
    fn group(&self) -> (RaftId, Arc<Membership>);
    /// Takes a message that the rules allow. Must not block.
    fn step(&self, message: raftpb::Message) -> Result<(), StepError>;
    /// See [`NodeHandle::join`].
    fn join(
        &self,
        node_id: String,
        addr: String,
    ) -> BoxFuture<'static, Result<Joined, MembershipError>>;
    /// See [`NodeHandle::remove`].
    fn remove(&self, raft_id: RaftId) -> BoxFuture<'static, Result<(), MembershipError>>;
}

impl RaftPort for NodeHandle {
    fn group(&self) -> (RaftId, Arc<Membership>) {
        let status = self.status();
        (status.own, status.members.clone())
    }

    fn step(&self, message: raftpb::Message) -> Result<(), StepError> {
        NodeHandle::step(self, message)
    }

    fn join(
        &self,
        node_id: String,
        addr: String,
    ) -> BoxFuture<'static, Result<Joined, MembershipError>> {
        let node = self.clone();
        async move { NodeHandle::join(&node, node_id, addr).await }.boxed()
    }

    fn remove(&self, raft_id: RaftId) -> BoxFuture<'static, Result<(), MembershipError>> {
        let node = self.clone();
        async move { NodeHandle::remove(&node, raft_id).await }.boxed()
    }
}
