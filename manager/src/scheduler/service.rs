//! `skep.v1.Scheduling`: why tasks wait, and where tasks would go. Reads the store of an up-to-date manager and changes nothing.

use std::sync::Arc;

use skep_ca::Clock;
use skep_proto::{
    skep::{
        ExplainRequest, ExplainResponse, PlanRequest, PlanResponse, explain_request,
        scheduling_server::Scheduling,
    },
    swarmkit::{Service, Task, service_spec::Mode},
};
use skep_store::{Object, Store, Tables};
use tonic::{Request, Response, Status};

use super::{
    explain::{Subject, explain},
    plan::plan,
};
use crate::{
    answer::Answers,
    control::{errors::ControlError, prospective},
    group::Group,
};

/// Answers computed at a time. Each reads every task, off the async threads; more at once would only take the processor
/// from the scheduler itself.
const ANSWERS_MAX: usize = 2;

/// Tasks in one plan: more than any cluster runs today.
const TASKS_PLANNED_MAX: u64 = 200_000;

/// The service. Cheap to clone; all clones are one service.
#[derive(Clone)]
pub struct SchedulingService {
    answers: Answers,
    clock: Clock,
}

impl SchedulingService {
    /// Over the store and the raft group.
    pub fn new(store: Store, group: Arc<dyn Group>, clock: Clock) -> SchedulingService {
        SchedulingService { answers: Answers::new(store, group, ANSWERS_MAX), clock }
    }
}

#[tonic::async_trait]
impl Scheduling for SchedulingService {
    async fn explain(
        &self,
        request: Request<ExplainRequest>,
    ) -> Result<Response<ExplainResponse>, Status> {
        let (request, clock) = (request.into_inner(), self.clock.clone());
        self.answers
            .answer(move |view| {
                let subject = subject(&view, &request)?;
                Ok(explain(&view, &subject, clock.now()))
            })
            .await
    }

    async fn plan(&self, request: Request<PlanRequest>) -> Result<Response<PlanResponse>, Status> {
        let (request, clock) = (request.into_inner(), self.clock.clone());
        self.answers
            .answer(move |view| {
                let PlanRequest { service_id, spec, service_version } = request;
                let service = prospective(&view, &service_id, service_version, &spec)?;
                small_enough(&service)?;
                Ok(plan(&view, &service, clock.now()))
            })
            .await
    }
}

/// A plan for more tasks than any cluster runs would only take the processor from those that do run.
fn small_enough(service: &Service) -> Result<(), ControlError> {
    let tasks = match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Replicated(mode)) => mode.replicas,
        Some(Mode::ReplicatedJob(job)) => job.total_completions,
        _ => return Ok(()),
    };
    if tasks > TASKS_PLANNED_MAX {
        return Err(ControlError::argument(format!(
            "a plan for {tasks} tasks is too large; at most {TASKS_PLANNED_MAX} are planned"
        )));
    }
    Ok(())
}

fn subject(tables: &Tables, request: &ExplainRequest) -> Result<Subject, ControlError> {
    use explain_request::Subject as Asked;
    match &request.subject {
        Some(Asked::ServiceId(id)) => Ok(Subject::Service(stored::<Service>(tables, id)?)),
        Some(Asked::TaskId(id)) => Ok(Subject::Task(stored::<Task>(tables, id)?)),
        None => Err(ControlError::argument("the id of a service or of a task must be provided")),
    }
}

/// The typed id of an object that must be there.
fn stored<T: Object>(tables: &Tables, id: &str) -> Result<T::Id, ControlError> {
    let found = tables.get_text::<T>(id).and_then(|object| object.id().parse().ok());
    found.map(T::Id::from).ok_or_else(|| ControlError::not_found(T::KIND, id))
}
