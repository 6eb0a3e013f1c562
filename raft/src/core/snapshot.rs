//! When a snapshot of this member is due, and how much of the log may go once it is durable.

use std::collections::BTreeMap;

use raft::{ProgressState, eraftpb::Entry};

use super::{Core, Event};
use crate::{RaftId, SnapshotMeta};

/// The log in memory may be kept longer than configured for followers that would need a whole snapshot otherwise, up
/// to this many bytes.
const KEPT_BYTES_MAX: u64 = 128 * 1024 * 1024;

/// A snapshot is due no sooner than when the entries since the last one hold this part of the bytes that it holds: so a large
/// state is not written again and again while small entries come fast, and writing it costs twice its growth at most.
const WORTH_ONE_IN: u64 = 2;

/// After a snapshot failed, so many further entries are applied before the next try.
const RETRY_ENTRIES: u64 = 1_000;

/// A follower that is being sent a snapshot is tried again after so many election timeouts without word of it. The
/// transport reports what becomes of a snapshot much sooner; this is for a report that got lost, since raft itself would
/// wait for ever. Long enough for a large snapshot over a slow line: a minute, ten with SwarmKit's ticks.
const SENDING_ELECTIONS_MAX: u64 = 60;

/// See the module.
#[derive(Debug)]
pub struct Snapshots {
    /// The last entry that the newest snapshot, taken or received, includes.
    last: u64,
    bytes_since: u64,
    /// What the newest snapshot holds.
    bytes: u64,
    /// The one being taken.
    taking: Option<u64>,
    not_before: u64,
    /// Wanted whatever was applied since (keys have changed), and everything that it includes may go from the log.
    forced: bool,
    compact_all: bool,
    /// Since when followers are being sent a snapshot.
    sending: BTreeMap<RaftId, u64>,
}

impl Snapshots {
    pub fn new(last: u64, bytes: u64) -> Self {
        Snapshots {
            last,
            bytes_since: 0,
            bytes,
            taking: None,
            not_before: 0,
            forced: false,
            compact_all: false,
            sending: BTreeMap::new(),
        }
    }

    pub fn count(&mut self, entry: &Entry) {
        self.bytes_since += entry.data.len() as u64;
    }

    pub fn restored(&mut self, index: u64, bytes: usize) {
        self.last = index;
        self.bytes_since = 0;
        self.bytes = bytes as u64;
    }
}

impl Core {
    /// Wants a snapshot soon, whatever was applied since the last one, and the log compacted up to it.
    pub fn force_snapshot(&mut self) {
        self.snapshots.forced = true;
    }

    pub(super) fn take_snapshot_if_due(&mut self) {
        let applied = self.raw.raft.raft_log.applied;
        let state = &self.snapshots;
        if state.taking.is_some() || applied <= state.last || self.writes.installing() {
            return;
        }
        let many = applied - state.last >= self.config.snapshot_entries
            || state.bytes_since >= self.config.snapshot_bytes;
        let due = many && state.bytes_since >= state.bytes / WORTH_ONE_IN
            || state.bytes_since >= self.config.log_bytes_max;
        if !(state.forced || due && applied >= state.not_before) {
            return;
        }
        let Some(term) = self.raw.store().term_at(applied) else { return };
        let ids = self.raw.raft.prs().conf().voters().ids();
        let mut voters: Vec<_> = ids.iter().map(RaftId).collect();
        voters.sort_unstable();
        let meta = SnapshotMeta { index: applied, term, voters };
        let state = &mut self.snapshots;
        state.taking = Some(applied);
        state.compact_all = std::mem::take(&mut state.forced);
        state.bytes_since = 0;
        let membership = self.membership.clone();
        self.out.events.push(Event::TakeSnapshot { meta, membership });
    }

    /// A snapshot of this member is durable; its data has so many bytes.
    pub fn snapshot_saved(&mut self, meta: SnapshotMeta, bytes: u64) {
        self.snapshots.taking = None;
        if self.ended || meta.index <= self.snapshots.last {
            return;
        }
        self.snapshots.last = meta.index;
        self.snapshots.bytes = bytes;
        let through = self.compact_through(meta.index);
        self.raw.mut_store().saved(meta);
        if through >= self.raw.store().first() {
            self.raw.mut_store().compact(through);
            self.out.events.push(Event::Compact(through));
        }
    }

    /// A snapshot could not be encoded or is not wanted any more.
    pub fn snapshot_failed(&mut self) {
        self.snapshots.taking = None;
        self.snapshots.not_before = self.raw.raft.raft_log.applied + RETRY_ENTRIES;
    }

    pub(super) fn tick_snapshots(&mut self) {
        let receiving = |(id, progress): (&u64, &raft::Progress)| {
            (progress.state == ProgressState::Snapshot).then_some(RaftId(*id))
        };
        let receiving: Vec<_> = self.raw.raft.prs().iter().filter_map(receiving).collect();
        self.snapshots.sending.retain(|id, _| receiving.contains(id));
        let limit = SENDING_ELECTIONS_MAX * u64::from(self.config.timing.election_ticks);
        for id in receiving {
            let since = *self.snapshots.sending.entry(id).or_insert(self.ticks);
            if self.ticks - since > limit {
                self.snapshots.sending.remove(&id);
                self.report_snapshot(id, false);
            }
        }
    }

    /// Followers that stream along, or that are being sent a snapshot, find what they need next in the log.
    fn compact_through(&self, index: u64) -> u64 {
        if self.snapshots.compact_all {
            return index;
        }
        let store = self.raw.store();
        let kept = store.count_within(index, self.config.keep_entries, self.config.keep_bytes);
        let through = index.saturating_sub(kept);
        if !self.is_leader() || self.raw.store().bytes() > KEPT_BYTES_MAX {
            return through;
        }
        let needed = self.raw.raft.prs().iter().filter_map(|(_, progress)| match progress.state {
            ProgressState::Replicate if progress.recent_active => Some(progress.matched),
            ProgressState::Snapshot => Some(progress.pending_snapshot),
            _ => None,
        });
        needed.fold(through, u64::min)
    }
}
