//! Reports of nodes about their tasks and volumes, gathered until they are written. Pure.

use std::collections::{HashMap, HashSet};

use skep_proto::{
    ids::{NodeId, TaskId, VolumeId},
    prost_types::Timestamp,
    swarmkit::{Task, TaskStatus, Volume, volume_publish_status::State},
};

/// What was reported and is not written yet. Of several reports about one task only the furthest along is kept.
#[derive(Debug, Default)]
pub struct Reports {
    tasks: HashMap<TaskId, TaskStatus>,
    unpublished: HashSet<(VolumeId, NodeId)>,
}

/// Reports that are written together.
#[derive(Debug, Default)]
pub struct Batch {
    /// States of tasks.
    pub tasks: Vec<(TaskId, TaskStatus)>,
    /// Volumes that a node no longer uses.
    pub released: Vec<(VolumeId, NodeId)>,
}

impl Reports {
    /// Adds a task's state.
    pub fn task(&mut self, task: TaskId, status: TaskStatus) {
        match self.tasks.get_mut(&task) {
            Some(queued) if status.state < queued.state => {}
            Some(queued) => *queued = status,
            None => {
                self.tasks.insert(task, status);
            }
        }
    }

    /// Adds a state that could not be written, unless something was reported since.
    pub fn task_again(&mut self, task: TaskId, status: TaskStatus) {
        self.tasks.entry(task).or_insert(status);
    }

    /// Adds that a node no longer uses a volume.
    pub fn unpublished(&mut self, volume: VolumeId, node: NodeId) {
        self.unpublished.insert((volume, node));
    }

    /// How many objects are to be written.
    pub fn len(&self) -> usize {
        self.tasks.len() + self.unpublished.len()
    }

    /// Nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes everything, in a fixed order.
    pub fn take(&mut self) -> Batch {
        let mut tasks: Vec<_> = self.tasks.drain().collect();
        tasks.sort_unstable_by_key(|(task, _)| *task);
        let mut released: Vec<_> = self.unpublished.drain().collect();
        released.sort_unstable();
        Batch { tasks, released }
    }
}

/// The task with the reported state, stamped with who wrote it and when; none when there is nothing new in it. A task
/// never goes back: a report of an earlier state than the stored one is late, and ignored.
pub fn with_status(task: &Task, reported: &TaskStatus, by: &str, at: Timestamp) -> Option<Task> {
    let stored = task.status.clone().unwrap_or_default();
    let unstamped = |status: &TaskStatus| TaskStatus {
        applied_by: String::new(),
        applied_at: None,
        ..status.clone()
    };
    if reported.state < stored.state || unstamped(reported) == unstamped(&stored) {
        return None;
    }
    let status = TaskStatus { applied_by: by.to_owned(), applied_at: Some(at), ..reported.clone() };
    Some(Task { status: Some(status), ..task.clone() })
}

/// The volume after the node has let go of it; none when it did not hold it.
pub fn without_node(volume: &Volume, node: &NodeId) -> Option<Volume> {
    let mut volume = volume.clone();
    let held = volume
        .publish_status
        .iter_mut()
        .find(|p| p.node_id == node.as_str() && p.state() != State::PendingUnpublish)?;
    held.state = State::PendingUnpublish.into();
    Some(volume)
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{TaskState, VolumePublishStatus};

    use super::*;

    const NOW: Timestamp = Timestamp { seconds: 1_000, nanos: 0 };

    fn status(state: TaskState, message: &str) -> TaskStatus {
        TaskStatus { state: state.into(), message: message.into(), ..Default::default() }
    }

    #[test]
    fn a_task_takes_what_is_new_and_never_goes_back() {
        use TaskState::*;
        let table = [
            (status(Assigned, ""), status(Accepted, "m"), true),
            (status(Running, "m"), status(Running, "m"), false),
            (status(Running, "m"), status(Running, "other"), true),
            (status(Running, "m"), status(Ready, "late"), false),
            (status(Orphaned, ""), status(Running, "late"), false),
            (status(Running, ""), status(Failed, "exit 1"), true),
        ];
        for (stored, reported, expected) in table {
            let task = Task { status: Some(stored.clone()), ..Default::default() };
            let written = with_status(&task, &reported, "m1", NOW);
            assert_eq!(written.is_some(), expected, "{stored:?} {reported:?}");
            let Some(status) = written.and_then(|t| t.status) else { continue };
            assert_eq!((status.state, &status.message), (reported.state, &reported.message));
            assert_eq!((status.applied_by.as_str(), status.applied_at), ("m1", Some(NOW)));
        }
    }

    #[test]
    fn the_same_report_again_is_nothing_new_though_the_stored_one_is_stamped() {
        let task = Task { status: Some(status(TaskState::Ready, "")), ..Default::default() };
        let reported = status(TaskState::Running, "started");
        let once = with_status(&task, &reported, "m1", NOW).unwrap();
        assert_eq!(with_status(&once, &reported, "m1", NOW), None);
    }

    #[test]
    fn of_several_reports_of_a_task_the_furthest_along_is_written() {
        let mut reports = Reports::default();
        let task = "t".parse().unwrap();
        reports.task(task, status(TaskState::Running, "1"));
        reports.task(task, status(TaskState::Starting, "2"));
        reports.task(task, status(TaskState::Running, "3"));
        assert_eq!(reports.len(), 1);
        assert_eq!(reports.take().tasks, [(task, status(TaskState::Running, "3"))]);
        assert!(reports.is_empty());
    }

    #[test]
    fn a_volume_is_let_go_by_the_node_that_held_it() {
        let on = |node: &str, state: State| VolumePublishStatus {
            node_id: node.into(),
            state: state.into(),
            ..Default::default()
        };
        let publish_status = vec![on("a", State::Published), on("b", State::PendingNodeUnpublish)];
        let volume = Volume { publish_status, ..Default::default() };
        let after = without_node(&volume, &"b".parse().unwrap()).unwrap();
        assert_eq!(after.publish_status[0].state(), State::Published);
        assert_eq!(after.publish_status[1].state(), State::PendingUnpublish);
        assert_eq!(without_node(&after, &"b".parse().unwrap()), None, "once");
        assert_eq!(without_node(&volume, &"c".parse().unwrap()), None);
    }
}
