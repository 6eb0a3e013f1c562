//! The core: a member of the group as a state machine without I/O, clock or randomness of its own.
//!
//! **In** come ticks, messages of peers, proposals, requests, and word of what has been done: persisted up to, probed,
//! snapshot saved. **Out** comes an [`Output`]: what to send, what to persist, and what has happened. Whoever drives
//! it (the node's task, or a simulation) does what an output says *before it calls the core again*, in this order:
//!
//! 1. [`Output::send`] may go out at once. What may not go out before something is durable is not in there yet: it
//!    comes in the output after [`Core::persisted`].
//! 2. [`Output::persist`] goes to the disk in order, any number of them under way at a time; each is reported by
//!    [`Core::persisted`] when it is durable. A leader's appends are in `send` of the same output, so its own fsync and
//!    its followers' go on at the same time.
//! 3. [`Output::events`] are performed in order. [`Event::Apply`] counts as applied when the core is called next.
//!
//! When [`Core::commits_untold`] holds after that, the driver calls [`Core::tell_commits`] a moment later.
//!
//! The same calls with the same values and the same seed give the same outputs: one seed is one history.

mod apply;
mod change;
mod commit_word;
mod guard;
mod lead;
mod output;
mod peers;
mod read;
mod ready;
mod recover;
mod snapshot;
mod transfer;
mod view;
mod writes;

use std::{sync::Arc, time::Duration};

pub use output::{Answer, Envelope, Event, Output, Persist, RequestId};
use raft::{RawNode, StateRole, eraftpb};
use rand::{Rng as _, SeedableRng as _, rngs::StdRng};
pub use recover::{Restored, prepare};
pub use writes::WRITES_IN_FLIGHT_MAX;

pub use crate::wire::attach_snapshot;

use crate::{
    Config, Member, Membership, RaftId, Settings, StartError, StopReason, drain, log::MemLog, wire,
};

/// Entry bytes of one append message at most: SwarmKit's setting.
const APPEND_BYTES_MAX: u64 = 65_535;

/// Append messages to one follower without an answer at most: SwarmKit's setting.
const APPENDS_IN_FLIGHT_MAX: usize = 256;

/// Committed bytes that are applied in one go at most, so that a long replay does not keep heartbeats waiting.
const APPLY_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One member of a raft group. See the module.
pub struct Core {
    own: RaftId,
    config: Config,
    raw: RawNode<MemLog>,
    rng: StdRng,
    ticks: u64,
    membership: Arc<Membership>,
    /// Where members are that the membership does not name yet (a joiner was told of them).
    introduced: Membership,
    jitter: Jitter,
    lead: lead::Lead,
    commit_word: commit_word::CommitWord,
    writes: writes::Writes,
    reads: read::Reads,
    changes: change::Changes,
    transfer: Option<transfer::Transfer>,
    snapshots: snapshot::Snapshots,
    peers: peers::Peers,
    campaign: Campaign,
    ended: bool,
    out: Output,
}

/// Whether this member is to campaign without waiting for a silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Campaign {
    No,
    /// After a start, once everything committed is applied: if there is nobody else to hear from.
    IfAlone,
    Wanted,
}

/// The election timeout in force, drawn from the core's own seed whenever raft draws one.
struct Jitter {
    drawn_for: (u64, StateRole, u64),
    ticks: usize,
}

impl Core {
    /// A member as its log has it (see [`prepare`]). The state machine holds the snapshot already; everything
    /// committed after it comes out of the first [`ready`](Self::ready).
    pub fn new(config: Config, restored: Restored) -> Result<Core, StartError> {
        let timing = config.timing;
        let own = restored.identity.own.raft_id;
        let applied = restored.log.snapshot_meta().map_or(0, |meta| meta.index);
        let raft_config = raft::Config {
            id: own.0,
            election_tick: timing.election_ticks as usize,
            heartbeat_tick: timing.heartbeat_ticks as usize,
            applied,
            max_size_per_msg: APPEND_BYTES_MAX,
            max_inflight_msgs: APPENDS_IN_FLIGHT_MAX,
            check_quorum: true,
            pre_vote: timing.pre_vote,
            max_uncommitted_size: config.uncommitted_bytes_max,
            max_committed_size_per_ready: APPLY_BYTES_MAX,
            skip_bcast_commit: true,
            ..Default::default()
        };
        let raw = RawNode::new(&raft_config, restored.log, &drain::logger())
            .map_err(|error| StartError::Config(error.to_string()))?;
        let mut rng = StdRng::seed_from_u64(config.seed ^ own.0);
        let first_read = rng.random();
        let mut core = Core {
            own,
            raw,
            ticks: 0,
            membership: Arc::new(restored.membership),
            introduced: Membership::new(restored.identity.peers, []),
            jitter: Jitter { drawn_for: (u64::MAX, StateRole::Follower, 0), ticks: 0 },
            lead: lead::Lead::default(),
            commit_word: commit_word::CommitWord::default(),
            writes: writes::Writes::default(),
            reads: read::Reads::new(first_read),
            changes: change::Changes::default(),
            transfer: None,
            snapshots: snapshot::Snapshots::new(applied, restored.snapshot_bytes),
            peers: peers::Peers::default(),
            campaign: Campaign::IfAlone,
            ended: false,
            out: Output::default(),
            rng,
            config,
        };
        core.settle();
        core.out.events.push(Event::Members(core.membership.clone()));
        Ok(core)
    }

    /// One tick of the group's clock has passed.
    pub fn tick(&mut self) {
        if self.ended {
            return;
        }
        self.ticks += 1;
        self.peers.tick(self.is_leader().then_some(self.config.timing.election_ticks));
        if self.may_campaign() || self.raw.raft.state == StateRole::Leader {
            self.raw.tick();
        }
        self.settle();
        self.tick_writes();
        self.tick_reads();
        self.tick_changes();
        self.tick_transfer();
        self.tick_snapshots();
    }

    /// Campaigns as soon as the rules allow it, without waiting for a silence.
    pub fn campaign(&mut self) {
        self.campaign = Campaign::Wanted;
    }

    /// Changes what may change while a member runs; the clock itself is whoever ticks. Gives the length of a tick if
    /// that is another than before.
    pub fn configure(&mut self, settings: Settings) -> Option<Duration> {
        let changed = self.config.timing.tick != settings.tick;
        self.config.timing.tick = settings.tick;
        self.config.timing.pre_vote = settings.pre_vote;
        self.config.snapshot_entries = settings.snapshot_entries;
        self.config.keep_entries = settings.keep_entries;
        self.raw.raft.pre_vote = settings.pre_vote;
        changed.then_some(settings.tick)
    }

    /// Hands out what is written lazily otherwise: the commit index, before a stop.
    pub fn flush(&mut self) {
        self.flush_commit();
    }

    /// Word that a message to a member was lost.
    pub fn report_unreachable(&mut self, to: RaftId) {
        self.peers.unreachable(to);
        self.raw.report_unreachable(to.0);
        self.settle();
    }

    /// Word that a message to a member arrived.
    pub fn report_reachable(&mut self, to: RaftId) {
        if to != self.own && self.membership.get(to).is_some() {
            self.peers.heard(to);
        }
    }

    /// Word of what became of a `MsgSnap`.
    pub fn report_snapshot(&mut self, to: RaftId, delivered: bool) {
        let status =
            if delivered { raft::SnapshotStatus::Finish } else { raft::SnapshotStatus::Failure };
        self.raw.report_snapshot(to.0, status);
        self.settle();
    }

    /// A peer says that this member was removed.
    pub fn report_removed(&mut self) {
        self.end(StopReason::Removed);
    }

    /// This member's id.
    pub fn own(&self) -> RaftId {
        self.own
    }

    /// Who is in the group, as far as applied here.
    pub fn membership(&self) -> &Arc<Membership> {
        &self.membership
    }

    /// Whether this member is raft's leader, caught up or not.
    pub fn is_leader(&self) -> bool {
        self.raw.raft.state == StateRole::Leader
    }

    /// The core has ended (removed, or raft failed) and does nothing any more.
    pub fn has_ended(&self) -> bool {
        self.ended
    }

    /// What this member knows of itself and its peers; of its disk it knows nothing.
    pub fn status(&self) -> crate::Status {
        view::status(self)
    }

    /// Where a member is, from the membership or from what this member was told when it joined.
    fn locate(&self, raft_id: RaftId) -> Option<&Member> {
        if self.membership.is_removed(raft_id) {
            return None;
        }
        self.membership.get(raft_id).or_else(|| self.introduced.get(raft_id))
    }

    /// To be called after everything that may have changed raft's state: puts our election timeout in the place of
    /// the one that raft drew from a random source of its own.
    fn settle(&mut self) {
        let raft = &mut self.raw.raft;
        let now = (raft.term, raft.state, raft.leader_id);
        if now != self.jitter.drawn_for {
            let election = self.config.timing.election_ticks as usize;
            self.jitter = Jitter {
                drawn_for: now,
                ticks: self.rng.random_range(election as u64..2 * election as u64) as usize,
            };
        }
        raft.set_randomized_election_timeout(self.jitter.ticks);
    }

    /// Raft must not start a campaign while a snapshot is being installed (it would look for entries that are gone),
    /// nor, alone in its group, while its last entries are not durable (it would win at once, and lead over a log
    /// that it may lose).
    fn may_campaign(&self) -> bool {
        !self.writes.installing() && (!self.raw.raft.prs().is_singleton() || self.all_persisted())
    }

    fn all_persisted(&self) -> bool {
        let log = &self.raw.raft.raft_log;
        log.persisted == log.last_index()
    }

    fn end(&mut self, reason: StopReason) {
        if !self.ended {
            self.ended = true;
            self.flush_commit();
            self.out.events.push(Event::Ended(reason));
        }
    }

    fn fault(&mut self, what: &str, error: &raft::Error) {
        self.end(StopReason::Fault(format!("{what}: {error}")));
    }

    /// A message to the library, from this member to itself.
    fn step_local(&mut self, mut message: eraftpb::Message) -> raft::Result<()> {
        message.from = self.own.0;
        let outcome = self.raw.raft.step(message);
        self.settle();
        outcome
    }

    fn send(&mut self, message: eraftpb::Message) {
        let to = RaftId(message.to);
        if self.membership.is_removed(to) {
            if message.get_msg_type() == eraftpb::MessageType::MsgSnapshot {
                self.raw.report_snapshot(to.0, raft::SnapshotStatus::Failure);
            }
            return;
        }
        // A member that is behind may not know its leader yet: unless it can answer, it will never be told.
        let unknown = || Member { raft_id: to, node_id: String::new(), addr: String::new() };
        let member = self.locate(to).cloned().unwrap_or_else(unknown);
        self.commit_word.sent(&message);
        let snapshot = message.get_msg_type() == eraftpb::MessageType::MsgSnapshot;
        let envelope = Envelope { to: member, message: wire::message_to_wire(message) };
        if snapshot {
            self.out.send_snapshot.push(envelope);
        } else {
            self.out.send.push(envelope);
        }
    }
}
