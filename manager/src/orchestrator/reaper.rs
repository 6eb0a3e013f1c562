//! Deletes tasks that nobody needs any more: those that are to be removed and are with no worker, and of each place the oldest that
//! ended, as far as there are more than the cluster keeps.

use std::sync::Arc;

use skep_proto::swarmkit::{Cluster, Service, Task, TaskState};
use skep_store::Tables;

use super::{
    change::Change,
    restart::attempts_max,
    slot::Slot,
    task::{has_ended, id, is_job, is_wanted, state},
};

/// Tasks kept for each place where the cluster does not say (SwarmKit's default).
const HISTORY_DEFAULT: i64 = 5;

/// Whether the task can go at once: it is to be removed and no worker has it, or it is lost and no service asks for it.
pub(super) fn is_useless(task: &Task) -> bool {
    let state = state(task);
    let with_worker = (TaskState::Assigned as i32..TaskState::Complete as i32).contains(&state);
    let removed = task.desired_state == TaskState::Remove as i32 && !with_worker;
    removed || (task.service_id.is_empty() && state == TaskState::Orphaned as i32)
}

/// What a place has too many of.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Pruning {
    pub changes: Vec<Change>,
    /// There are still too many, of which none may go yet.
    pub unfinished: bool,
}

/// What is to be deleted of a place. Its newest task stays, since it may hold the place, and so does what a task that waits
/// for its start waits for. Jobs keep everything of their present run.
pub(super) fn prune(slot: &Slot<'_>) -> Pruning {
    let Some(limit) = history_max(slot.service, slot.tables, &slot.tasks) else {
        return Pruning::default();
    };
    let mut excess = slot.tasks.len().saturating_sub(limit);
    let mut pruning = Pruning::default();
    let newest = slot.tasks.last();
    let waits = newest.is_some_and(|task| task.desired_state == TaskState::Ready as i32);
    let kept = if waits { 2 } else { 1 };
    let removable = slot.tasks.len().saturating_sub(kept);
    for task in &slot.tasks[..removable] {
        if excess == 0 {
            break;
        }
        let never_runs = !is_wanted(task) && state(task) < TaskState::Assigned as i32;
        if has_ended(task) && !is_wanted(task) || never_runs {
            pruning.changes.extend(id(task).map(Change::Delete));
            excess -= 1;
        }
    }
    // The newest never goes: there is no use in waiting for that.
    pruning.unfinished = excess > 0 && slot.tasks.len() - pruning.changes.len() > 1;
    pruning
}

/// Whether the place has as many tasks as are kept, so that one more is too many.
pub(super) fn is_full(slot: &Slot<'_>) -> bool {
    let limit = history_max(slot.service, slot.tables, &slot.tasks);
    !slot.tasks.is_empty() && limit.is_some_and(|limit| slot.tasks.len() >= limit)
}

/// How many tasks are kept for a place; none if all are. Where restarts are limited, as many as it takes to count them.
fn history_max(service: &Service, tables: &Tables, tasks: &[&Arc<Task>]) -> Option<usize> {
    if is_job(service) {
        return None;
    }
    if let Some(attempts) = tasks.last().and_then(|task| attempts_max(task)) {
        return usize::try_from(attempts.saturating_add(1)).ok();
    }
    let cluster = tables.all::<Cluster>().next();
    let limit = cluster
        .and_then(|cluster| cluster.spec.as_ref()?.orchestration)
        .map_or(HISTORY_DEFAULT, |orchestration| orchestration.task_history_retention_limit);
    usize::try_from(limit).ok()
}
