//! Making a task from its service, and reading what a task is and should be.

use std::{cmp::Reverse, sync::Arc};

use rand::RngCore;
use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    prost_types::Timestamp,
    swarmkit::{
        Cluster, Endpoint, Service, ServiceSpec, Task, TaskState, TaskStatus, service_spec::Mode,
    },
};
use skep_store::{By, Tables};

use super::moment::Moment;

/// Message of a task's first status, as in SwarmKit.
const CREATED: &str = "created";

/// Where in its service a task belongs: no two tasks that should run share a place, but while one replaces the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// A slot of a replicated service (from 1) or of a replicated job (from 0).
    Slot(u64),
    /// A node, for global services and global jobs.
    Node(NodeId),
}

/// A place of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceOf {
    /// The service.
    pub service: ServiceId,
    /// The place in it.
    pub place: Place,
}

/// A new task of a service at a place: state NEW, desired RUNNING, or COMPLETE for jobs. It takes the service's spec as it
/// is now; tasks of a global service are on their node from the start.
pub fn new_task(
    cluster: Option<&Cluster>,
    service: &Service,
    place: Place,
    now: Timestamp,
    rng: &mut dyn RngCore,
) -> Task {
    let none = ServiceSpec::default();
    let spec = service.spec.as_ref().unwrap_or(&none);
    let own_log_driver = spec.task.as_ref().and_then(|task| task.log_driver.clone());
    let default_log_driver = || cluster?.spec.as_ref()?.task_defaults.as_ref()?.log_driver.clone();
    let (slot, node_id) = match place {
        Place::Slot(slot) => (slot, String::new()),
        Place::Node(node) => (0, node.to_string()),
    };
    let job_iteration = service.job_status.as_ref().and_then(|status| status.job_iteration);
    let desired = if is_job(service) { TaskState::Complete } else { TaskState::Running };
    Task {
        id: TaskId::random(rng).to_string(),
        spec: spec.task.clone(),
        spec_version: service.spec_version,
        service_id: service.id.clone(),
        slot,
        node_id,
        service_annotations: spec.annotations.clone(),
        status: Some(TaskStatus {
            timestamp: Some(now),
            state: TaskState::New.into(),
            message: CREATED.into(),
            ..Default::default()
        }),
        desired_state: desired.into(),
        endpoint: Some(Endpoint { spec: spec.endpoint.clone(), ..Default::default() }.into()),
        log_driver: own_log_driver.or_else(default_log_driver),
        job_iteration: job_iteration.filter(|_| is_job(service)),
        ..Default::default()
    }
}

/// Whether the service's tasks are to end by themselves.
pub fn is_job(service: &Service) -> bool {
    let mode = service.spec.as_ref().and_then(|spec| spec.mode.as_ref());
    matches!(mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)))
}

/// The state that the task was last seen in.
pub(super) fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}

/// Whether the task is to run, now or later, or to run to its end.
pub(super) fn is_wanted(task: &Task) -> bool {
    task.desired_state <= TaskState::Complete as i32
}

/// Whether the task has ended, in whatever way.
pub(super) fn has_ended(task: &Task) -> bool {
    state(task) > TaskState::Running as i32
}

/// Whether the task has ended in a way that its service did not ask for. A job's task is meant to end well.
pub(super) fn has_failed(task: &Task) -> bool {
    has_ended(task) && !(is_of_job(task) && state(task) == TaskState::Complete as i32)
}

/// Whether the task belongs to a run of a job.
pub(super) fn is_of_job(task: &Task) -> bool {
    task.job_iteration.is_some()
}

/// The task's id; none if it is not one, which no stored task has.
pub(super) fn id(task: &Task) -> Option<TaskId> {
    task.id.parse().ok()
}

/// Where a task of the service belongs.
pub(super) fn place(service: &Service, task: &Task) -> Option<Place> {
    match is_global(service) {
        true => task.node_id.parse().ok().map(Place::Node),
        false => Some(Place::Slot(task.slot)),
    }
}

/// Whether the service has a task on each node.
pub(super) fn is_global(service: &Service) -> bool {
    let mode = service.spec.as_ref().and_then(|spec| spec.mode.as_ref());
    matches!(mode, Some(Mode::Global(_) | Mode::GlobalJob(_)))
}

/// Every task at a place, the oldest first.
pub(super) fn tasks_at(tables: &Tables, at: PlaceOf) -> Vec<&Arc<Task>> {
    let service = at.service;
    let mut tasks: Vec<&Arc<Task>> = match at.place {
        Place::Slot(slot) => tables.find(By::Slot(service, slot)).collect(),
        Place::Node(node) => tables
            .find::<Task>(By::Node(node))
            .filter(|task| task.service_id == service.as_str())
            .collect(),
    };
    sort_by_age(&mut tasks);
    tasks
}

/// Sorts tasks, the oldest first. Of tasks made at the same time by a coarse clock the one that is to run is the newer one, and
/// then the one that has come less far: it replaces the other.
pub(super) fn sort_by_age(tasks: &mut [&Arc<Task>]) {
    if tasks.len() > 1 {
        let age = |task: &Task| (Moment::created(task), is_wanted(task), Reverse(state(task)));
        tasks.sort_by(|a, b| age(a).cmp(&age(b)).then_with(|| a.id.cmp(&b.id)));
    }
}
