//! What a stream of assignments has not told its node yet.

use std::collections::{BTreeMap, BTreeSet};

use parking_lot::Mutex;
use skep_proto::ids::{TaskId, VolumeId};
use tokio::sync::Notify;

/// How a task was touched. The greater one counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Touched {
    /// Its node reported that it ended: what only it used is to be let go.
    Ended,
    /// Something that its node has to know.
    Changed,
}

/// What may be different from what was sent. Each object is in it once, so it is never larger than what the node has.
#[derive(Debug, Default)]
pub struct Dirty {
    /// Anything may be different.
    pub everything: bool,
    /// Tasks.
    pub tasks: BTreeMap<TaskId, Touched>,
    /// Volumes.
    pub volumes: BTreeSet<VolumeId>,
    /// Tasks that the node cannot be told of yet, to be looked at again.
    pub held: BTreeMap<TaskId, Touched>,
}

impl Dirty {
    /// Adds what else is different. What was held back is looked at again.
    pub fn add(&mut self, other: Dirty) {
        self.everything |= other.everything;
        for (task, touched) in other.tasks.into_iter().chain(other.held) {
            let entry = self.tasks.entry(task).or_insert(touched);
            *entry = touched.max(*entry);
        }
        self.volumes.extend(other.volumes);
    }

    /// Nothing is different that the node could be told of.
    pub fn is_empty(&self) -> bool {
        !self.everything && self.tasks.is_empty() && self.volumes.is_empty()
    }
}

/// One stream of assignments, as those see it who feed it.
#[derive(Debug, Default)]
pub struct Follower {
    state: Mutex<State>,
    wake: Notify,
}

#[derive(Debug, Default)]
struct State {
    dirty: Dirty,
    replaced: bool,
}

impl Follower {
    /// A task was touched.
    pub fn task(&self, task: TaskId, touched: Touched) {
        self.change(|dirty| {
            let entry = dirty.tasks.entry(task).or_insert(touched);
            *entry = touched.max(*entry);
        });
    }

    /// A volume was touched.
    pub fn volume(&self, volume: VolumeId) {
        self.change(|dirty| {
            dirty.volumes.insert(volume);
        });
    }

    /// Nobody knows what was touched.
    pub fn everything(&self) {
        self.change(|dirty| *dirty = Dirty { everything: true, ..Dirty::default() });
    }

    /// Another stream of the session took its place.
    pub fn replaced(&self) {
        self.state.lock().replaced = true;
        self.wake.notify_one();
    }

    /// Whether another stream took its place.
    pub fn is_replaced(&self) -> bool {
        self.state.lock().replaced
    }

    /// Takes what there is to look at.
    pub fn take(&self) -> Dirty {
        std::mem::take(&mut self.state.lock().dirty)
    }

    /// Waits until there is something to look at, or the stream was replaced. Safe to drop.
    pub async fn woken(&self) {
        loop {
            {
                let state = self.state.lock();
                if state.replaced || !state.dirty.is_empty() {
                    return;
                }
            }
            self.wake.notified().await;
        }
    }

    fn change(&self, change: impl FnOnce(&mut Dirty)) {
        let mut state = self.state.lock();
        // All that there is need not be counted one by one.
        if !state.dirty.everything {
            change(&mut state.dirty);
        }
        drop(state);
        self.wake.notify_one();
    }
}
