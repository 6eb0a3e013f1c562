//! One clock for all simulated tasks of a process: a heap of what is due, and one future that waits for the earliest.
//! A task that waits costs an entry here, not a timer of the runtime.

use std::{
    cmp::Reverse,
    collections::BinaryHeap,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use skep_proto::ids::TaskId;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

use super::node::SimulatedNode;

/// Where nodes say when they want to be woken for a task. Clones share the same heap; it never holds more than a few
/// entries for each task.
#[derive(Clone, Default)]
pub struct Timers {
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    heap: Mutex<BinaryHeap<Reverse<Entry>>>,
    earlier: Notify,
}

struct Entry {
    due: Instant,
    node: Weak<SimulatedNode>,
    task: TaskId,
}

impl Timers {
    /// Wakes the node for this task at `due`.
    pub(super) fn at(&self, due: Instant, node: Weak<SimulatedNode>, task: TaskId) {
        let mut heap = self.shared.heap.lock();
        let first = heap.peek().is_none_or(|Reverse(first)| due < first.due);
        heap.push(Reverse(Entry { due, node, task }));
        drop(heap);
        if first {
            self.shared.earlier.notify_one();
        }
    }

    /// Wakes who is due, for as long as it is polled. One such future is needed, whatever the number of nodes.
    pub async fn run(&self) {
        loop {
            let next = self.shared.heap.lock().peek().map(|Reverse(first)| first.due);
            let earlier = self.shared.earlier.notified();
            match next {
                None => earlier.await,
                Some(due) if due > Instant::now() => tokio::select! {
                    () = sleep_until(due) => {}
                    () = earlier => {}
                },
                Some(_) => self.wake(),
            }
        }
    }

    fn wake(&self) {
        let now = Instant::now();
        while let Some(entry) = self.take(now) {
            if let Some(node) = entry.node.upgrade() {
                node.wake(entry.task, now);
            }
        }
    }

    fn take(&self, now: Instant) -> Option<Entry> {
        let mut heap = self.shared.heap.lock();
        heap.peek().is_some_and(|Reverse(first)| first.due <= now).then(|| heap.pop())?.map(|r| r.0)
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> std::cmp::Ordering {
        (self.due, self.task).cmp(&(other.due, other.task))
    }
}
