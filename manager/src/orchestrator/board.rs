//! How far a run of a replicated job is: for each of its completions whether it is done, under way, or given up.
//!
//! Kept while this manager leads, so that one task's end costs its own slot and not a look at all of them; made anew from the store
//! by the next leader.

use std::sync::Arc;

use skep_proto::swarmkit::{ReplicatedJob, Service, Task, TaskState, Version, service_spec::Mode};

use super::{
    restart::may_restart,
    task::{is_wanted, state},
};

/// The most completions that a job is tracked for: the most tasks that a service may ask for.
const COMPLETIONS_MAX: usize = 1_000_000;

/// Where one completion stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mark {
    /// Nothing was begun, or it has to be begun again.
    Open,
    /// A task is to do it.
    UnderWay,
    /// A task has done it.
    Done,
    /// It failed, and policy lets nobody try again.
    GivenUp,
}

/// One run of a job.
#[derive(Clone, Debug)]
pub(super) struct Board {
    /// Which run.
    pub iteration: Option<Version>,
    marks: Vec<Mark>,
    under_way: usize,
    max_concurrent: usize,
    /// No slot below is open.
    open_from: usize,
}

impl Board {
    /// The run that the service is in; none if it is no replicated job. Nothing is begun on it yet.
    pub(super) fn of(service: &Service) -> Option<Board> {
        let Some(Mode::ReplicatedJob(job)) = service.spec.as_ref()?.mode else { return None };
        let ReplicatedJob { max_concurrent, total_completions } = job;
        let bounded = |n: u64| usize::try_from(n).unwrap_or(usize::MAX).min(COMPLETIONS_MAX);
        Some(Board {
            iteration: service.job_status.as_ref().and_then(|status| status.job_iteration),
            marks: vec![Mark::Open; bounded(total_completions)],
            under_way: 0,
            max_concurrent: bounded(max_concurrent),
            open_from: 0,
        })
    }

    /// Takes note of a slot, by its tasks of this run, the oldest first.
    pub(super) fn note(&mut self, slot: u64, tasks: &[&Arc<Task>]) {
        self.set(slot, mark(tasks));
    }

    /// A slot was handed out.
    fn begin(&mut self, slot: usize) {
        self.set(slot as u64, Mark::UnderWay);
    }

    fn set(&mut self, slot: u64, mark: Mark) {
        let Ok(slot) = usize::try_from(slot) else { return };
        let Some(old) = self.marks.get_mut(slot) else { return };
        self.under_way -= usize::from(*old == Mark::UnderWay);
        self.under_way += usize::from(mark == Mark::UnderWay);
        *old = mark;
        if mark == Mark::Open {
            self.open_from = self.open_from.min(slot);
        }
    }

    /// Hands out the slots that are to be begun now: the lowest open ones, as many as may be under way at a time.
    pub(super) fn hand_out(&mut self) -> Vec<u64> {
        let mut slots = Vec::new();
        while self.under_way < self.max_concurrent && self.open_from < self.marks.len() {
            let slot = self.open_from;
            if self.marks[slot] == Mark::Open {
                self.begin(slot);
                slots.push(slot as u64);
            }
            self.open_from += 1;
        }
        slots
    }
}

/// Where a completion stands by its tasks, the oldest first.
pub(super) fn mark(tasks: &[&Arc<Task>]) -> Mark {
    let done = |task: &&Arc<Task>| state(task) == TaskState::Complete as i32;
    if tasks.iter().any(done) {
        return Mark::Done;
    }
    if tasks.iter().any(|task| is_wanted(task)) {
        return Mark::UnderWay;
    }
    match tasks.last() {
        Some(last) if !may_restart(last, tasks) => Mark::GivenUp,
        _ => Mark::Open,
    }
}
