//! The methods of services and their tasks, which run at once.

use skep_proto::{
    skep::{ExplainRequest, ExplainResponse, PlanRequest, PlanResponse},
    swarmkit::*,
};
use tonic::Status;

use super::{World, any, create_service};

pub fn list_tasks(
    world: &mut World,
    request: ListTasksRequest,
) -> Result<ListTasksResponse, Status> {
    let wanted = request.filters.unwrap_or_default();
    let chosen = |task: &&Task| {
        any(&wanted.node_ids, |n| *n == task.node_id)
            && any(&wanted.service_ids, |s| *s == task.service_id)
            && any(&wanted.id_prefixes, |i| task.id.starts_with(i.as_str()))
            && any(&wanted.desired_states, |s| *s == task.desired_state)
    };
    Ok(ListTasksResponse { tasks: world.tasks.iter().filter(chosen).cloned().collect() })
}

/// Stores a service whose tasks run at once.
pub fn run_service(
    world: &mut World,
    request: CreateServiceRequest,
) -> Result<CreateServiceResponse, Status> {
    let reply = create_service(world, request)?;
    world.services.last_mut().unwrap().spec_version = Some(Version::default());
    world.run_tasks(&reply.service.as_ref().unwrap().id);
    Ok(reply)
}

pub fn update_service(
    world: &mut World,
    request: UpdateServiceRequest,
) -> Result<UpdateServiceResponse, Status> {
    let place = world.services.iter().position(|s| s.id == request.service_id);
    let place = place.ok_or_else(|| Status::not_found("service not found"))?;
    let mut meta = world.services[place].meta.take();
    let checked = world.check_version(&mut meta, request.service_version);
    world.services[place].meta = meta;
    checked?;
    let service = &mut world.services[place];
    if request.rollback() == update_service_request::Rollback::Previous {
        if service.previous_spec.is_none() {
            let text = format!("service {} does not have a previous spec", service.id);
            return Err(Status::failed_precondition(text));
        }
        std::mem::swap(&mut service.spec, &mut service.previous_spec);
        service.previous_spec = None;
        service.update_status = Some(UpdateStatus {
            state: update_status::UpdateState::RollbackCompleted.into(),
            message: "rollback completed".into(),
            ..UpdateStatus::default()
        });
    } else {
        service.previous_spec = std::mem::replace(&mut service.spec, request.spec);
        service.update_status = None;
    }
    service.spec_version = request.service_version;
    let reply = UpdateServiceResponse { service: Some(service.clone()) };
    world.run_tasks(&request.service_id);
    if let Some(status) = world.next_update_ends_as.take() {
        world.services[place].update_status = Some(status);
    }
    Ok(reply)
}

impl World {
    /// Makes the tasks of a service be what its spec says, on the second node if there is one.
    fn run_tasks(&mut self, id: &str) {
        let service = self.services.iter().find(|s| s.id == id).unwrap();
        let spec = service.spec.clone().unwrap();
        let Some(service_spec::Mode::Replicated(replicated)) = &spec.mode else { return };
        let task = |slot| Task {
            id: format!("{id}-task{slot}"),
            service_id: id.to_owned(),
            slot,
            node_id: self.nodes.last().unwrap().id.clone(),
            spec: spec.task.clone(),
            spec_version: service.spec_version,
            status: Some(TaskStatus { state: TaskState::Running.into(), ..TaskStatus::default() }),
            desired_state: TaskState::Running.into(),
            ..Task::default()
        };
        let tasks: Vec<Task> = (1..=replicated.replicas).map(task).collect();
        self.tasks.retain(|task| task.service_id != id);
        self.tasks.extend(tasks);
    }
}

pub fn explain(world: &mut World, request: ExplainRequest) -> Result<ExplainResponse, Status> {
    world.explained = Some(request);
    Ok(world.explanation.clone())
}

pub fn plan(world: &mut World, request: PlanRequest) -> Result<PlanResponse, Status> {
    assert!(request.spec.is_some());
    world.plan.clone().ok_or_else(|| Status::unimplemented("skep.v1.Scheduling"))
}

pub fn list_service_statuses(
    world: &mut World,
    request: ListServiceStatusesRequest,
) -> Result<ListServiceStatusesResponse, Status> {
    let status = |service_id: String| {
        let running = world.tasks.iter().filter(|t| t.service_id == service_id).count() as u64;
        list_service_statuses_response::ServiceStatus {
            service_id,
            running_tasks: running,
            desired_tasks: world.desired_tasks.unwrap_or(running),
            ..Default::default()
        }
    };
    Ok(ListServiceStatusesResponse { statuses: request.services.into_iter().map(status).collect() })
}
