//! What the commits of the store mean for the orchestrator: which places, services and tasks have to be looked at. Each
//! event is judged on its own, at a cost that does not depend on how large its service is.

use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    swarmkit::{Node, Service, Task, TaskState},
};
use skep_store::{Change, Commit, Event};

use super::{
    mind::{Known, Mind},
    moment::Moment,
    nodes::{is_unfit, matters},
    reaper::is_useless,
    task::{PlaceOf, has_ended, has_failed, is_wanted, state},
    update::{config::is_paused, machine::Seen},
};

impl Mind {
    /// Takes note of a commit.
    pub(super) fn observe(&mut self, commit: &Commit, now: Moment) {
        for event in &commit.events {
            match event {
                Event::Task(change) => self.observe_task(change, now),
                Event::Service(change) => self.observe_service(change),
                Event::Node(change) => self.observe_node(change),
                _ => {}
            }
        }
    }

    fn observe_node(&mut self, change: &Change<Node>) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        if !matters(old, new) {
            return;
        }
        let id = NodeId(change.id);
        match is_unfit(new) {
            true => drop(self.fit.remove(&id)),
            false => drop(self.fit.insert(id)),
        }
        self.moved_nodes.insert(id);
    }

    fn observe_service(&mut self, change: &Change<Service>) {
        let id = ServiceId(change.id);
        match (&change.old, &change.new) {
            (_, None) => {
                self.forget(id);
                self.removed.insert(id);
            }
            (None, Some(service)) => {
                self.known.insert(id, Known::of(service));
                self.dirty.insert(id);
            }
            (Some(old), Some(new)) => {
                // Not what is written about it: endpoints, and how its update fares.
                let asked = old.spec_version != new.spec_version
                    || old.job_status != new.job_status
                    || old.spec != new.spec
                    || (is_paused(old) && !is_paused(new));
                if asked {
                    self.dirty.insert(id);
                }
            }
        }
    }

    fn observe_task(&mut self, change: &Change<Task>, now: Moment) {
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        let Some(task) = new.or(old) else { return };
        let id = TaskId(change.id);
        if new.is_some_and(is_useless) {
            self.useless.insert(id);
        }
        let Ok(service) = task.service_id.parse::<ServiceId>() else { return };
        let Some(known) = self.known.get_mut(&service) else {
            if new.is_some() {
                self.strays.insert(id);
            }
            return;
        };
        let Some(place) = known.place(task) else { return };
        let at = PlaceOf { service, place };
        if let Some(update) = &mut known.update
            && update.watches(id)
            && let Some(seen) = seen(new)
        {
            update.saw(id, seen, now);
            self.stepping.insert(service);
        }
        if self.counts(known_is_job(self.known.get(&service)), at, old, new) {
            self.touched.insert(at);
        }
        if self.overfull.contains(&at) && new.is_none_or(has_ended) {
            self.prunable.insert(at);
        }
    }

    /// Whether the change of a task asks for a look at its place.
    fn counts(&self, job: bool, at: PlaceOf, old: Option<&Task>, new: Option<&Task>) -> bool {
        let Some(new) = new else {
            return job || self.unsettled.contains(&at) || old.is_some_and(is_wanted);
        };
        let turned =
            |old: &Task| has_ended(old) != has_ended(new) || old.desired_state != new.desired_state;
        let came_up = |old: &Task| state(old) < TaskState::Running as i32 && has_come_up(new);
        if self.unsettled.contains(&at) && old.is_some_and(|old| turned(old) || came_up(old)) {
            return true;
        }
        let moved = old.is_none_or(|old| old.node_id != new.node_id) && !new.node_id.is_empty();
        let misplaced =
            moved && new.node_id.parse().is_ok_and(|node: NodeId| !self.fit.contains(&node));
        let failed = is_wanted(new) && (has_failed(new) || misplaced);
        // A job goes on when a task is done or given up.
        failed || (job && old.is_some_and(turned))
    }
}

fn has_come_up(task: &Task) -> bool {
    state(task) >= TaskState::Running as i32
}

fn known_is_job(known: Option<&Known>) -> bool {
    known.is_some_and(|known| known.job)
}

/// What a task's state means to an update that watches it.
fn seen(task: Option<&Task>) -> Option<Seen> {
    let Some(task) = task else { return Some(Seen::Stopped) };
    if !is_wanted(task) {
        return Some(Seen::Stopped);
    }
    match state(task) {
        state if state > TaskState::Running as i32 => Some(Seen::Ended),
        state if state == TaskState::Running as i32 => Some(Seen::Running),
        _ => None,
    }
}
