//! Setting an update up from what the store holds. Nothing of an update is kept elsewhere, so this is also how a new leader goes on
//! with one: which places were moved, which of their tasks still have to prove themselves, and how many failed, is
//! read off versions and times of tasks.

use std::sync::Arc;

use skep_proto::swarmkit::{Service, Task, TaskState, update_status::UpdateState};
use skep_store::Tables;

use super::{
    UpdatePlan,
    config::{is_paused, state},
    machine::Update,
};
use crate::orchestrator::{
    dirty::is_dirty,
    moment::Moment,
    restart::node_of,
    slot::holders,
    task::{self, Place, has_ended, is_wanted},
};

/// Collects what has to move; see [`Beginning::update`].
pub(in super::super) struct Beginning<'a> {
    tables: &'a Tables,
    service: &'a Service,
    now: Moment,
    update: Update,
    /// Places that have to move: those first that cost nothing more, since their task does not run anyway.
    dirty: Vec<(Cost, Place)>,
    /// When the update began, if this goes on with one.
    going_on_since: Option<Moment>,
}

/// What moving a place costs; cheaper ones come first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    /// It is half moved.
    UnderWay,
    /// Nothing runs there.
    Idle,
    /// A task runs there.
    Running,
}

impl<'a> Beginning<'a> {
    /// For a service as it is now.
    pub(in super::super) fn new(
        tables: &'a Tables,
        service: &'a Service,
        now: Moment,
    ) -> Beginning<'a> {
        let going_on =
            matches!(state(service), UpdateState::Updating | UpdateState::RollbackStarted);
        let started = service.update_status.as_ref().and_then(|status| status.started_at);
        let update = Update::new(
            service.spec_version,
            UpdatePlan::of(service),
            service.update_status.is_none(),
        );
        let going_on_since = going_on.then(|| started.unwrap_or_default().into());
        Beginning { tables, service, now, update, dirty: Vec::new(), going_on_since }
    }

    /// Takes a place into account, with every task of it, the oldest first.
    pub(in super::super) fn place(&mut self, place: Place, tasks: &[&Arc<Task>]) {
        let holders = holders(self.service, tasks);
        let clean = holders.iter().rev().find(|t| !self.is_dirty(t));
        match (&holders[..], clean) {
            ([], _) => {}
            ([_], Some(clean)) => self.moved(place, clean, tasks),
            (_, clean) => {
                let runs =
                    |t: &&&Arc<Task>| is_wanted(t) && task::state(t) == TaskState::Running as i32;
                let cost = match (clean, holders.iter().any(|t| runs(&t))) {
                    (Some(_), _) => Cost::UnderWay,
                    (None, false) => Cost::Idle,
                    (None, true) => Cost::Running,
                };
                self.dirty.push((cost, place));
            }
        }
    }

    /// The update; none if there is nothing to do, or nothing may be done.
    pub(in super::super) fn update(mut self) -> Option<Update> {
        if is_paused(self.service) || (self.dirty.is_empty() && self.going_on_since.is_none()) {
            return None;
        }
        self.dirty.sort_unstable();
        self.update.enqueue(self.dirty.into_iter().map(|(_, place)| place));
        Some(self.update)
    }

    /// The place is on the service's spec. If this update brought it there, its task may still have to prove itself.
    fn moved(&mut self, place: Place, clean: &Task, tasks: &[&Arc<Task>]) {
        let Some(started) = self.going_on_since else { return };
        let by_this_update = |task: &Task| {
            task.spec_version == self.service.spec_version && Moment::created(task) >= started
        };
        let from_elsewhere = tasks.iter().any(|task| task.spec_version != clean.spec_version);
        if !by_this_update(clean) || !from_elsewhere || !is_wanted(clean) {
            return;
        }
        let status = clean.status.as_ref();
        let running = status
            .filter(|status| status.state >= TaskState::Running as i32)
            .map(Moment::of_status);
        let failed = tasks
            .iter()
            .find(|task| by_this_update(task))
            .filter(|first| first.id != clean.id && self.failed_early(first))
            .and_then(|first| task::id(first));
        if let Some(id) = task::id(clean) {
            self.update.resume(place, id, running, self.now);
        }
        if let Some(task) = failed {
            self.update.resume_failed(task);
        }
    }

    /// Whether the task ended by itself before the monitor time was over. When it came up is not known any more: as long as it took to
    /// come up counts with it.
    fn failed_early(&self, task: &Task) -> bool {
        let by_itself = task::state(task) != TaskState::Shutdown as i32;
        let ended = task.status.as_ref().map(Moment::of_status).unwrap_or_default();
        let lived = ended.since(Moment::created(task));
        has_ended(task) && by_itself && lived <= self.update.plan.monitor
    }

    fn is_dirty(&self, task: &Task) -> bool {
        is_dirty(self.service, task, node_of(task, self.tables))
    }
}
