//! What becomes of committed entries: proposals go to the state machine, conf changes change the membership.

use std::sync::Arc;

use raft::eraftpb::{Entry, EntryType};

use super::{Campaign, Core, Event};
use crate::{Committed, Membership, RaftId, Snapshot, StopReason, conf_change::ConfChange};

impl Core {
    pub(super) fn apply(&mut self, entries: Vec<Entry>) {
        let Some(last) = entries.last().map(|entry| entry.index) else { return };
        let mut run = Vec::new();
        for entry in entries {
            self.snapshots.count(&entry);
            match entry.get_entry_type() {
                EntryType::EntryNormal if entry.data.is_empty() => {}
                EntryType::EntryNormal => run.push(Committed {
                    index: entry.index,
                    term: entry.term,
                    ticket: self.lead.take_ticket(entry.index),
                    data: entry.data,
                }),
                EntryType::EntryConfChange => {
                    self.flush_run(&mut run);
                    self.apply_conf_change(&entry);
                    if self.ended {
                        return;
                    }
                }
                EntryType::EntryConfChangeV2 => {
                    // Nobody in a group like ours proposes one, and SwarmKit does not apply it either.
                    let index = entry.index;
                    tracing::error!(index, "a conf change of the second version is ignored");
                }
            }
        }
        self.flush_run(&mut run);
        self.raw.advance_apply_to(last);
        self.settle();
        self.reads_applied(last);
    }

    fn flush_run(&mut self, run: &mut Vec<Committed>) {
        if !run.is_empty() {
            self.out.events.push(Event::Apply(std::mem::take(run)));
        }
    }

    fn apply_conf_change(&mut self, entry: &Entry) {
        let Some(change) = ConfChange::decode(&entry.data) else {
            let what = format!("entry {} is no conf change, though it claims to be", entry.index);
            self.end(StopReason::Fault(what));
            return;
        };
        let outcome = Arc::make_mut(&mut self.membership).apply(&change);
        match &outcome {
            Ok(()) => tracing::info!(index = entry.index, ?change, "raft membership changed"),
            Err(why) => {
                tracing::warn!(index = entry.index, "a conf change breaks the rules: {why}");
            }
        }
        match self.raw.apply_conf_change(&change.to_raft()) {
            Ok(conf_state) => self.raw.mut_store().set_conf_state(conf_state),
            Err(error) => return self.fault("cannot apply a conf change", &error),
        }
        self.settle();
        self.out.events.push(Event::Members(self.membership.clone()));
        if let ConfChange::Remove(raft_id) = change {
            self.member_removed(raft_id);
        }
        self.change_applied(entry.index, entry.term, outcome);
    }

    fn member_removed(&mut self, raft_id: RaftId) {
        self.peers.forget(raft_id);
        if raft_id == self.own {
            self.end(StopReason::Removed);
            return;
        }
        if self.raw.raft.leader_id == raft_id.0 {
            // The leader is gone: nobody need wait for its silence. One campaigns at once, lest all split the vote;
            // should it not be able to, the others do after their timeouts.
            self.forget_leader();
            if self.membership.members().next().is_some_and(|first| first.raft_id == self.own) {
                self.campaign = Campaign::Wanted;
            }
        }
    }

    /// A leader's snapshot replaces the log, and the state machine, which is checked before the snapshot is durable:
    /// one that cannot be restored must not reach the disk.
    pub(super) fn install(&mut self, snapshot: &Snapshot) {
        let (index, data) = (snapshot.meta.index, snapshot.data.clone());
        self.raw.mut_store().install(snapshot.meta.clone());
        self.snapshots.restored(index, data.len());
        self.out.events.push(Event::Restore { index, data });
    }

    /// The state machine was restored from a leader's snapshot, which holds this membership.
    pub fn restored(&mut self, membership: Membership) {
        self.membership = Arc::new(membership);
        self.out.events.push(Event::Members(self.membership.clone()));
        if self.membership.is_removed(self.own) {
            self.end(StopReason::Removed);
        }
    }

    /// A leader's snapshot is durable: it counts as applied.
    pub(super) fn installed(&mut self, index: u64) {
        if self.raw.raft.raft_log.applied < index {
            self.raw.advance_apply_to(index);
        }
        self.settle();
        self.reads_applied(index);
    }
}
