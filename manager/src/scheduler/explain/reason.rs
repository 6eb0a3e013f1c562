//! Why a task is where it is, in a sentence, and what would help. For one that looks for a node see `placement`.

use skep_proto::{
    prost_types::Duration,
    swarmkit::{
        Node, Task, TaskState, node_spec, node_status, restart_policy::RestartCondition,
        task_spec::Runtime,
    },
};
use skep_store::Tables;

use crate::scheduler::decision::{is_wanted, state_of};

/// A reason, and what would help.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Reason {
    /// In one sentence.
    pub text: String,
    /// The likeliest first.
    pub hints: Vec<String>,
}

impl Reason {
    fn of(text: impl Into<String>) -> Reason {
        Reason { text: text.into(), hints: Vec::new() }
    }

    fn with(text: impl Into<String>, hint: impl Into<String>) -> Reason {
        Reason { text: text.into(), hints: vec![hint.into()] }
    }
}

/// Of a task that does not look for a node.
pub fn reason(tables: &Tables, task: &Task) -> Reason {
    let state = TaskState::try_from(state_of(task)).unwrap_or_default();
    if let Some(reason) = lost_node(tables, task, state) {
        return reason;
    }
    let err = task.status.as_ref().map_or("", |status| status.err.as_str());
    match state {
        TaskState::New => match err {
            "" => Reason::with(
                "its networks and ports are not allocated yet",
                "if it stays so, see the leader's log for what cannot be allocated",
            ),
            err => Reason::of(format!("its networks or ports cannot be allocated: {err}")),
        },
        TaskState::Pending => Reason::of("it looks for a node"),
        TaskState::Assigned => Reason::of("its node has not taken it up yet"),
        TaskState::Accepted => Reason::of("its node has accepted it and is about to prepare it"),
        TaskState::Preparing => match image(task) {
            Some(image) => Reason::with(
                format!("its node prepares it: it pulls the image {image}"),
                "if it takes long, try to pull the image on the node yourself",
            ),
            None => Reason::of("its node prepares it"),
        },
        TaskState::Ready if task.desired_state <= TaskState::Ready as i32 => not_due(task),
        TaskState::Ready => Reason::of("it is prepared and about to start"),
        TaskState::Starting => Reason::with(
            "it is starting",
            "if it has a health check, it counts as running once that succeeds",
        ),
        TaskState::Running => match is_wanted(task) {
            true => Reason::of("it runs"),
            false => Reason::of("it is being stopped"),
        },
        TaskState::Complete => Reason::of("it has done its work"),
        TaskState::Shutdown => Reason::of("it was stopped"),
        TaskState::Failed | TaskState::Rejected => ended(task, state, err),
        TaskState::Orphaned => Reason::of("its node was gone for so long that it is given up"),
        TaskState::Remove => Reason::of("it is to be removed"),
    }
}

/// A task that is on its way or runs on a node that is not there.
fn lost_node(tables: &Tables, task: &Task, state: TaskState) -> Option<Reason> {
    let under_way =
        (TaskState::Assigned as i32..=TaskState::Running as i32).contains(&(state as i32));
    if !under_way || !is_wanted(task) {
        return None;
    }
    let Some(node) = tables.get_text::<Node>(&task.node_id) else {
        return Some(Reason::of(format!(
            "its node {} is not part of the cluster any more",
            task.node_id
        )));
    };
    let up = node.status.as_ref().is_some_and(|s| s.state() == node_status::State::Ready);
    let drained =
        node.spec.as_ref().is_some_and(|s| s.availability() == node_spec::Availability::Drain);
    let name = node.description.as_ref().map_or(node.id.as_str(), |d| d.hostname.as_str());
    if drained {
        return Some(Reason::of(format!("its node {name} is drained: it is about to move")));
    }
    if !up {
        return Some(Reason::with(
            format!("its node {name} is not heard of"),
            "it is replaced once the node counts as down",
        ));
    }
    None
}

fn not_due(task: &Task) -> Reason {
    let delay = task.spec.as_ref().and_then(|s| s.restart.as_ref()).and_then(|r| r.delay);
    match delay {
        Some(Duration { seconds, .. }) if seconds > 0 => Reason::of(format!(
            "it is prepared, and starts when the task before it has stopped and the restart delay of {seconds} s is over"
        )),
        _ => Reason::of("it is prepared, and starts when the task before it has stopped"),
    }
}

fn ended(task: &Task, state: TaskState, err: &str) -> Reason {
    let what = if state == TaskState::Failed { "it failed" } else { "its node could not start it" };
    let text = if err.is_empty() { what.to_owned() } else { format!("{what}: {err}") };
    let restart = task.spec.as_ref().and_then(|spec| spec.restart.as_ref());
    let never = restart.is_some_and(|r| r.condition() == RestartCondition::None);
    match (never, restart.map_or(0, |r| r.max_attempts)) {
        (true, _) => Reason::with(text, "its restart policy is none: it is not started again"),
        (false, 0) => Reason::with(text, "see its logs (`skep service logs`)"),
        (false, attempts) => Reason::with(
            text,
            format!(
                "its restart policy allows {attempts} attempts; see its logs (`skep service logs`)"
            ),
        ),
    }
}

fn image(task: &Task) -> Option<&str> {
    match task.spec.as_ref()?.runtime.as_ref()? {
        Runtime::Container(container) => Some(&container.image),
        _ => None,
    }
}
