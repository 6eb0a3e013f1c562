//! Watchers: bounded queues of commits, and the history from which a watch can be resumed.

use std::{
    collections::VecDeque,
    sync::{Arc, Weak},
};

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::{
    Commit, Lagged, ResumeError,
    selector::{Mask, Selector},
};

/// Events that may wait for one watcher. A leader that takes over 100,000 tasks writes bursts of some tens of thousands; a
/// watcher further behind than that is faster with a new view. Counted with one more for each commit, so that the
/// queue is bounded however small the commits are.
pub const WATCHER_EVENTS_MAX: usize = 65_536;
/// Commits kept for watches to resume from: half a minute of a busy cluster, hours of a quiet one.
pub const HISTORY_COMMITS_MAX: usize = 10_000;
/// Their size as log entries, in bytes. In memory the objects before each change take about twice as much.
pub const HISTORY_BYTES_MAX: usize = 2 << 20;

/// What a watcher and the store share.
struct Queue {
    selector: Selector,
    state: Mutex<Waiting>,
    wake: Notify,
}

#[derive(Default)]
struct Waiting {
    commits: VecDeque<Arc<Commit>>,
    weight: usize,
    lagged: bool,
}

impl Queue {
    fn push(&self, mask: Mask, commit: &Arc<Commit>) {
        let Some(commit) = self.selector.of_commit(mask, commit) else { return };
        let mut waiting = self.state.lock();
        if waiting.lagged {
            return;
        }
        waiting.weight += weight(&commit);
        if waiting.weight > WATCHER_EVENTS_MAX {
            *waiting = Waiting { lagged: true, ..Waiting::default() };
        } else {
            waiting.commits.push_back(commit);
        }
        drop(waiting);
        self.wake.notify_one();
    }
}

fn weight(commit: &Commit) -> usize {
    commit.events.len() + 1
}

/// A stream of commits, as far as they are selected.
pub struct Watcher {
    queue: Arc<Queue>,
}

impl Watcher {
    /// The next commit that has selected events. Safe to drop: nothing is lost.
    ///
    /// Once it has said [`Lagged`] it says nothing else.
    pub async fn next(&mut self) -> Result<Arc<Commit>, Lagged> {
        loop {
            if let Some(commit) = self.try_next()? {
                return Ok(commit);
            }
            self.queue.wake.notified().await;
        }
    }

    /// The next commit, if it is there already.
    pub fn try_next(&mut self) -> Result<Option<Arc<Commit>>, Lagged> {
        let mut waiting = self.queue.state.lock();
        if waiting.lagged {
            return Err(Lagged);
        }
        let Some(commit) = waiting.commits.pop_front() else { return Ok(None) };
        waiting.weight -= weight(&commit);
        Ok(Some(commit))
    }
}

/// All watchers, and what they may resume from.
pub(crate) struct Watches {
    queues: Vec<Weak<Queue>>,
    history: VecDeque<Past>,
    history_bytes: usize,
    /// The version that the oldest commit of the history follows.
    history_start: u64,
}

struct Past {
    commit: Arc<Commit>,
    mask: Mask,
    bytes: usize,
}

impl Watches {
    pub(crate) fn new() -> Watches {
        Watches { queues: Vec::new(), history: VecDeque::new(), history_bytes: 0, history_start: 0 }
    }

    /// Adds a watcher that sees what is published from now on.
    pub(crate) fn watch(&mut self, selector: Selector) -> Watcher {
        let queue = Arc::new(Queue { selector, state: Mutex::default(), wake: Notify::new() });
        self.queues.push(Arc::downgrade(&queue));
        Watcher { queue }
    }

    /// Adds a watcher that sees what was published after `version` too; `newest` is the version of now.
    pub(crate) fn watch_from(
        &mut self,
        version: u64,
        newest: u64,
        selector: Selector,
    ) -> Result<Watcher, ResumeError> {
        if version > newest {
            return Err(ResumeError::Ahead { asked: version, newest });
        }
        if version < self.history_start {
            return Err(ResumeError::Compacted { asked: version, oldest: self.history_start });
        }
        let watcher = self.watch(selector);
        let first = self.history.partition_point(|past| past.commit.version <= version);
        for past in self.history.range(first..) {
            watcher.queue.push(past.mask, &past.commit);
        }
        Ok(watcher)
    }

    /// Tells every watcher and remembers the commit, which takes `bytes` in the log.
    pub(crate) fn publish(&mut self, commit: Commit, bytes: usize) {
        let (mask, commit) = (Mask::of_events(&commit.events), Arc::new(commit));
        self.queues.retain(|queue| match queue.upgrade() {
            Some(queue) => {
                queue.push(mask, &commit);
                true
            }
            None => false,
        });
        self.history_bytes += bytes;
        self.history.push_back(Past { commit, mask, bytes });
        while self.history.len() > HISTORY_COMMITS_MAX || self.history_bytes > HISTORY_BYTES_MAX {
            let Some(past) = self.history.pop_front() else { break };
            self.history_bytes -= past.bytes;
            self.history_start = past.commit.version;
        }
    }

    /// Tells every watcher of a step over versions that nobody here has seen one by one, and forgets what came before.
    pub(crate) fn publish_leap(&mut self, commit: Commit) {
        let version = commit.version;
        self.publish(commit, 0);
        self.history.clear();
        self.history_bytes = 0;
        self.history_start = version;
    }
}
