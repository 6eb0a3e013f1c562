//! How many tasks of a service there should be, run, and are done.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use skep_proto::{
    ids::ServiceId,
    swarmkit::{
        ListServiceStatusesRequest, ListServiceStatusesResponse, Node, Service, Task, TaskState,
        list_service_statuses_response::ServiceStatus, service_spec::Mode,
    },
};
use skep_store::{By, Tables};

use super::super::{ControlService, errors::ControlError};
use crate::orchestrator::is_member;

/// The most services in one request: a cluster of the largest size that we build for.
const SERVICES_MAX: usize = 100_000;

/// One status for each id of the request; all zeros for a service that is not there.
pub(in super::super) async fn statuses(
    control: &ControlService,
    request: ListServiceStatusesRequest,
) -> Result<ListServiceStatusesResponse, ControlError> {
    let asked = request.services.len();
    if asked > SERVICES_MAX {
        return Err(ControlError::argument(format!(
            "the status of {asked} services is asked for; at most {SERVICES_MAX} are allowed"
        )));
    }
    let view = control.read().await?;
    // Each service is counted once, however often it is asked for.
    let mut counted: HashMap<&str, ServiceStatus> = HashMap::new();
    let mut one = |id| counted.entry(id).or_insert_with(|| status(&view, id)).clone();
    let statuses = request.services.iter().map(|id| one(id.as_str())).collect();
    Ok(ListServiceStatusesResponse { statuses })
}

fn status(tables: &Tables, id: &str) -> ServiceStatus {
    let mut status = ServiceStatus { service_id: id.to_owned(), ..Default::default() };
    let Some(service) = tables.get_text::<Service>(id) else { return status };
    let Ok(typed) = id.parse::<ServiceId>() else { return status };
    let mode = service.spec.as_ref().and_then(|spec| spec.mode.as_ref());
    // Where the number follows from the nodes, those count that have a task which is wanted, and those that will get one.
    let wanted_state = match mode {
        Some(Mode::Replicated(replicated)) => {
            status.desired_tasks = replicated.replicas;
            None
        }
        Some(Mode::ReplicatedJob(job)) => {
            status.desired_tasks = job.max_concurrent;
            None
        }
        Some(Mode::GlobalJob(_)) => Some(TaskState::Complete as i32),
        Some(Mode::Global(_)) | None => Some(TaskState::Running as i32),
    };
    let iteration = service.job_status.as_ref().and_then(|job| job.job_iteration);
    let of_this_run = |task: &&Arc<Task>| iteration.is_none() || task.job_iteration == iteration;
    let mut nodes: HashSet<&str> = HashSet::new();
    if wanted_state.is_some() {
        let members = tables.all::<Node>().filter(|node| is_member(service, node));
        nodes.extend(members.map(|node| node.id.as_str()));
    }
    for task in tables.find::<Task>(By::Service(typed)).filter(of_this_run) {
        let state = task.status.as_ref().map_or(0, |status| status.state);
        status.running_tasks += u64::from(state == TaskState::Running as i32);
        status.completed_tasks += u64::from(state == TaskState::Complete as i32);
        if wanted_state == Some(task.desired_state) {
            nodes.insert(&task.node_id);
        }
    }
    if wanted_state.is_some() {
        status.desired_tasks = nodes.len() as u64;
    }
    status
}
