//! The last state of each task, and which of them the managers have not heard yet.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

use parking_lot::Mutex;
use skep_proto::{
    ids::TaskId,
    swarmkit::{TaskStatus, update_task_status_request::TaskStatusUpdate},
};
use tokio::sync::Notify;

/// States in one call: far below the 4 MiB that a manager takes, and enough for a node's tasks to start together.
const REPORTS_PER_CALL_MAX: usize = 1_000;

/// Where an executor reports to. Clones share the same book. Never more entries than the node has tasks.
#[derive(Clone, Debug, Default)]
pub struct Reporter {
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    book: Mutex<Book>,
    news: Notify,
}

#[derive(Debug, Default)]
struct Book {
    latest: HashMap<TaskId, TaskStatus>,
    unheard: BTreeSet<TaskId>,
}

impl Reporter {
    /// Reports a task's state; it replaces one that was not sent yet.
    pub fn report(&self, task: TaskId, status: TaskStatus) {
        let mut book = self.shared.book.lock();
        if book.latest.get(&task) == Some(&status) {
            return;
        }
        book.latest.insert(task, status);
        book.unheard.insert(task);
        drop(book);
        self.shared.news.notify_one();
    }

    /// The task is no longer this node's.
    pub(crate) fn forget(&self, task: &TaskId) {
        let mut book = self.shared.book.lock();
        book.latest.remove(task);
        book.unheard.remove(task);
    }

    /// Only these tasks are this node's.
    pub(crate) fn forget_others(&self, tasks: &HashSet<TaskId>) {
        let mut book = self.shared.book.lock();
        book.latest.retain(|task, _| tasks.contains(task));
        book.unheard.retain(|task| tasks.contains(task));
    }

    /// A new registration: the managers are to hear everything again.
    pub(crate) fn all_unheard(&self) {
        let mut book = self.shared.book.lock();
        book.unheard = book.latest.keys().copied().collect();
        drop(book);
        self.shared.news.notify_one();
    }

    /// Takes what is to be sent next; waits for it. When the call fails, the caller says [`Reporter::all_unheard`].
    pub(crate) async fn next(&self) -> Vec<TaskStatusUpdate> {
        loop {
            let updates = self.take();
            if !updates.is_empty() {
                return updates;
            }
            self.shared.news.notified().await;
        }
    }

    fn take(&self) -> Vec<TaskStatusUpdate> {
        let mut book = self.shared.book.lock();
        let mut updates = Vec::new();
        while updates.len() < REPORTS_PER_CALL_MAX
            && let Some(task) = book.unheard.pop_first()
        {
            let status = book.latest.get(&task).cloned();
            updates.push(TaskStatusUpdate { task_id: task.to_string(), status });
        }
        updates
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::TaskState;

    use super::*;

    fn task(name: &str) -> TaskId {
        name.parse().unwrap()
    }

    fn status(state: TaskState) -> TaskStatus {
        TaskStatus { state: state.into(), ..Default::default() }
    }

    fn sent(reporter: &Reporter) -> Vec<(String, TaskState)> {
        reporter.take().into_iter().map(|u| (u.task_id, u.status.unwrap().state())).collect()
    }

    #[test]
    fn each_state_is_sent_once_and_all_again_after_a_new_registration() {
        let reporter = Reporter::default();
        reporter.report(task("a"), status(TaskState::Starting));
        reporter.report(task("a"), status(TaskState::Running));
        reporter.report(task("b"), status(TaskState::Running));
        let both = [("a".to_owned(), TaskState::Running), ("b".to_owned(), TaskState::Running)];
        assert_eq!(sent(&reporter), both);
        assert_eq!(sent(&reporter), []);
        reporter.report(task("a"), status(TaskState::Running));
        assert_eq!(sent(&reporter), [], "nothing new");
        reporter.all_unheard();
        assert_eq!(sent(&reporter), both);
        reporter.forget_others(&HashSet::from([task("b")]));
        reporter.all_unheard();
        assert_eq!(sent(&reporter), both[1..]);
        reporter.forget(&task("b"));
        reporter.all_unheard();
        assert_eq!(sent(&reporter), []);
    }
}
