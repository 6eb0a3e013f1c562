//! What is asked about: the tasks that an answer is about, and what holds for a service as a whole.

use std::{collections::BTreeMap, sync::Arc};

use skep_proto::{
    ids::{ServiceId, TaskId},
    swarmkit::{Service, Task, TaskState, service_spec::Mode, update_status::UpdateState},
};
use skep_store::{By, Tables};

use crate::scheduler::decision::{is_wanted, state_of};

/// One task, or the tasks of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// All tasks that should run, and in each slot where none does the newest.
    Service(ServiceId),
    /// One task.
    Task(TaskId),
}

impl Subject {
    /// The service that it is about, if it still exists.
    pub fn service<'a>(&self, tables: &'a Tables) -> Option<&'a Arc<Service>> {
        match self {
            Subject::Service(id) => tables.get::<Service>(id),
            Subject::Task(id) => tables.get_text::<Service>(&tables.get::<Task>(id)?.service_id),
        }
    }

    /// The tasks that it is about.
    pub fn tasks<'a>(&self, tables: &'a Tables) -> Vec<&'a Arc<Task>> {
        match self {
            Subject::Task(id) => tables.get::<Task>(id).into_iter().collect(),
            Subject::Service(id) => of_service(tables, *id),
        }
    }
}

/// Where in its service a task belongs.
fn place(task: &Task) -> (u64, &str) {
    match task.slot {
        0 => (0, &task.node_id),
        slot => (slot, ""),
    }
}

fn of_service(tables: &Tables, id: ServiceId) -> Vec<&Arc<Task>> {
    let mut wanted = Vec::new();
    let mut newest: BTreeMap<(u64, &str), Option<&Arc<Task>>> = BTreeMap::new();
    for task in tables.find::<Task>(By::Service(id)) {
        let newest = newest.entry(place(task)).or_insert(None);
        if is_wanted(task) {
            wanted.push(task);
        } else if newest.is_none_or(|other| created(other) <= created(task)) {
            *newest = Some(task);
        }
    }
    for task in &wanted {
        newest.remove(&place(task));
    }
    wanted.extend(newest.into_values().flatten());
    wanted
}

fn created(task: &Task) -> (i64, i32) {
    let at = task.meta.as_ref().and_then(|meta| meta.created_at);
    at.map_or((0, 0), |at| (at.seconds, at.nanos))
}

/// The name of a service.
pub fn name(service: &Service) -> &str {
    let annotations = service.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.map_or("", |annotations| &annotations.name)
}

/// What holds for the service as a whole.
pub fn notes(tables: &Tables, service: &Service) -> Vec<String> {
    let Ok(id) = service.id.parse::<ServiceId>() else { return Vec::new() };
    let tasks: Vec<&Arc<Task>> = tables.find::<Task>(By::Service(id)).collect();
    let in_state = |state: TaskState| {
        tasks.iter().filter(|t| is_wanted(t) && state_of(t) == state as i32).count() as u64
    };
    let (running, wanted) =
        (in_state(TaskState::Running), tasks.iter().filter(|task| is_wanted(task)).count() as u64);
    let mut notes = vec![match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Replicated(mode)) => format!("{running} of {} replicas run", mode.replicas),
        Some(Mode::ReplicatedJob(job)) => format!(
            "{} of {} runs are complete, {running} run",
            in_state(TaskState::Complete),
            job.total_completions
        ),
        Some(Mode::GlobalJob(_)) => format!(
            "{} of {wanted} nodes have completed it, on {running} it runs",
            in_state(TaskState::Complete)
        ),
        Some(Mode::Global(_)) | None => {
            format!("{running} of {wanted} tasks run, one on each node")
        }
    }];
    if let Some(Mode::Replicated(mode)) = service.spec.as_ref().and_then(|s| s.mode.as_ref()) {
        if mode.replicas == 0 {
            notes.push("it is scaled to 0: no task is to run".to_owned());
        } else if wanted < mode.replicas {
            let missing = mode.replicas - wanted;
            notes.push(format!("{missing} tasks are not created: the orchestrator has not come to it, or restarts are used up"));
        }
    }
    notes.extend(update(service));
    notes
}

fn update(service: &Service) -> Option<String> {
    let status = service.update_status.as_ref()?;
    let what = match status.state() {
        UpdateState::Unknown | UpdateState::Completed | UpdateState::RollbackCompleted => {
            return None;
        }
        UpdateState::Updating => "an update is under way",
        UpdateState::Paused => "its update is paused",
        UpdateState::RollbackStarted => "it is being rolled back",
        UpdateState::RollbackPaused => "its rollback is paused",
    };
    Some(match status.message.as_str() {
        "" => what.to_owned(),
        message => format!("{what}: {message}"),
    })
}
