//! What can happen, and the queue that puts it in order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use skep_proto::raftpb;

use super::faults::Sequel;
use crate::core::RequestId;
use crate::{Joined, RaftId, SnapshotContents, SnapshotError, SnapshotMeta};

/// Something that happens at a moment. Events for a member name the life they were meant for, and are void in the next.
pub enum Happening {
    /// A member's clock ticks.
    Tick { place: usize, life: u32 },
    /// A message arrives at an address.
    Arrive { from: usize, from_life: u32, addr: String, message: Box<raftpb::Message> },
    /// Word of what became of a message comes back to its sender.
    Report { place: usize, life: u32, word: Word },
    /// The log writer is done with what it is at.
    Written { place: usize, life: u32 },
    /// A snapshot was encoded, and is written aside.
    Encoded {
        place: usize,
        life: u32,
        meta: SnapshotMeta,
        contents: Result<SnapshotContents, SnapshotError>,
    },
    /// The followers are told what has committed.
    TellCommits { place: usize, life: u32 },
    /// A dial-back is done.
    Probed { place: usize, life: u32, request: RequestId, addr: String },
    /// The answer to a join arrives at the joiner.
    Admitted { place: usize, joined: Joined, incarnation: u32 },
    /// A member starts again.
    Start { place: usize },
    /// The operator acts.
    Operator,
    /// Clients act.
    Turn,
    /// Something goes wrong.
    Fault,
    /// Something that went wrong goes on, or is over.
    Sequel(Sequel),
}

/// What a transport reports.
#[derive(Clone, Copy, Debug)]
pub enum Word {
    Unreachable(RaftId),
    Reachable(RaftId),
    Snapshot(RaftId, bool),
    Removed,
}

struct Entry {
    at_ms: u64,
    order: u64,
    happening: Happening,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        (self.at_ms, self.order) == (other.at_ms, other.order)
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (self.at_ms, self.order).cmp(&(other.at_ms, other.order))
    }
}

/// Events by time; those of one moment in the order in which they were put in.
#[derive(Default)]
pub struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    order: u64,
    /// Virtual time: that of the last event taken.
    pub now_ms: u64,
}

impl Queue {
    /// Puts an event in, so long from now.
    pub fn after(&mut self, delay_ms: u64, happening: Happening) {
        self.order += 1;
        let entry = Entry { at_ms: self.now_ms + delay_ms, order: self.order, happening };
        self.heap.push(Reverse(entry));
    }

    /// The next event; time moves to it.
    pub fn next(&mut self) -> Option<Happening> {
        let Reverse(entry) = self.heap.pop()?;
        self.now_ms = entry.at_ms;
        Some(entry.happening)
    }
}
