//! The status: the core's state as values for people and metrics.

use std::sync::Arc;

use raft::{ProgressState, StateRole, Storage as _};

use super::Core;
use crate::{PeerProgress, PeerState, PeerStatus, RaftId, Role, Sizes, Status};

/// Raft's role as a value of ours.
pub fn role(role: StateRole) -> Role {
    match role {
        StateRole::Follower => Role::Follower,
        StateRole::PreCandidate => Role::PreCandidate,
        StateRole::Candidate => Role::Candidate,
        StateRole::Leader => Role::Leader,
    }
}

pub fn status(core: &Core) -> Status {
    let raft = &core.raw.raft;
    let others = core.membership.members().filter(|member| member.raft_id != core.own);
    Status {
        own: core.own,
        role: role(raft.state),
        term: raft.term,
        leader: (raft.leader_id != raft::INVALID_ID).then_some(RaftId(raft.leader_id)),
        epoch: core.lead.epoch(),
        first_index: core.raw.store().first_index().unwrap_or_default(),
        last_index: raft.raft_log.last_index(),
        persisted_index: raft.raft_log.persisted,
        commit_index: raft.raft_log.committed,
        applied_index: raft.raft_log.applied,
        snapshot_index: core.raw.store().snapshot_meta().map_or(0, |meta| meta.index),
        members: core.membership.clone(),
        peers: others.map(|member| peer(core, member.raft_id)).collect(),
        sizes: Sizes::default(),
        keys_in_use: Arc::default(),
    }
}

fn peer(core: &Core, raft_id: RaftId) -> PeerStatus {
    let reachable_ticks = core.peers.reachable_ticks(raft_id);
    let progress = core.raw.raft.prs().get(raft_id.0).filter(|_| core.is_leader());
    PeerStatus {
        raft_id,
        reachable: reachable_ticks.is_some(),
        reachable_ticks: reachable_ticks.unwrap_or_default(),
        progress: progress.map(|progress| PeerProgress {
            matched: progress.matched,
            next: progress.next_idx,
            state: match progress.state {
                ProgressState::Probe => PeerState::Probe,
                ProgressState::Replicate => PeerState::Replicate,
                ProgressState::Snapshot => PeerState::Snapshot,
            },
        }),
    }
}
