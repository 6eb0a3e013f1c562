//! The course of one update, without a store or a clock: it is told what happens to tasks and what time it is, and says
//! which place is next and when the update is over.
//!
//! A place is *in change* from the moment that it is begun until its new task runs (or has failed) and the delay after that
//! is over. No more than `parallelism` places are. Each new task is watched for the monitor time, from when it runs; one that ends before
//! is a failure. When the last place is done, one more monitor time passes before the update is complete.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use skep_proto::{
    ids::TaskId,
    swarmkit::{Service, Version, update_config::FailureAction},
};

use super::{UpdatePlan, Verdict};
use crate::orchestrator::{moment::Moment, task::Place};

/// What is to be done now.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    /// Bring this place to the new spec; the answer comes with [`Update::began`].
    Begin(Place),
    /// Write down how the update ended, or that it has begun.
    Report(Verdict),
}

/// Where a place in change stands.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// It was handed out.
    Begun,
    /// This task is to come up.
    Starting(TaskId),
    /// Its turn will be over.
    Resting,
}

/// A new task.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Watched {
    place: Place,
    /// Since when it runs.
    running: Option<Moment>,
}

/// One update of one service.
#[derive(Clone, Debug)]
pub(crate) struct Update {
    /// The spec that it leads to.
    pub version: Option<Version>,
    /// How it goes.
    pub plan: UpdatePlan,
    /// Whether it has to be written down that it begins.
    announce: bool,
    queue: VecDeque<Place>,
    in_change: BTreeMap<Place, Phase>,
    /// Places whose turn is over at a moment.
    resting: BTreeSet<(Moment, Place)>,
    watched: BTreeMap<TaskId, Watched>,
    /// Tasks that have run for long enough at a moment.
    proving: BTreeSet<(Moment, TaskId)>,
    /// All places that the update moves.
    total: usize,
    failures: usize,
    /// The last task that failed, until it was judged.
    failed: Option<TaskId>,
    /// When the last place was done.
    done: Option<Moment>,
    /// A verdict was given, and is being written.
    ended: bool,
}

impl Update {
    /// An update that leads to this version. `announce`: it is yet to be written down that it begins.
    pub(super) fn new(version: Option<Version>, plan: UpdatePlan, announce: bool) -> Update {
        Update {
            version,
            plan,
            announce,
            total: 0,
            queue: VecDeque::new(),
            in_change: BTreeMap::new(),
            resting: BTreeSet::new(),
            watched: BTreeMap::new(),
            proving: BTreeSet::new(),
            failures: 0,
            failed: None,
            done: None,
            ended: false,
        }
    }

    /// Adds places that have to move, in this order. If there is nothing else to wait for either, the update is complete at once.
    pub(super) fn enqueue(&mut self, places: impl Iterator<Item = Place>) {
        self.queue.extend(places);
        self.total += self.queue.len();
        if self.total == 0 {
            self.done = Some(Moment::default());
        }
    }

    /// A place that an earlier leader moved: its new task, and since when that runs.
    pub(super) fn resume(
        &mut self,
        place: Place,
        task: TaskId,
        running: Option<Moment>,
        now: Moment,
    ) {
        self.total += 1;
        self.watch(task, place, running);
        match running {
            None => drop(self.in_change.insert(place, Phase::Starting(task))),
            Some(since) => {
                let rested = since.after(self.plan.delay);
                self.done = self.done.max(Some(rested));
                if rested > now {
                    self.rest_until(place, rested);
                }
            }
        }
    }

    /// A place that an earlier leader moved, and whose first new task failed.
    pub(super) fn resume_failed(&mut self, task: TaskId) {
        self.failures += 1;
        self.failed = Some(task);
    }

    /// What is to be done now, and when to ask again at the latest.
    pub(crate) fn step(&mut self, now: Moment) -> (Vec<Action>, Option<Moment>) {
        let mut actions = Vec::new();
        if self.ended {
            return (actions, None);
        }
        if std::mem::take(&mut self.announce) {
            actions.push(Action::Report(Verdict::Started));
        }
        if let Some(verdict) = self.judge() {
            self.ended = true;
            actions.push(Action::Report(verdict));
            return (actions, None);
        }
        self.let_go(now);
        let monitor = self.plan.monitor;
        while self.in_change.len() < self.plan.parallelism
            && let Some(place) = self.queue.pop_front()
        {
            self.in_change.insert(place, Phase::Begun);
            actions.push(Action::Begin(place));
        }
        if !self.queue.is_empty() || !self.in_change.is_empty() {
            return (actions, self.resting.first().map(|(until, _)| *until));
        }
        let over = self.done.get_or_insert(now).after(monitor);
        if over > now {
            return (actions, Some(over));
        }
        self.ended = true;
        actions.push(Action::Report(Verdict::Completed));
        (actions, None)
    }

    /// A place was begun: this task is to come up, or nothing was to be done.
    pub(crate) fn began(
        &mut self,
        place: Place,
        task: Option<(TaskId, Option<Moment>)>,
        now: Moment,
    ) {
        match task {
            None => self.leave(place, now),
            Some((id, running)) => {
                self.watch(id, place, running);
                match running {
                    None => drop(self.in_change.insert(place, Phase::Starting(id))),
                    Some(_) => self.rest(place, now),
                }
            }
        }
    }

    /// A watched task was seen in a state: running, ended by itself, or told to stop.
    pub(crate) fn saw(&mut self, task: TaskId, seen: Seen, now: Moment) {
        let Some(&Watched { place, running }) = self.watched.get(&task) else { return };
        match (seen, running) {
            (Seen::Running, None) => {
                self.watch(task, place, Some(now));
                self.finish(place, task, now);
            }
            (Seen::Running, Some(_)) => {}
            (Seen::Ended, running) => {
                self.watched.remove(&task);
                let monitor = self.plan.monitor;
                if running.is_none_or(|since| now.since(since) <= monitor)
                    && self.plan.action != FailureAction::Continue
                {
                    self.failures += 1;
                    self.failed = Some(task);
                }
                self.finish(place, task, now);
            }
            (Seen::Stopped, _) => {
                self.watched.remove(&task);
                self.finish(place, task, now);
            }
        }
    }

    /// A task that is to come up was moved elsewhere, through no fault of its own: this one takes over.
    pub(crate) fn moved(&mut self, place: Place, to: TaskId) {
        if let Some(phase @ Phase::Starting(_)) = self.in_change.get_mut(&place) {
            let Phase::Starting(from) = std::mem::replace(phase, Phase::Starting(to)) else {
                return;
            };
            self.watched.remove(&from);
            self.watch(to, place, None);
        }
    }

    /// Whether this is the update that the service asks for now.
    pub(crate) fn leads_to(&self, service: &Service) -> bool {
        self.version == service.spec_version && self.plan == UpdatePlan::of(service)
    }

    /// Whether the task is watched.
    pub(crate) fn watches(&self, task: TaskId) -> bool {
        self.watched.contains_key(&task)
    }

    /// The turn of the place is over, if it was this task's.
    fn finish(&mut self, place: Place, task: TaskId, now: Moment) {
        if self.in_change.get(&place) == Some(&Phase::Starting(task)) {
            self.rest(place, now);
        }
    }

    fn rest(&mut self, place: Place, now: Moment) {
        let until = now.after(self.plan.delay);
        self.done = self.done.max(Some(until));
        self.rest_until(place, until);
    }

    fn rest_until(&mut self, place: Place, until: Moment) {
        self.in_change.insert(place, Phase::Resting);
        self.resting.insert((until, place));
    }

    fn watch(&mut self, task: TaskId, place: Place, running: Option<Moment>) {
        self.watched.insert(task, Watched { place, running });
        self.proving.extend(running.map(|since| (since.after(self.plan.monitor), task)));
    }

    /// Lets go of places whose turn is over, and of tasks that have proved themselves.
    fn let_go(&mut self, now: Moment) {
        while let Some((until, place)) = self.resting.first().copied()
            && until <= now
        {
            self.resting.pop_first();
            if self.in_change.get(&place) == Some(&Phase::Resting) {
                self.in_change.remove(&place);
            }
        }
        while let Some((until, task)) = self.proving.first().copied()
            && until < now
        {
            self.proving.pop_first();
            self.watched.remove(&task);
        }
    }

    fn leave(&mut self, place: Place, now: Moment) {
        self.done = self.done.max(Some(now));
        self.in_change.remove(&place);
    }

    /// What too many failures come to.
    fn judge(&mut self) -> Option<Verdict> {
        let task = self.failed.take()?;
        let ratio = self.failures as f32 / self.total.max(1) as f32;
        if ratio <= self.plan.max_failure_ratio {
            return None;
        }
        match (self.plan.action, self.plan.rollback) {
            (FailureAction::Continue, _) => None,
            (FailureAction::Pause, _) => Some(Verdict::Paused(task)),
            (FailureAction::Rollback, false) => Some(Verdict::RolledBack(task)),
            // There is nothing to go back to from a rollback.
            (FailureAction::Rollback, true) => Some(Verdict::RollbackPaused(task)),
        }
    }
}

/// What was seen of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Seen {
    /// It runs.
    Running,
    /// It ended although it was to run.
    Ended,
    /// It is not to run any more, or is gone.
    Stopped,
}
