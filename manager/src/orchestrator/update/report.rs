//! How an update fares, in the words of its service's status. The texts are SwarmKit's, which tools show.

use skep_proto::{
    ids::{ServiceId, TaskId},
    prost_types::Timestamp,
    swarmkit::{Service, UpdateStatus, Version, update_status::UpdateState},
};
use skep_store::{StoreError, Tx};

/// What became of an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It has begun.
    Started,
    /// Too many failed, this one last: nothing moves until the operator says so.
    Paused(TaskId),
    /// Too many failed, this one last, in a rollback whose config asks for a rollback.
    RollbackPaused(TaskId),
    /// Too many failed, this one last: the service goes back to its previous spec.
    RolledBack(TaskId),
    /// Everything is on the spec that it led to.
    Completed,
}

/// Writes it down, unless the service has been given another spec, or another word on it, meanwhile.
pub(in super::super) fn write(
    tx: &mut Tx,
    id: ServiceId,
    version: Option<Version>,
    verdict: Verdict,
) -> Result<(), StoreError> {
    let Some(service) = tx.get::<Service>(&id) else { return Ok(()) };
    if service.spec_version != version {
        return Ok(());
    }
    let mut service = Service::clone(service);
    let now = tx.now();
    match verdict {
        Verdict::Started => {
            if service.update_status.is_some() {
                return Ok(());
            }
            service.update_status = Some(UpdateStatus {
                state: UpdateState::Updating.into(),
                message: "update in progress".into(),
                started_at: Some(now),
                ..Default::default()
            });
        }
        Verdict::Paused(task) => {
            let why = format!("update paused due to failure or early termination of task {task}");
            pause(&mut service, why);
        }
        Verdict::RollbackPaused(task) => {
            let why = format!("rollback paused due to failure or early termination of task {task}");
            pause(&mut service, why);
        }
        Verdict::RolledBack(task) => roll_back(&mut service, task),
        Verdict::Completed => complete(&mut service, now),
    }
    if tx.get::<Service>(&id).is_some_and(|stored| **stored != service) {
        tx.update(service)?;
    }
    Ok(())
}

fn pause(service: &mut Service, message: String) {
    let Some(status) = &mut service.update_status else { return };
    let state = match status.state() {
        UpdateState::RollbackStarted => UpdateState::RollbackPaused,
        _ => UpdateState::Paused,
    };
    status.set_state(state);
    status.message = message;
}

fn roll_back(service: &mut Service, task: TaskId) {
    if service.update_status.is_none() {
        return;
    }
    let Some(previous) = service.previous_spec.take() else {
        let why = format!(
            "update paused due to failure or early termination of task {task}: there is no previous spec to roll back to"
        );
        return pause(service, why);
    };
    service.spec = Some(previous);
    service.spec_version = service.previous_spec_version.take();
    if let Some(status) = &mut service.update_status {
        status.set_state(UpdateState::RollbackStarted);
        status.message =
            format!("update rolled back due to failure or early termination of task {task}");
    }
}

fn complete(service: &mut Service, now: Timestamp) {
    let Some(status) = &mut service.update_status else { return };
    let (state, message) = match status.state() {
        UpdateState::RollbackStarted => (UpdateState::RollbackCompleted, "rollback completed"),
        UpdateState::RollbackPaused | UpdateState::Paused => return,
        _ => (UpdateState::Completed, "update completed"),
    };
    status.set_state(state);
    status.message = message.into();
    status.completed_at = Some(now);
}
