//! The raft node in the words of the services and control loops.

use async_trait::async_trait;

use skep_raft::{MembershipError, NodeHandle, RaftId, ReadError, TransferError};

use crate::group::{Group, GroupError, MemberState};

/// [`Group`] over a running raft node.
#[derive(Clone)]
pub struct RaftGroup {
    raft: NodeHandle,
}

impl RaftGroup {
    /// Over this node.
    pub fn new(raft: NodeHandle) -> RaftGroup {
        RaftGroup { raft }
    }
}

impl From<MembershipError> for GroupError {
    fn from(error: MembershipError) -> GroupError {
        match error {
            MembershipError::NotLeader => GroupError::NotLeader,
            MembershipError::Unknown(raft_id) => GroupError::UnknownMember { raft_id: raft_id.0 },
            MembershipError::QuorumLoss { reachable, remaining, needed } => {
                GroupError::QuorumLoss { reachable, remaining, needed }
            }
            other => GroupError::Failed(other.to_string()),
        }
    }
}

#[async_trait]
impl Group for RaftGroup {
    fn own_raft_id(&self) -> u64 {
        self.raft.status().own.0
    }

    fn members(&self) -> Vec<MemberState> {
        let status = self.raft.status();
        let member = |member: &skep_raft::Member| MemberState {
            raft_id: member.raft_id.0,
            node_id: member.node_id.clone(),
            addr: member.addr.clone(),
            leader: status.leader == Some(member.raft_id),
            reachable: status.reachable(member.raft_id),
        };
        status.members.members().map(member).collect()
    }

    fn check_removal(&self, raft_id: u64) -> Result<(), GroupError> {
        Ok(self.raft.check_removal(RaftId(raft_id))?)
    }

    async fn remove(&self, raft_id: u64) -> Result<(), GroupError> {
        Ok(self.raft.remove(RaftId(raft_id)).await?)
    }

    async fn transfer(&self, to: Option<u64>) -> Result<(), GroupError> {
        match self.raft.transfer(to.map(RaftId)).await {
            Ok(_) => Ok(()),
            Err(TransferError::NotLeader) => Err(GroupError::NotLeader),
            Err(error) => Err(GroupError::Failed(error.to_string())),
        }
    }

    async fn read_barrier(&self) -> Result<(), GroupError> {
        match self.raft.read_barrier().await {
            Ok(_) => Ok(()),
            Err(ReadError::NoLeader) => Err(GroupError::NotLeader),
            Err(error) => Err(GroupError::Failed(error.to_string())),
        }
    }

    async fn changed(&self) {
        let before = self.members();
        let mut status = self.raft.watch_status();
        // A closed channel means that the node has ended; nothing changes any more, and the owner drops this future.
        while status.changed().await.is_ok() {
            if self.members() != before {
                return;
            }
        }
        std::future::pending().await
    }
}
