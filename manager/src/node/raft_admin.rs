//! The raft group in the words of an operator, and `skep.v1.RaftAdmin`.

use skep_proto::{
    skep::{
        GetRaftStatusRequest, GetRaftStatusResponse, RaftPeer, TransferLeadershipRequest,
        TransferLeadershipResponse, raft_admin_server,
    },
    swarmkit::Node as NodeObject,
};
use skep_raft::{NodeHandle, PeerState, RaftId, Role, Status as RaftStatus};
use skep_store::{Store, Tables};
use tonic::{Request, Response, Status};

use super::NodeError;

/// Serves `skep.v1.RaftAdmin` on one manager.
#[derive(Clone)]
pub struct RaftAdminService {
    raft: NodeHandle,
    store: Store,
}

impl RaftAdminService {
    /// Over this raft node and this store.
    pub fn new(raft: NodeHandle, store: Store) -> RaftAdminService {
        RaftAdminService { raft, store }
    }

    /// The group as this manager sees it.
    pub fn status(&self) -> GetRaftStatusResponse {
        describe(&self.raft.status(), &self.store.view())
    }

    /// Hands leadership over; gives the new leader's node id. An empty target is the peer that is furthest along.
    pub async fn transfer(&self, target: &str) -> Result<String, NodeError> {
        let to = match target {
            "" => None,
            target => Some(find_member(&self.raft.status(), &self.store.view(), target)?),
        };
        let leader = self.raft.transfer(to).await?;
        let status = self.raft.status();
        Ok(status.members.get(leader).map(|member| member.node_id.clone()).unwrap_or_default())
    }
}

/// A member by node id, unique prefix of one, host name or raft id in hexadecimal.
fn find_member(status: &RaftStatus, tables: &Tables, target: &str) -> Result<RaftId, NodeError> {
    let hostname = |node_id: &str| hostname(tables, node_id);
    let exact: Vec<_> = status
        .members
        .members()
        .filter(|member| {
            member.node_id == target
                || hostname(&member.node_id) == target
                || member.raft_id.to_string() == target
        })
        .collect();
    let found = match exact.is_empty() {
        false => exact,
        true => status.members.members().filter(|m| m.node_id.starts_with(target)).collect(),
    };
    match found[..] {
        [member] => Ok(member.raft_id),
        [] => Err(NodeError::NotFound(format!(
            "no manager is called {target:?}: name one by node id, host name or raft id (see `skep raft status`)"
        ))),
        _ => Err(NodeError::InvalidArgument(format!(
            "{} managers match {target:?}: name one by its whole node id",
            found.len()
        ))),
    }
}

fn hostname(tables: &Tables, node_id: &str) -> String {
    tables
        .get_text::<NodeObject>(node_id)
        .and_then(|node| node.description.as_ref().map(|d| d.hostname.clone()))
        .unwrap_or_default()
}

fn describe(status: &RaftStatus, tables: &Tables) -> GetRaftStatusResponse {
    let leads = status.role == Role::Leader;
    let member = |member: &skep_raft::Member| {
        let progress = status
            .peers
            .iter()
            .find(|peer| peer.raft_id == member.raft_id)
            .and_then(|peer| peer.progress);
        let own = member.raft_id == status.own;
        let matched = match progress {
            Some(progress) => progress.matched,
            None if own && leads => status.persisted_index,
            None => 0,
        };
        let known = leads && (own || progress.is_some());
        RaftPeer {
            raft_id: member.raft_id.0,
            node_id: member.node_id.clone(),
            addr: member.addr.clone(),
            hostname: hostname(tables, &member.node_id),
            leader: status.leader == Some(member.raft_id),
            reachable: status.reachable(member.raft_id),
            match_index: matched,
            lag_entries: if known { status.last_index.saturating_sub(matched) } else { 0 },
            progress: progress
                .map(|progress| match progress.state {
                    PeerState::Probe => "probe",
                    PeerState::Replicate => "replicate",
                    PeerState::Snapshot => "snapshot",
                })
                .unwrap_or_default()
                .to_owned(),
            last_error: String::new(),
        }
    };
    GetRaftStatusResponse {
        raft_id: status.own.0,
        leader_raft_id: status.leader.map_or(0, |leader| leader.0),
        role: match status.role {
            Role::Follower => "follower",
            Role::PreCandidate => "pre-candidate",
            Role::Candidate => "candidate",
            Role::Leader => "leader",
        }
        .to_owned(),
        term: status.term,
        commit_index: status.commit_index,
        applied_index: status.applied_index,
        last_index: status.last_index,
        first_index: status.first_index,
        snapshot_index: status.snapshot_index,
        log_bytes: status.sizes.log_bytes,
        snapshot_bytes: status.sizes.snapshot_bytes,
        members: status.members.members().map(member).collect(),
        removed_members: status.members.removed().len() as u64,
        swarmkit_compatible: !super::timing::is_fast(tables),
        serving_writes: status.leads(),
    }
}

#[tonic::async_trait]
impl raft_admin_server::RaftAdmin for RaftAdminService {
    async fn get_raft_status(
        &self,
        _: Request<GetRaftStatusRequest>,
    ) -> Result<Response<GetRaftStatusResponse>, Status> {
        Ok(Response::new(self.status()))
    }

    async fn transfer_leadership(
        &self,
        request: Request<TransferLeadershipRequest>,
    ) -> Result<Response<TransferLeadershipResponse>, Status> {
        let leader_node_id = self.transfer(&request.into_inner().target).await?;
        Ok(Response::new(TransferLeadershipResponse { leader_node_id }))
    }
}
