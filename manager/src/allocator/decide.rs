//! What becomes of a task before it may be scheduled. Pure.

use std::sync::Arc;

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{NetworkAttachment, Service, Task, TaskState, TaskStatus},
};
use skep_store::Tables;

use super::Waits;

/// What a task's status says once it has all that it needs (SwarmKit's words, as tools show them).
pub const PENDING_MESSAGE: &str = "pending task scheduling";
/// What the status of a task says that was to stop before it had all that it needs; the words of the scheduler.
const STOPPED_MESSAGE: &str = "task was stopped before it was assigned to a node";

/// A new task that may be scheduled, with these networks and the endpoint of its service.
pub(super) fn pending(
    task: &Task,
    service: Option<&Service>,
    networks: Vec<NetworkAttachment>,
    now: Timestamp,
) -> Task {
    let endpoint = match service {
        Some(service) => service.endpoint.clone(),
        None => task.endpoint.clone(),
    };
    let status = TaskStatus {
        state: TaskState::Pending.into(),
        message: PENDING_MESSAGE.to_owned(),
        timestamp: Some(now),
        ..Default::default()
    };
    Task { networks, endpoint, status: Some(status), ..task.clone() }
}

/// The task with the reason why it waits, or none when it says so already.
pub fn waiting(task: &Task, waits: &Waits) -> Option<Task> {
    let err = waits.to_string();
    let status = task.status.clone().unwrap_or_default();
    (status.err != err).then(|| Task { status: Some(TaskStatus { err, ..status }), ..task.clone() })
}

/// Whether the task is new and still wanted.
pub fn is_new(task: &Task) -> bool {
    let state = task.status.as_ref().map_or(TaskState::New as i32, |status| status.state);
    state == TaskState::New as i32 && task.desired_state <= TaskState::Complete as i32
}

/// A new task that is to stop, as having stopped; none when that does not concern it. No worker ever had it, so nobody
/// else would say so, and others wait for it.
pub fn stopped(task: &Task, now: Timestamp) -> Option<Task> {
    let new = task.status.as_ref().is_none_or(|status| status.state() == TaskState::New);
    (new && task.desired_state == TaskState::Shutdown as i32).then(|| {
        let status = TaskStatus {
            state: TaskState::Shutdown.into(),
            message: STOPPED_MESSAGE.to_owned(),
            timestamp: Some(now),
            ..Default::default()
        };
        Task { status: Some(status), ..task.clone() }
    })
}

/// The service of a task.
pub fn service_of<'a>(tables: &'a Tables, task: &Task) -> Option<&'a Arc<Service>> {
    tables.get_text::<Service>(&task.service_id)
}
