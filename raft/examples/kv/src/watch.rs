//! Those who watch keys: each has a bounded queue. Nobody waits for a watcher; one that does not keep up is told to start
//! again.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::mpsc::{self, error::TrySendError};

use crate::state::{Change, State};

/// Changes that a watcher may be behind.
pub const BEHIND_MAX: usize = 4096;
/// Watchers at a time on one member: each change is held against the prefix of every one.
pub const WATCHERS_MAX: usize = 1024;

struct Watcher {
    prefix: Bytes,
    queue: mpsc::Sender<Change>,
    /// Set before the queue is closed because the watcher must start again.
    restart: Arc<AtomicBool>,
}

/// All watchers of a member.
#[derive(Default)]
pub struct Watchers {
    all: Mutex<Vec<Watcher>>,
}

/// A watch from its beginning on.
pub struct Watch {
    /// The state in which it began: what is under the prefix is for the watcher to read.
    pub state: State,
    changes: mpsc::Receiver<Change>,
    restart: Arc<AtomicBool>,
}

/// What a watcher is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// One change, in order.
    Change(Change),
    /// Changes were missed: read everything again.
    Restart,
    /// This member is stopping: watch another one.
    End,
}

impl Watch {
    /// The next change; after [`Told::Restart`] or [`Told::End`] there is no more. Safe to drop.
    pub async fn next(&mut self) -> Told {
        match self.changes.recv().await {
            Some(change) => Told::Change(change),
            None if self.restart.load(Relaxed) => Told::Restart,
            None => Told::End,
        }
    }
}

impl Watchers {
    /// Begins a watch at this state, which nothing may change meanwhile. `None` when there are too many.
    pub fn begin(&self, prefix: Bytes, state: &State) -> Option<Watch> {
        let mut all = self.all.lock();
        if all.len() >= WATCHERS_MAX {
            all.retain(|watcher| !watcher.queue.is_closed());
        }
        if all.len() >= WATCHERS_MAX {
            return None;
        }
        let (queue, changes) = mpsc::channel(BEHIND_MAX);
        let restart = Arc::new(AtomicBool::new(false));
        all.push(Watcher { prefix, queue, restart: restart.clone() });
        Some(Watch { state: state.clone(), changes, restart })
    }

    /// Tells those whom a change concerns.
    pub fn tell(&self, changes: &[Change]) {
        let mut all = self.all.lock();
        all.retain(|watcher| {
            let mine = changes.iter().filter(|change| change.key.starts_with(&watcher.prefix));
            mine.cloned().all(|change| match watcher.queue.try_send(change) {
                Ok(()) => true,
                Err(TrySendError::Closed(_)) => false,
                Err(TrySendError::Full(_)) => {
                    watcher.restart.store(true, Relaxed);
                    false
                }
            })
        });
    }

    /// Whether anybody watches.
    pub fn is_empty(&self) -> bool {
        self.all.lock().is_empty()
    }

    /// How many watch.
    pub fn len(&self) -> usize {
        self.all.lock().len()
    }

    /// The state has been replaced: what changed in between is not known.
    pub fn restart(&self) {
        for watcher in self.all.lock().drain(..) {
            watcher.restart.store(true, Relaxed);
        }
    }

    /// Ends all watches.
    pub fn end(&self) {
        self.all.lock().clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(key: &str, revision: u64) -> Change {
        Change { key: Bytes::copy_from_slice(key.as_bytes()), value: None, revision }
    }

    #[tokio::test]
    async fn a_watcher_sees_what_is_under_its_prefix_in_order() {
        let watchers = Watchers::default();
        let mut watch = watchers.begin("a/".into(), &State::default()).unwrap();
        watchers.tell(&[change("a/1", 1), change("b/1", 2), change("a/2", 3)]);
        watchers.end();
        assert_eq!(watch.next().await, Told::Change(change("a/1", 1)));
        assert_eq!(watch.next().await, Told::Change(change("a/2", 3)));
        assert_eq!(watch.next().await, Told::End);
    }

    #[tokio::test]
    async fn one_that_is_too_slow_starts_again_and_holds_nobody_up() {
        let watchers = Watchers::default();
        let mut slow = watchers.begin("".into(), &State::default()).unwrap();
        let mut quick = watchers.begin("x".into(), &State::default()).unwrap();
        for revision in 0..=BEHIND_MAX as u64 {
            watchers.tell(&[change("a", revision)]);
        }
        watchers.tell(&[change("x", 9)]);
        assert_eq!(quick.next().await, Told::Change(change("x", 9)));
        for revision in 0..BEHIND_MAX as u64 {
            assert_eq!(slow.next().await, Told::Change(change("a", revision)));
        }
        assert_eq!(slow.next().await, Told::Restart);
        assert_eq!(watchers.len(), 1);
    }

    #[tokio::test]
    async fn there_are_only_so_many_and_those_who_left_make_room() {
        let watchers = Watchers::default();
        let begin = || watchers.begin("".into(), &State::default());
        let mut held: Vec<_> = (0..WATCHERS_MAX).filter_map(|_| begin()).collect();
        assert!(begin().is_none());
        held.pop();
        assert!(begin().is_some());
    }
}
