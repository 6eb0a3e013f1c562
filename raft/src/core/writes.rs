//! What is on its way to the disk, and what waits for it to arrive.

use std::collections::VecDeque;

use raft::eraftpb;

use super::Core;
use crate::{Batch, HardState};

/// Writes on their way at most. The log writer merges what waits into one transaction, so this bounds how far memory
/// may be ahead of the disk: with appends of up to 64 KiB and a few large ones, some tens of megabytes. When it is
/// reached the core stops handing out work until the disk has caught up.
pub const WRITES_IN_FLIGHT_MAX: usize = 64;

/// A leader whose oldest write is on its way for so many election timeouts gives up leadership: its disk has stalled,
/// and others can commit without it.
const STALL_ELECTIONS: u64 = 3;

#[derive(Debug)]
struct InFlight {
    number: u64,
    /// The last Ready that is durable with it.
    ready: u64,
    /// May go out once it is durable.
    messages: Vec<eraftpb::Message>,
    snapshot_index: Option<u64>,
    since_tick: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Writes {
    in_flight: VecDeque<InFlight>,
    last_number: u64,
    /// A hard state that changed in its commit index alone: carried by the next write, at the next tick at the latest.
    lazy: Option<HardState>,
}

impl Writes {
    pub fn has_room(&self) -> bool {
        self.in_flight.len() < WRITES_IN_FLIGHT_MAX
    }

    /// A snapshot is on its way to the disk.
    pub fn installing(&self) -> bool {
        self.in_flight.iter().any(|write| write.snapshot_index.is_some())
    }
}

impl Core {
    /// Hands out one Ready's writes. Messages that need nothing durable of this Ready still wait for the writes before
    /// it: raft counts Readys as persisted in order.
    pub(super) fn write(
        &mut self,
        ready: u64,
        mut batch: Batch,
        must_write: bool,
        messages: Vec<eraftpb::Message>,
    ) {
        if must_write || batch.snapshot.is_some() || !batch.entries.is_empty() {
            if batch.hard_state.is_none() {
                batch.hard_state = self.writes.lazy.take();
            }
            self.writes.lazy = None;
            self.writes.last_number += 1;
            let number = self.writes.last_number;
            self.writes.in_flight.push_back(InFlight {
                number,
                ready,
                messages,
                snapshot_index: batch.snapshot.as_ref().map(|snapshot| snapshot.meta.index),
                since_tick: self.ticks,
            });
            self.out.persist.push(super::Persist { number, batch });
            return;
        }
        if batch.hard_state.is_some() {
            self.writes.lazy = batch.hard_state;
        }
        match self.writes.in_flight.back_mut() {
            Some(last) => {
                last.ready = last.ready.max(ready);
                last.messages.extend(messages);
            }
            None => {
                self.raw.on_persist_ready(ready);
                for message in messages {
                    self.send(message);
                }
            }
        }
    }

    /// Everything handed out up to this number is durable.
    pub fn persisted(&mut self, number: u64) {
        if self.ended {
            return;
        }
        while self.writes.in_flight.front().is_some_and(|write| write.number <= number) {
            let Some(write) = self.writes.in_flight.pop_front() else { break };
            self.raw.on_persist_ready(write.ready);
            if let Some(index) = write.snapshot_index {
                self.installed(index);
            }
            for message in write.messages {
                self.send(message);
            }
        }
        self.settle();
    }

    /// A write of nothing but the commit index, so that it is not far behind on the disk of an idle member.
    pub(super) fn flush_commit(&mut self) {
        if let Some(hard_state) = self.writes.lazy.take() {
            self.writes.last_number += 1;
            let number = self.writes.last_number;
            let batch = Batch { hard_state: Some(hard_state), ..Batch::default() };
            self.writes.in_flight.push_back(InFlight {
                number,
                // Nothing of raft's waits for it; Readys are numbered from 1.
                ready: 0,
                messages: Vec::new(),
                snapshot_index: None,
                since_tick: self.ticks,
            });
            self.out.persist.push(super::Persist { number, batch });
        }
    }

    pub(super) fn tick_writes(&mut self) {
        if self.writes.has_room() {
            self.flush_commit();
        }
        let limit = STALL_ELECTIONS * u64::from(self.config.timing.election_ticks);
        let stalled = |write: &InFlight| self.ticks - write.since_tick > limit;
        if self.is_leader()
            && self.membership.len() > 1
            && self.writes.in_flight.front().is_some_and(stalled)
        {
            tracing::error!("the disk has not finished a write for long; giving up leadership");
            self.forget_leader();
        }
    }
}
