//! Making a task from its service, and reading what a task is and should be.

use rand::RngCore;
use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    prost_types::Timestamp,
    swarmkit::{
        Cluster, Endpoint, Service, ServiceSpec, Task, TaskState, TaskStatus, service_spec::Mode,
    },
};
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
        endpoint: Some(Endpoint { spec: spec.endpoint.clone(), ..Default::default() }),
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
