//! Who can be reached: from messages that came, and from what the transport reports.

use std::collections::BTreeMap;

use crate::RaftId;

#[derive(Clone, Copy, Debug)]
struct Peer {
    reachable: bool,
    heard_tick: u64,
    since_tick: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Peers {
    peers: BTreeMap<RaftId, Peer>,
    now: u64,
}

impl Peers {
    /// A message came from it, or one reached it.
    pub fn heard(&mut self, raft_id: RaftId) {
        let now = self.now;
        let peer = self.peers.entry(raft_id).or_insert(Peer {
            reachable: false,
            heard_tick: now,
            since_tick: now,
        });
        if !peer.reachable {
            peer.since_tick = now;
        }
        peer.reachable = true;
        peer.heard_tick = now;
    }

    /// A new leader gives everybody the time of an election to answer before it takes them for unreachable.
    pub fn all_heard(&mut self, members: impl Iterator<Item = RaftId>) {
        for member in members {
            self.heard(member);
        }
    }

    /// A message to it was lost.
    pub fn unreachable(&mut self, raft_id: RaftId) {
        if let Some(peer) = self.peers.get_mut(&raft_id) {
            peer.reachable = false;
        }
    }

    /// It is no member any more.
    pub fn forget(&mut self, raft_id: RaftId) {
        self.peers.remove(&raft_id);
    }

    /// A tick has passed. A leader hears from everybody with each heartbeat, so for it a long silence means that a
    /// member is gone; `silence_max` is how many ticks that is.
    pub fn tick(&mut self, silence_max: Option<u32>) {
        self.now += 1;
        if let Some(silence_max) = silence_max {
            for peer in self.peers.values_mut() {
                if self.now - peer.heard_tick > u64::from(silence_max) {
                    peer.reachable = false;
                }
            }
        }
    }

    /// For how many ticks it has been reachable without a break.
    pub fn reachable_ticks(&self, raft_id: RaftId) -> Option<u64> {
        let peer = self.peers.get(&raft_id).filter(|peer| peer.reachable)?;
        Some(self.now - peer.since_tick)
    }
}
