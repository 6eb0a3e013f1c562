//! What a node knows of itself and its peers, as values for people and metrics.

use std::{collections::BTreeSet, sync::Arc};

use crate::{Epoch, KeyId, Membership, RaftId, Sizes};

/// Raft's roles.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Role {
    /// Follows a leader, or waits for one.
    #[default]
    Follower,
    /// Asks whether it could win an election.
    PreCandidate,
    /// Asks for votes.
    Candidate,
    /// Leads. It acts as leader only once [`Status::epoch`] is set.
    Leader,
}

/// How a leader replicates to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// Looks for where their logs agree; one message at a time.
    Probe,
    /// Streams entries.
    Replicate,
    /// Waits for a snapshot to arrive.
    Snapshot,
}

/// What is known of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    /// The peer.
    pub raft_id: RaftId,
    /// The last message to it got through, or one came from it lately.
    pub reachable: bool,
    /// How long it has been reachable without a break, in ticks; 0 when it is not.
    pub reachable_ticks: u64,
    /// How far the leader replicates to it; only on the leader.
    pub progress: Option<PeerProgress>,
}

/// A leader's view of a peer's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerProgress {
    /// Known to be the same up to here.
    pub matched: u64,
    /// The next entry to send.
    pub next: u64,
    /// How it is being sent.
    pub state: PeerState,
}

/// A node at one moment.
#[derive(Clone, Debug, Default)]
pub struct Status {
    /// This member.
    pub own: RaftId,
    /// Its role.
    pub role: Role,
    /// Its term.
    pub term: u64,
    /// The leader it knows of.
    pub leader: Option<RaftId>,
    /// Set while this member leads and has applied everything up to its election: it may act as leader.
    pub epoch: Option<Epoch>,
    /// The first entry in the log.
    pub first_index: u64,
    /// The last entry in the log.
    pub last_index: u64,
    /// The last entry that is durable here.
    pub persisted_index: u64,
    /// The last entry known to be committed.
    pub commit_index: u64,
    /// The last entry applied here.
    pub applied_index: u64,
    /// What the newest snapshot includes.
    pub snapshot_index: u64,
    /// Who is in the group.
    pub members: Arc<Membership>,
    /// Every other member, in order of raft id.
    pub peers: Vec<PeerStatus>,
    /// What it takes on disk.
    pub sizes: Sizes,
    /// The data keys that something on disk is sealed with. Any other may be forgotten.
    pub keys_in_use: Arc<BTreeSet<KeyId>>,
}

impl Status {
    /// Whether this member may act as leader: it leads and is caught up.
    pub fn leads(&self) -> bool {
        self.epoch.is_some()
    }

    /// Whether the two differ in nothing but positions in the log and sizes: role, term, leader, members, who can be
    /// reached, and the keys in use are the same. Watchers are woken when one of these changes.
    pub fn is_like(&self, other: &Status) -> bool {
        let key =
            |status: &Status| (status.own, status.role, status.term, status.leader, status.epoch);
        let reachable = |status: &Status| -> Vec<_> {
            status.peers.iter().map(|peer| (peer.raft_id, peer.reachable)).collect()
        };
        key(self) == key(other)
            && self.members == other.members
            && self.keys_in_use == other.keys_in_use
            && reachable(self) == reachable(other)
    }

    /// Whether a member can be reached, as far as this node knows; itself always.
    pub fn reachable(&self, raft_id: RaftId) -> bool {
        raft_id == self.own
            || self.peers.iter().any(|peer| peer.raft_id == raft_id && peer.reachable)
    }
}
