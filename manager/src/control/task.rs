//! Tasks: made by the control loops, here only seen and removed.

use std::collections::BTreeMap;

use skep_proto::{
    ids::TaskId,
    swarmkit::{
        GetTaskRequest, GetTaskResponse, ListTasksRequest, ListTasksResponse, RemoveTaskRequest,
        RemoveTaskResponse, Service, Task, TaskSpec, list_tasks_request::Filters,
        task_spec::Runtime,
    },
};
use skep_store::Tables;

use super::{
    ControlService,
    errors::ControlError,
    filters::{any_or_empty, bounded, common_filter},
    id_of, wanted,
};

/// One task.
pub(super) async fn get(
    control: &ControlService,
    request: GetTaskRequest,
) -> Result<GetTaskResponse, ControlError> {
    let view = control.read().await?;
    Ok(GetTaskResponse { task: Some(Task::clone(wanted(&view, &request.task_id)?)) })
}

/// The tasks that pass the filters. Labels are those of the service.
pub(super) async fn list(
    control: &ControlService,
    request: ListTasksRequest,
) -> Result<ListTasksResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let own = request.filters.clone().unwrap_or_default();
    for (len, what) in [
        (own.service_ids.len(), "service ids"),
        (own.node_ids.len(), "node ids"),
        (own.desired_states.len(), "desired states"),
        (own.runtimes.len(), "runtimes"),
    ] {
        bounded(len, what)?;
    }
    let view = control.read().await?;
    let tasks = filter.list::<Task>(&view, service_labels, |task| admits(&view, &own, task));
    Ok(ListTasksResponse { tasks })
}

fn service_labels(task: &Task) -> Option<&BTreeMap<String, String>> {
    task.service_annotations.as_ref().map(|annotations| &annotations.labels)
}

fn admits(tables: &Tables, filters: &Filters, task: &Task) -> bool {
    any_or_empty(&filters.service_ids, &task.service_id)
        && any_or_empty(&filters.node_ids, &task.node_id)
        && any_or_empty(&filters.desired_states, &task.desired_state)
        && (filters.runtimes.is_empty()
            || filters.runtimes.contains(&runtime(task.spec.as_deref())))
        && (!filters.up_to_date || up_to_date(tables, task))
}

/// The name of the runtime that a task needs, in lower case.
pub(super) fn runtime(spec: Option<&TaskSpec>) -> String {
    match spec.and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(_)) => "container".into(),
        Some(Runtime::Attachment(_)) => "attachment".into(),
        Some(Runtime::Generic(generic)) => generic.kind.to_lowercase(),
        None => String::new(),
    }
}

/// The task is what its service asks for now. How an image is pulled does not count: the container is the same.
fn up_to_date(tables: &Tables, task: &Task) -> bool {
    let Some(service) = tables.get_text::<Service>(&task.service_id) else { return false };
    if task.spec_version.is_some() && task.spec_version == service.spec_version {
        return true;
    }
    let Some(spec) = &service.spec else { return false };
    let endpoint = task.endpoint.as_ref().and_then(|endpoint| endpoint.spec.as_ref());
    without_pull_options(task.spec.as_deref()) == without_pull_options(spec.task.as_deref())
        && endpoint == spec.endpoint.as_ref()
}

fn without_pull_options(spec: Option<&TaskSpec>) -> Option<TaskSpec> {
    let mut spec = spec.cloned()?;
    if let Some(Runtime::Container(container)) = &mut spec.runtime {
        container.pull_options = None;
    }
    Some(spec)
}

/// Removes a task, whatever it does; if its service still wants it, it is made anew.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveTaskRequest,
) -> Result<RemoveTaskResponse, ControlError> {
    control
        .write(|tx| {
            let id: TaskId = id_of(&**wanted::<Task>(tx, &request.task_id)?)?;
            Ok(tx.remove::<Task>(&id)?)
        })
        .await?;
    Ok(RemoveTaskResponse {})
}
