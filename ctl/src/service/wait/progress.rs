//! How far a service is from what its spec says: values in, a judgement out.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use skep_proto::shared::Shared;
use skep_proto::swarmkit::{
    Node, NodeStatus, Service, ServiceSpec, Task, TaskSpec, TaskState, UpdateConfig, node_status,
    service_spec::Mode, task_spec::Runtime, update_status::UpdateState,
};

use super::{Asked, follow::Picture};

/// How long tasks have to run on when the spec does not say: what the managers take then.
const MONITOR: Duration = Duration::from_secs(5);

/// A judgement of a picture.
#[derive(Debug, PartialEq)]
pub struct Progress {
    /// `overall progress: 2 out of 3 tasks`.
    pub headline: String,
    /// How far each slot or node is.
    pub places: Vec<Place>,
    /// Whether it is over.
    pub standing: Standing,
}

/// How far the task of a slot or node is.
#[derive(Debug, PartialEq)]
pub struct Place {
    /// `1/3`, or the name of a node.
    pub label: String,
    /// The state of the task that counts there, if there is one.
    pub state: Option<TaskState>,
    /// What went wrong there last, or keeps the task waiting.
    pub trouble: String,
}

/// Whether it is over.
#[derive(Debug, PartialEq)]
pub enum Standing {
    /// Not yet.
    Going,
    /// As the spec says; it counts when it stays so for this long.
    Converged { verify: Duration },
    /// Not as the spec says, and nothing is left that could change it.
    Stuck(String),
    /// It will not be as the spec says.
    Failed(String),
}

/// Judges a picture.
pub fn look(picture: &Picture, asked: Asked) -> Progress {
    let Some(service) = &picture.service else {
        let standing = Standing::Failed("the service was removed".into());
        return Progress { headline: String::new(), places: Vec::new(), standing };
    };
    let spec = service.spec.clone().unwrap_or_default();
    let counted = match &spec.mode {
        Some(Mode::Replicated(replicated)) => {
            let label = |slot: u64| format!("{slot}/{}", replicated.replicas);
            by_place(picture, service, &spec, Wanted::Exactly(replicated.replicas), |task| {
                (task.slot, label(task.slot))
            })
        }
        Some(Mode::Global(_)) => {
            by_place(picture, service, &spec, Wanted::AtLeast(picture.desired), |task| {
                (task.node_id.clone(), node_name(picture, &task.node_id))
            })
        }
        Some(Mode::ReplicatedJob(job)) => of_job(picture, service, Some(job.total_completions)),
        Some(Mode::GlobalJob(_)) | None => of_job(picture, service, None),
    };
    judged(counted, service, &spec, asked)
}

/// What was counted, before the update's own state is looked at.
struct Counted {
    headline: String,
    places: Vec<Place>,
    standing: Standing,
}

/// How many tasks there should be.
enum Wanted {
    Exactly(u64),
    AtLeast(u64),
}

fn by_place<K: Ord>(
    picture: &Picture,
    service: &Service,
    spec: &ServiceSpec,
    wanted: Wanted,
    place_of: impl Fn(&Task) -> (K, String),
) -> Counted {
    let mut places: BTreeMap<K, (String, Vec<&Task>)> = BTreeMap::new();
    for task in picture.tasks.values() {
        let (key, label) = place_of(task);
        places.entry(key).or_insert_with(|| (label, Vec::new())).1.push(task);
    }
    let (mut running, mut alive, mut moving, mut shown) = (0, 0, false, Vec::new());
    let mut last_trouble = String::new();
    for (label, tasks) in places.values() {
        let current = tasks
            .iter()
            .filter(|task| is_wanted(task) && is_current(task, service, spec))
            .max_by_key(|task| (state(task).min(TaskState::Running), created(task)));
        let there = tasks.iter().any(|task| is_wanted(task));
        let runs = current.is_some_and(|task| {
            state(task) == TaskState::Running && !is_down(picture.nodes.get(&task.node_id))
        });
        alive += u64::from(there);
        running += u64::from(runs);
        moving |= there && !runs;
        let trouble = if runs { String::new() } else { trouble(tasks) };
        if !trouble.is_empty() {
            last_trouble.clone_from(&trouble);
        }
        if there {
            shown.push(Place { label: label.clone(), state: current.map(|t| state(t)), trouble });
        }
    }
    let want = match wanted {
        Wanted::Exactly(count) => count,
        Wanted::AtLeast(count) => alive.max(count),
    };
    let ended = picture.tasks.values().any(|task| state(task) > TaskState::Running);
    let standing = if running == want && alive == want {
        Standing::Converged { verify: Duration::ZERO }
    } else if !moving && ended && alive < want {
        let because =
            if last_trouble.is_empty() { String::new() } else { format!(": {last_trouble}") };
        Standing::Stuck(format!(
            "{} of {want} tasks ended, and the restart policy starts them no more{because}",
            want - alive
        ))
    } else {
        Standing::Going
    };
    let headline = format!("{running} out of {want} tasks");
    Counted { headline, places: shown, standing }
}

fn of_job(picture: &Picture, service: &Service, total: Option<u64>) -> Counted {
    let run = service.job_status.as_ref().and_then(|job| job.job_iteration);
    let of_this_run =
        |task: &&Task| task.job_iteration.unwrap_or_default() == run.unwrap_or_default();
    let tasks: Vec<&Task> = picture.tasks.values().filter(of_this_run).collect();
    let place = |task: &Task| match total {
        Some(_) => (task.slot, String::new()),
        None => (0, task.node_id.clone()),
    };
    let complete: BTreeSet<_> =
        tasks.iter().filter(|t| state(t) == TaskState::Complete).map(|t| place(t)).collect();
    let alive: Vec<&&Task> = tasks
        .iter()
        .filter(|t| t.desired_state() <= TaskState::Complete && state(t) < TaskState::Complete)
        .collect();
    let places: BTreeSet<_> = tasks.iter().map(|t| place(t)).collect();
    let want = total.unwrap_or(picture.desired.max(places.len() as u64));
    let done = complete.len() as u64;
    let active = alive.iter().filter(|t| state(t) == TaskState::Running).count();
    let shown = |task: &&&Task| Place {
        label: match (task.slot, total) {
            (_, None) => node_name(picture, &task.node_id),
            (slot, Some(total)) => format!("{}/{total}", slot.saturating_add(1)),
        },
        state: Some(state(task)),
        trouble: task.status.as_ref().map(|s| s.err.clone()).unwrap_or_default(),
    };
    let mut shown: Vec<Place> = alive.iter().map(shown).collect();
    shown.sort_by(|a, b| a.label.cmp(&b.label));
    let failed = trouble(&tasks);
    let standing = if done >= want && alive.is_empty() && (total.is_some() || want > 0) {
        Standing::Converged { verify: Duration::ZERO }
    } else if alive.is_empty() && !failed.is_empty() {
        Standing::Stuck(format!("the job is not complete, and no task is left to run: {failed}"))
    } else {
        Standing::Going
    };
    Counted {
        headline: format!("{done} out of {want} complete, {active} running"),
        places: shown,
        standing,
    }
}

/// Puts what was counted beside what the managers say of the update.
fn judged(counted: Counted, service: &Service, spec: &ServiceSpec, asked: Asked) -> Progress {
    let Counted { headline, places, standing } = counted;
    let status = service.update_status.clone().unwrap_or_default();
    let is_job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
    let rolls_back = matches!(
        status.state(),
        UpdateState::RollbackStarted | UpdateState::RollbackPaused | UpdateState::RollbackCompleted
    );
    let headline = match (is_job, rolls_back) {
        (true, _) => format!("job progress: {headline}"),
        (false, true) => format!("overall progress: rolling back update: {headline}"),
        (false, false) => format!("overall progress: {headline}"),
    };
    let failed = |what: &str| Standing::Failed(format!("{what}: {}", status.message));
    let converged = matches!(standing, Standing::Converged { .. });
    let standing = match status.state() {
        UpdateState::Paused => failed("update paused"),
        UpdateState::RollbackPaused => failed("rollback paused"),
        UpdateState::RollbackCompleted if asked == Asked::Spec => failed("service rolled back"),
        UpdateState::Updating | UpdateState::RollbackStarted => Standing::Going,
        // The managers have watched the tasks already.
        UpdateState::Completed | UpdateState::RollbackCompleted => standing,
        UpdateState::Unknown if converged && !is_job => {
            Standing::Converged { verify: monitor(spec.update.as_ref()) }
        }
        UpdateState::Unknown => standing,
    };
    Progress { headline, places, standing }
}

fn monitor(config: Option<&UpdateConfig>) -> Duration {
    let given = config.and_then(|c| c.monitor).and_then(|m| Duration::try_from(m).ok());
    given.filter(|m| !m.is_zero()).unwrap_or(MONITOR)
}

fn state(task: &Task) -> TaskState {
    task.status.as_ref().map(|s| s.state()).unwrap_or_default()
}

fn created(task: &Task) -> (i64, i32) {
    let at = task.meta.as_ref().and_then(|m| m.created_at).unwrap_or_default();
    (at.seconds, at.nanos)
}

/// The task is to run, and has not ended.
fn is_wanted(task: &Task) -> bool {
    task.desired_state() <= TaskState::Running && state(task) <= TaskState::Running
}

/// The task is what the service asks for now. A change of where tasks may run leaves those alone that may stay.
fn is_current(task: &Task, service: &Service, spec: &ServiceSpec) -> bool {
    if task.spec_version.is_some() && task.spec_version == service.spec_version {
        return true;
    }
    let endpoint = task.endpoint.as_ref().and_then(|endpoint| endpoint.spec.as_ref());
    endpoint == spec.endpoint.as_ref() && compared(&task.spec) == compared(&spec.task)
}

fn compared(spec: &Option<Shared<TaskSpec>>) -> Shared<TaskSpec> {
    let mut spec = spec.clone().unwrap_or_default();
    if let Some(placement) = &mut spec.placement {
        placement.constraints.clear();
    }
    if let Some(Runtime::Container(container)) = &mut spec.runtime {
        container.pull_options = None;
    }
    spec
}

/// What went wrong last: what a task waits for, or how the last one that failed ended.
fn trouble(tasks: &[&Task]) -> String {
    let text = |task: &&&Task| task.status.as_ref().is_some_and(|s| !s.err.is_empty());
    let newest = tasks.iter().filter(text).max_by_key(|task| (is_wanted(task), created(task)));
    newest.and_then(|task| task.status.as_ref()).map(|s| s.err.clone()).unwrap_or_default()
}

fn is_down(node: Option<&Node>) -> bool {
    let state = |status: &NodeStatus| status.state();
    node.and_then(|n| n.status.as_ref()).is_some_and(|s| state(s) == node_status::State::Down)
}

fn node_name(picture: &Picture, id: &str) -> String {
    let hostname = picture.nodes.get(id).and_then(|n| n.description.as_ref()).map(|d| &d.hostname);
    hostname.filter(|name| !name.is_empty()).map_or_else(|| id.to_owned(), String::clone)
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;
