//! Watches every commit of a test, and holds it against what must hold all along.

use std::collections::BTreeMap;

use skep_proto::{
    ids::ServiceId,
    swarmkit::{Node, Service, Task, TaskState, service_spec::Mode},
};
use skep_store::{By, Event, Kind, Selector, Store, Tables, Watcher};

use crate::orchestrator::{
    dirty::is_dirty,
    nodes::{is_unfit, meets_constraints},
    task::{has_ended, is_global, is_wanted, place, state},
};

/// See the module.
pub struct Watchdog {
    watcher: Watcher,
    /// The fewest and the most tasks of each service that ran at once.
    range: BTreeMap<ServiceId, (usize, usize)>,
}

impl Watchdog {
    pub fn of(store: &Store) -> Watchdog {
        let kinds = [Kind::Task, Kind::Service, Kind::Node];
        Watchdog { watcher: store.watch(Selector::kinds(&kinds)).1, range: BTreeMap::new() }
    }

    /// Begins to count anew.
    pub fn reset(&mut self) {
        self.range.clear();
    }

    /// The fewest tasks of the service that ran at once, as seen after each turn.
    pub fn fewest_running(&self, service: ServiceId) -> usize {
        self.range.get(&service).map_or(0, |(fewest, _)| *fewest)
    }

    pub fn most_running(&self, service: ServiceId) -> usize {
        self.range.get(&service).map_or(0, |(_, most)| *most)
    }

    /// Looks at what was committed since.
    pub fn look(&mut self, store: &Store) {
        let view = store.view();
        while let Some(commit) = self.watcher.try_next().expect("the test looks often enough") {
            for event in &commit.events {
                let Event::Task(change) = event else { continue };
                if let (Some(old), Some(new)) = (&change.old, &change.new) {
                    assert!(state(old) <= state(new), "{} went back", new.id);
                    assert!(
                        old.desired_state <= new.desired_state,
                        "{} is asked to go back from {} to {}",
                        new.id,
                        old.desired_state,
                        new.desired_state
                    );
                    if is_wanted(old) && !is_wanted(new) {
                        assert!(has_cause(&view, old), "{old:?} was stopped without a cause");
                    }
                }
            }
        }
        for service in view.all::<Service>() {
            let id: ServiceId = service.id.parse().expect("tests give ids");
            let runs = |t: &&std::sync::Arc<Task>| {
                state(t) == TaskState::Running as i32
                    && !is_unfit(view.get_text::<Node>(&t.node_id).map(|n| &**n))
            };
            let running = view.find::<Task>(By::Service(id)).filter(runs).count();
            let (fewest, most) = self.range.entry(id).or_insert((running, running));
            *fewest = (*fewest).min(running);
            *most = (*most).max(running);
        }
    }
}

/// Whether there is a reason to stop the task: it ended, or its node keeps no tasks, or its service is gone, wants another spec
/// or fewer tasks, or has another task in its place.
fn has_cause(tables: &Tables, task: &Task) -> bool {
    let node = tables.get_text::<Node>(&task.node_id).map(|node| &**node);
    let displaced = !task.node_id.is_empty() && is_unfit(node);
    let Some(service) = tables.get_text::<Service>(&task.service_id) else { return true };
    if has_ended(task) || displaced || is_dirty(service, task, node) {
        return true;
    }
    if is_global(service) && node.is_some_and(|node| !meets_constraints(service, node)) {
        return true;
    }
    let id = task.service_id.parse().expect("stored");
    let others: Vec<_> =
        tables.find::<Task>(By::Service(id)).filter(|t| is_wanted(t) && t.id != task.id).collect();
    match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Replicated(mode)) if others.len() as u64 >= mode.replicas => return true,
        Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)) => {
            let run = service.job_status.as_ref().and_then(|status| status.job_iteration);
            if task.job_iteration != run {
                return true;
            }
        }
        _ => {}
    }
    others.iter().any(|other| place(service, other) == place(service, task))
}
