//! What a node is told when it starts, and every bound that it keeps, with its reason.

use crate::{Member, Timing};

/// The largest proposal: 1.5 MiB, SwarmKit's limit, which keeps a message well below gRPC's 4 MiB.
pub const PROPOSAL_BYTES_MAX: usize = 3 * 512 * 1024;

/// Bounds and intervals of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// The group's clock.
    pub timing: Timing,
    /// Where this node's randomness (election jitter, raft ids, read ids) comes from. From the system's random source
    /// in a daemon, fixed in a test.
    pub seed: u64,
    /// A snapshot is taken when this many entries were applied since the last one (SwarmKit: 10,000), and they hold half as many
    /// bytes as it does.
    pub snapshot_entries: u64,
    /// … or when the entries applied since the last one hold this many bytes, and half as many as it does: entries of many
    /// changes are large.
    pub snapshot_bytes: u64,
    /// … or when they hold this many, however large the last one was: bounds what a restart reads and what the log keeps in
    /// memory.
    pub log_bytes_max: u64,
    /// So many entries before a snapshot stay in the log, so that a follower that is a little behind need not be sent
    /// the whole state (SwarmKit: 500) …
    pub keep_entries: u64,
    /// … as far as they hold no more than this many bytes.
    pub keep_bytes: u64,
    /// Proposed and not yet committed bytes that a leader holds at most; further proposals are refused.
    pub uncommitted_bytes_max: u64,
}

impl Config {
    /// The defaults, with this clock and seed.
    pub fn new(timing: Timing, seed: u64) -> Self {
        Config {
            timing,
            seed,
            snapshot_entries: 10_000,
            snapshot_bytes: 8 * 1024 * 1024,
            log_bytes_max: 64 * 1024 * 1024,
            keep_entries: 500,
            keep_bytes: 1024 * 1024,
            uncommitted_bytes_max: 32 * 1024 * 1024,
        }
    }
}

/// What may change while a node runs. Comes from the replicated state, so that all members agree on it in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The length of one tick, and whether candidates ask first. How many ticks make a heartbeat and an election timeout
    /// is fixed from the start.
    pub tick: std::time::Duration,
    /// See [`Timing::pre_vote`].
    pub pre_vote: bool,
    /// See [`Config::snapshot_entries`].
    pub snapshot_entries: u64,
    /// See [`Config::keep_entries`].
    pub keep_entries: u64,
}

/// How a node comes to be.
#[derive(Clone, Debug)]
pub enum Start {
    /// Founds a group of one. The log must be empty.
    Bootstrap {
        /// The node it runs on.
        node_id: String,
        /// Where its peers will reach it.
        addr: String,
    },
    /// Goes on as a member that a leader has admitted. The log must be empty.
    Join {
        /// This node, with the raft id that the leader gave it.
        own: Member,
        /// The members it was told of, itself among them or not.
        members: Vec<Member>,
    },
    /// Goes on with what the log holds.
    Restart,
    /// Goes on with what the log holds, alone: everybody else is removed for ever, and what was not known to be
    /// committed is dropped. For when the quorum is lost for good.
    ForceNewCluster {
        /// Where its peers will reach it from now on.
        addr: String,
    },
}
