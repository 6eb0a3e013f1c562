//! Restarting: whether a task that ended is replaced, how often, and when its replacement may start.
//!
//! Nothing of this is remembered. How often a place was restarted is read off the tasks that it has had (the reaper keeps
//! as many as are needed for that), and when a replacement may start off the times that it and its predecessor carry. So a new
//! leader decides as the old one would have.

use std::{sync::Arc, time::Duration};

use skep_proto::swarmkit::{
    Node, RestartPolicy, Task, TaskState, restart_policy::RestartCondition,
};
use skep_store::Tables;

use super::{
    moment::{Moment, span},
    nodes::{is_drained, is_lost},
    task::{has_ended, is_of_job, is_wanted, state},
};

/// How long a replacement waits where the policy does not say (SwarmKit's default).
const DELAY_DEFAULT: Duration = Duration::from_secs(5);
/// How long a replacement waits for the task before it to stop: then its worker is taken for hung (SwarmKit's limit).
const STOP_TIMEOUT: Duration = Duration::from_secs(60);

/// When a replacement may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// Now.
    Now,
    /// Not before this moment.
    At(Moment),
    /// When the tasks before it have stopped, and at this moment at the latest.
    AfterStop(Moment),
}

fn policy(task: &Task) -> Option<&RestartPolicy> {
    task.spec.as_ref()?.restart.as_ref()
}

/// How often a place may be restarted; none if there is no limit.
pub(super) fn attempts_max(task: &Task) -> Option<u64> {
    policy(task).map(|policy| policy.max_attempts).filter(|&max| max > 0)
}

/// Whether the policy lets the task be replaced. `tasks` are all of its place, the oldest first.
///
/// A place is restarted at most `max_attempts` times under one spec. With a window only restarts within it, looking back
/// from when the task ended, are counted. A window that is no longer than the delay could never hold two restarts: then those are counted
/// whose task did not live for a window.
pub(super) fn may_restart(task: &Task, tasks: &[&Arc<Task>]) -> bool {
    let condition = policy(task).map_or(RestartCondition::Any, |policy| policy.condition());
    let done = state(task) == TaskState::Complete as i32;
    match condition {
        RestartCondition::None => return false,
        RestartCondition::OnFailure if done => return false,
        RestartCondition::Any if done && is_of_job(task) => return false,
        _ => {}
    }
    let Some(max) = attempts_max(task) else { return true };
    let same_spec: Vec<&Arc<Task>> = tasks
        .iter()
        .copied()
        .filter(|other| {
            other.spec_version == task.spec_version && other.job_iteration == task.job_iteration
        })
        .take_while(|other| Moment::created(other) <= Moment::created(task))
        .collect();
    // The first of a spec was no restart.
    let restarts = same_spec.get(1..).unwrap_or_default();
    let window = policy(task).and_then(|policy| policy.window).map(span);
    let counted = match window.filter(|window| !window.is_zero()) {
        None => restarts.len(),
        Some(window) if window > delay(task) => {
            let ended = ended_at(task);
            restarts.iter().filter(|t| ended.since(Moment::created(t)) < window).count()
        }
        Some(window) => same_spec
            .iter()
            .rev()
            .take_while(|t| ended_at(t).since(Moment::created(t).after(delay(t))) < window)
            .count()
            .min(restarts.len()),
    };
    (counted as u64) < max
}

fn ended_at(task: &Task) -> Moment {
    task.status.as_ref().map(Moment::of_status).unwrap_or_default()
}

/// How long the replacement of this task waits.
fn delay(task: &Task) -> Duration {
    policy(task).and_then(|policy| policy.delay).map_or(DELAY_DEFAULT, span)
}

/// When a task that is to be READY may be told to run. `others` are the other tasks of its place, the oldest first.
///
/// It waits for its predecessor's delay if it replaces one that ended or was lost, and for all that are being stopped. One
/// that takes a place under another spec, or from a drained node, does not wait for the delay: nothing failed.
pub(super) fn start(new: &Task, others: &[&Arc<Task>], tables: &Tables, now: Moment) -> Start {
    let created = Moment::created(new);
    let delay = others.last().map_or_else(|| delay(new), |old| delay_after(old, new, tables));
    let due = created.after(delay);
    // Made under a clock that is ahead of ours: that tells nothing of how long it has waited.
    if due > now && due.since(now) <= delay {
        return Start::At(due);
    }
    let limit = created.after(STOP_TIMEOUT);
    let stopping = |task: &&Arc<Task>| is_stopping(task, node_of(task, tables));
    match limit > now && limit.since(now) <= STOP_TIMEOUT && others.iter().any(stopping) {
        true => Start::AfterStop(limit),
        false => Start::Now,
    }
}

fn delay_after(old: &Task, new: &Task, tables: &Tables) -> Duration {
    let node = node_of(old, tables);
    let of_same_spec = old.spec_version == new.spec_version;
    let drained = node.is_some_and(is_drained);
    let ended_before = has_ended(old) && ended_at(old) <= Moment::created(new);
    match of_same_spec && !drained && !is_wanted(old) && (ended_before || is_lost(node)) {
        true => delay(old),
        false => Duration::ZERO,
    }
}

/// Whether the task is told to stop, and its node is yet to say that it did.
fn is_stopping(task: &Task, node: Option<&Node>) -> bool {
    let with_worker = state(task) >= TaskState::Assigned as i32 && !has_ended(task);
    !is_wanted(task) && with_worker && !is_lost(node)
}

/// The node that the task is on.
pub(super) fn node_of<'a>(task: &Task, tables: &'a Tables) -> Option<&'a Node> {
    tables.get_text::<Node>(&task.node_id).map(|node| &**node)
}
