//! What runs a node's tasks: a trait, and an executor that runs nothing.

use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use skep_proto::{
    ids::TaskId,
    swarmkit::{
        Assignment, AssignmentChange, EncryptionKey, LogMessage, LogSelector,
        LogSubscriptionOptions, Node, NodeDescription, Task, TaskState, TaskStatus,
        assignment::Item, assignment_change::AssignmentAction,
        update_task_status_request::TaskStatusUpdate,
    },
};

use crate::reports::Reporter;

/// What a node is to run.
#[derive(Clone, Debug, PartialEq)]
pub enum Assignments {
    /// All of it: what is not named is to be stopped.
    Complete(Vec<AssignmentChange>),
    /// What changed since the last set.
    Incremental(Vec<AssignmentChange>),
}

/// Runs tasks. Calls come from the session, one at a time, and must not block: work is begun, and reported when done.
pub trait Executor: Send + Sync + 'static {
    /// What this node is and has, without what the agent adds itself (TLS).
    fn describe(&self) -> NodeDescription;

    /// The node object as the managers see it. Called when it changed.
    fn configure(&self, node: &Node) {
        let _ = node;
    }

    /// The network keys, oldest first. Called when they changed.
    fn set_network_keys(&self, keys: &[EncryptionKey]) {
        let _ = keys;
    }

    /// What to run. States of tasks go to `reporter`, now or later; the last one of each task is sent again after a
    /// new registration.
    fn assign(&self, assignments: Assignments, reporter: &Reporter);

    /// A session has begun; all that was reported is sent again under it.
    fn registered(&self, session_id: &str) {
        let _ = session_id;
    }

    /// A manager has taken these reports.
    fn acknowledged(&self, updates: &[TaskStatusUpdate]) {
        let _ = updates;
    }

    /// The logs of this node's tasks that are selected. Without `follow` the stream ends with what is there; with it, it
    /// goes on, with tasks that come later too, until it is dropped. Each message names this node in its context.
    fn logs(
        &self,
        selector: &LogSelector,
        options: &LogSubscriptionOptions,
    ) -> BoxStream<'static, LogMessage> {
        let _ = (selector, options);
        stream::empty().boxed()
    }
}

/// An executor that runs nothing: it refuses every task, and says so.
#[derive(Clone, Debug, Default)]
pub struct None {
    description: NodeDescription,
}

impl None {
    /// One that describes its node so.
    pub fn new(description: NodeDescription) -> None {
        None { description }
    }
}

impl Executor for None {
    fn describe(&self) -> NodeDescription {
        self.description.clone()
    }

    fn assign(&self, assignments: Assignments, reporter: &Reporter) {
        let (Assignments::Complete(changes) | Assignments::Incremental(changes)) = assignments;
        for change in &changes {
            if change.action() != AssignmentAction::Update {
                continue;
            }
            let Some(Assignment { item: Some(Item::Task(task)) }) = &change.assignment else {
                continue;
            };
            if let (Some(status), Ok(id)) = (refusal(task), task.id.parse::<TaskId>()) {
                reporter.report(id, status);
            }
        }
    }
}

/// What becomes of a task on a node that runs nothing; none when it has ended already.
fn refusal(task: &Task) -> Option<TaskStatus> {
    let state = task.status.as_ref().map_or(0, |s| s.state);
    if state > TaskState::Running as i32 {
        return Option::None;
    }
    Some(if task.desired_state > TaskState::Running as i32 {
        let message = "it was never started".to_owned();
        TaskStatus { state: TaskState::Shutdown.into(), message, ..Default::default() }
    } else {
        TaskStatus {
            state: TaskState::Rejected.into(),
            message: "rejected".to_owned(),
            err: "this node runs no tasks".to_owned(),
            ..Default::default()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_runs_nothing_refuses_what_is_to_run_and_ends_what_is_to_end() {
        use TaskState::*;
        let table = [
            (Assigned, Running, Some(Rejected)),
            (Assigned, Shutdown, Some(Shutdown)),
            (Running, Remove, Some(Shutdown)),
            (Rejected, Running, Option::None),
            (Complete, Shutdown, Option::None),
        ];
        for (state, desired, expected) in table {
            let task = Task {
                status: Some(TaskStatus { state: state.into(), ..Default::default() }),
                desired_state: desired.into(),
                ..Default::default()
            };
            let found = refusal(&task).map(|status| status.state());
            assert_eq!(found, expected, "{state:?} {desired:?}");
        }
    }
}
