//! Reports of nodes about their tasks and volumes, gathered until they are written. Pure.

use std::collections::{HashMap, HashSet};

use skep_proto::{
    ids::{NodeId, TaskId, VolumeId},
    prost_types::Timestamp,
    swarmkit::{Task, TaskState, TaskStatus, Volume, volume_publish_status::State},
};

/// The longest text of a status that is stored. An engine's error is a line or two; what is longer is cut, since every
/// manager keeps it.
pub const STATUS_TEXT_BYTES_MAX: usize = 8 << 10;

/// What was reported and is not written yet. Of several reports about one task only the furthest along is kept, so there
/// are never more than tasks.
#[derive(Debug, Default)]
pub struct Reports {
    /// Tasks on their way to running: more is to come soon.
    passing: HashMap<TaskId, TaskStatus>,
    /// Tasks that run or have ended, and those that more was waited for long enough.
    ready: HashMap<TaskId, TaskStatus>,
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
        let queued = self.passing.get(&task).or_else(|| self.ready.get(&task));
        if queued.is_some_and(|queued| status.state < queued.state) {
            return;
        }
        if status.state < TaskState::Running as i32 && !self.ready.contains_key(&task) {
            self.passing.insert(task, status);
        } else {
            self.passing.remove(&task);
            self.ready.insert(task, status);
        }
    }

    /// Adds that a node no longer uses a volume.
    pub fn unpublished(&mut self, volume: VolumeId, node: NodeId) {
        self.unpublished.insert((volume, node));
    }

    /// Adds what could not be written, except where something was reported since.
    pub fn put_back(&mut self, batch: Batch) {
        for (task, status) in batch.tasks {
            if !self.passing.contains_key(&task) && !self.ready.contains_key(&task) {
                self.task(task, status);
            }
        }
        self.unpublished.extend(batch.released);
    }

    /// How many objects are to be written.
    #[cfg(test)]
    fn len(&self) -> usize {
        self.passing.len() + self.ready.len() + self.unpublished.len()
    }

    /// No task is on its way.
    pub fn is_passing_empty(&self) -> bool {
        self.passing.is_empty()
    }

    /// Nothing is to be written now.
    pub fn is_ready_empty(&self) -> bool {
        self.ready.is_empty() && self.unpublished.is_empty()
    }

    /// Waits no longer for tasks that are on their way.
    pub fn pass_on(&mut self) {
        self.ready.extend(self.passing.drain());
    }

    /// Takes up to `most` reports of tasks that are to be written now, and all of volumes.
    pub fn take(&mut self, most: usize) -> Batch {
        let mut tasks = take_some(&mut self.ready, most);
        tasks.sort_unstable_by_key(|(task, _)| *task);
        let mut released: Vec<_> = std::mem::take(&mut self.unpublished).into_iter().collect();
        released.sort_unstable();
        Batch { tasks, released }
    }
}

fn take_some(from: &mut HashMap<TaskId, TaskStatus>, most: usize) -> Vec<(TaskId, TaskStatus)> {
    if from.len() <= most {
        return from.drain().collect();
    }
    let some: Vec<TaskId> = from.keys().take(most).copied().collect();
    some.into_iter().filter_map(|task| from.remove_entry(&task)).collect()
}

/// The status with texts of bounded length.
pub fn bounded(mut status: TaskStatus) -> TaskStatus {
    for text in [&mut status.message, &mut status.err] {
        if text.len() > STATUS_TEXT_BYTES_MAX {
            let end = (0..=STATUS_TEXT_BYTES_MAX).rev().find(|end| text.is_char_boundary(*end));
            text.truncate(end.unwrap_or(0));
        }
    }
    status
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
    use skep_proto::swarmkit::VolumePublishStatus;

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
        reports.task(task, status(TaskState::Starting, "0"));
        assert!(reports.is_ready_empty());
        reports.task(task, status(TaskState::Running, "1"));
        assert!(reports.is_passing_empty());
        reports.task(task, status(TaskState::Starting, "2"));
        reports.task(task, status(TaskState::Running, "3"));
        assert_eq!(reports.len(), 1);
        assert_eq!(reports.take(10).tasks, [(task, status(TaskState::Running, "3"))]);
        assert_eq!(reports.len(), 0);
    }

    #[test]
    fn tasks_on_their_way_are_waited_for_until_they_are_passed_on() {
        let mut reports = Reports::default();
        for n in 0..3 {
            reports.task(format!("p{n}").parse().unwrap(), status(TaskState::Preparing, ""));
            reports.task(format!("s{n}").parse().unwrap(), status(TaskState::Failed, ""));
        }
        assert_eq!(reports.take(2).tasks.len(), 2, "never more than asked for");
        assert_eq!(reports.take(9).tasks.len(), 1);
        reports.pass_on();
        assert!(reports.is_passing_empty());
        // It is to be written now, and stays so.
        reports.task("p0".parse().unwrap(), status(TaskState::Starting, ""));
        assert!(reports.is_passing_empty());
        assert_eq!(reports.take(9).tasks.len(), 3);
        assert_eq!(reports.len(), 0);
    }

    #[test]
    fn what_was_not_written_comes_back_unless_something_was_reported_since() {
        let mut reports = Reports::default();
        let (a, b) = ("a".parse().unwrap(), "b".parse().unwrap());
        reports.task(a, status(TaskState::Running, "old"));
        reports.task(b, status(TaskState::Running, "old"));
        let batch = reports.take(9);
        reports.task(a, status(TaskState::Running, "new"));
        reports.put_back(batch);
        let tasks = reports.take(9).tasks;
        assert_eq!(
            tasks,
            [(a, status(TaskState::Running, "new")), (b, status(TaskState::Running, "old"))]
        );
    }

    #[test]
    fn long_texts_are_cut_between_characters() {
        let long = status(TaskState::Failed, &"ü".repeat(STATUS_TEXT_BYTES_MAX));
        let cut = bounded(long).message;
        assert!(cut.len() <= STATUS_TEXT_BYTES_MAX && cut.len() > STATUS_TEXT_BYTES_MAX - 2);
        assert!(cut.chars().all(|c| c == 'ü'));
        assert_eq!(bounded(status(TaskState::Failed, "short")), status(TaskState::Failed, "short"));
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
