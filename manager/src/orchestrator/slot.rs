//! One place of a service: what its tasks are, and what is to be done about them. Everything that follows from the tasks of one
//! place, its service and its nodes alone is decided here, in the transaction that writes it; what takes the whole
//! service into account (how many places, which of them move to a new spec next) is decided elsewhere.

use std::sync::Arc;

use rand::RngCore;
use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{Cluster, Service, Task, TaskState, service_spec::Mode, update_status::UpdateState},
};
use skep_store::Tables;

use super::{
    change::Change,
    dirty::is_dirty,
    moment::Moment,
    nodes::{Standing, is_unfit, job_standing, standing},
    restart::{Start, may_restart, node_of, start},
    task::{
        Place, PlaceOf, has_ended, has_failed, id, is_job, is_of_job, is_wanted, new_task, state,
        tasks_at,
    },
    update::config::is_paused,
};

/// One place, as it is now.
pub(super) struct Slot<'a> {
    pub tables: &'a Tables,
    pub service: &'a Service,
    pub at: PlaceOf,
    /// Every task of the place (of a job: of its present run), the oldest first.
    pub tasks: Vec<&'a Arc<Task>>,
    /// Of a job: tasks of other runs that are still there.
    pub outdated: Vec<&'a Arc<Task>>,
    pub now: Timestamp,
}

/// What is done about a place, and what comes after.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decision {
    pub changes: Vec<Change>,
    /// When to look at the place again, if nothing happens before.
    pub look_again: Option<Moment>,
    /// Something is under way here: each change of a task has to be looked at.
    pub unsettled: bool,
    /// Nothing holds the place, so the service may want it filled or given up.
    pub vacant: bool,
    /// The one task here is not of the service's spec, and nobody has said that it should stay so.
    pub stale: bool,
    /// A replacement, and whether it is for one that did nothing wrong.
    pub created: Option<(skep_proto::ids::TaskId, bool)>,
}

impl<'a> Slot<'a> {
    /// The place as the tables have it.
    pub(super) fn read(
        tables: &'a Tables,
        service: &'a Service,
        at: PlaceOf,
        now: Timestamp,
    ) -> Slot<'a> {
        let (tasks, outdated) = of_this_run(service, tasks_at(tables, at));
        Slot { tables, service, at, tasks, outdated, now }
    }

    /// Tasks that are to run, the oldest first.
    pub(super) fn wanted(&self) -> Vec<&'a Arc<Task>> {
        self.tasks.iter().copied().filter(|task| is_wanted(task)).collect()
    }

    /// Tasks that hold the place: those that are to run, or one that is done and is not to be run again.
    pub(super) fn holders(&self) -> Vec<&'a Arc<Task>> {
        holders(self.service, &self.tasks)
    }

    /// Whether a new task belongs here: nothing holds the place.
    pub(super) fn is_vacant(&self) -> bool {
        self.holders().is_empty()
    }

    /// Whether the task is not of the service's present spec.
    pub(super) fn is_dirty(&self, task: &Task) -> bool {
        is_dirty(self.service, task, node_of(task, self.tables))
    }

    /// Looks after the place: replaces what failed or has lost its node, starts what has waited long enough, stops what was
    /// replaced, and on the nodes of a global service adds what is missing and stops what does not belong.
    pub(super) fn reconcile(&self, rng: &mut dyn RngCore) -> Decision {
        let mut decision = Decision::default();
        for task in self.outdated.iter().filter(|t| t.desired_state < TaskState::Remove as i32) {
            decision.desire(task, TaskState::Remove);
        }
        let standing = self.standing();
        match standing {
            Standing::Gone => {
                self.tasks.iter().filter_map(|t| id(t)).for_each(|id| {
                    decision.changes.push(Change::Delete(id));
                });
                return decision;
            }
            Standing::Outsider => {
                let unfinished = |task: &&&Arc<Task>| is_wanted(task) && !is_completed(task);
                for task in self.tasks.iter().filter(unfinished) {
                    decision.desire(task, TaskState::Shutdown);
                }
                return decision;
            }
            Standing::Member | Standing::Spectator => {}
        }
        let wanted = self.wanted();
        let (failed, healthy): (Vec<_>, Vec<_>) =
            wanted.iter().copied().partition(|task| self.is_failed(task));
        let kept = self.thin_out(&healthy, &mut decision);
        let replaced = self.replace_failed(&failed, &kept, standing, rng, &mut decision);
        for task in &kept {
            self.start_when_due(task, &mut decision);
        }
        if self.is_global() && !replaced && standing == Standing::Member && self.is_vacant() {
            self.create(TaskState::Running, rng, &mut decision);
        }
        decision.unsettled |= kept.len() + usize::from(replaced) > 1;
        decision.vacant = !self.is_global() && self.is_vacant();
        decision.stale = decision.changes.is_empty()
            && !is_job(self.service)
            && !is_paused(self.service)
            && standing == Standing::Member
            && matches!(&kept[..], [one] if self.is_dirty(one));
        decision
    }

    /// Moves the place to the service's spec: with the task of it that is there already, or with a new one. Returns the task
    /// that is to come up; none if there is nothing to move.
    pub(super) fn replace(
        &self,
        start_first: bool,
        rng: &mut dyn RngCore,
    ) -> (Decision, Option<Arc<Task>>) {
        let mut decision = Decision { unsettled: true, ..Decision::default() };
        let holders = self.holders();
        let newest_clean = || holders.iter().rev().find(|t| is_wanted(t) && !self.is_dirty(t));
        if holders.is_empty() || self.standing() != Standing::Member {
            return (Decision::default(), None);
        }
        if let Some(clean) = newest_clean() {
            if !start_first || state(clean) == TaskState::Running as i32 {
                for task in holders.iter().filter(|t| is_wanted(t) && t.id != clean.id) {
                    decision.desire(task, TaskState::Shutdown);
                }
            }
            return (decision, Some(Arc::clone(clean)));
        }
        if start_first {
            let task = self.create(TaskState::Running, rng, &mut decision);
            return (decision, Some(task));
        }
        let wanted = self.wanted();
        for task in &wanted {
            decision.desire(task, TaskState::Shutdown);
        }
        // Nothing to wait for where the old one does not run.
        let running = |task: &&Arc<Task>| {
            state(task) >= TaskState::Assigned as i32 && !has_ended(task) && !self.is_lost(task)
        };
        let desired = match self.tasks.iter().any(running) {
            true => TaskState::Ready,
            false => TaskState::Running,
        };
        let task = self.create(desired, rng, &mut decision);
        (decision, Some(task))
    }

    /// Keeps one of several tasks where that one is of the service's spec and runs; the others have been replaced by it.
    fn thin_out(&self, healthy: &[&'a Arc<Task>], decision: &mut Decision) -> Vec<&'a Arc<Task>> {
        if healthy.len() < 2 {
            return healthy.to_vec();
        }
        let runs = |task: &Task| state(task) == TaskState::Running as i32;
        let keeper = healthy.iter().rev().find(|task| runs(task) && !self.is_dirty(task));
        let Some(keeper) = keeper else { return healthy.to_vec() };
        for task in healthy.iter().filter(|task| task.id != keeper.id) {
            decision.desire(task, TaskState::Shutdown);
        }
        vec![*keeper]
    }

    /// Ends the tasks that failed; says whether one of them got a replacement.
    fn replace_failed(
        &self,
        failed: &[&'a Arc<Task>],
        healthy: &[&'a Arc<Task>],
        standing: Standing,
        rng: &mut dyn RngCore,
        decision: &mut Decision,
    ) -> bool {
        let Some((newest, others)) = failed.split_last() else { return false };
        for task in others {
            decision.desire(task, TaskState::Shutdown);
        }
        let now = Moment::from(self.now);
        // It has not had its turn: the one after it must not have its own any sooner.
        if newest.desired_state == TaskState::Ready as i32
            && let Start::At(due) = start(newest, &self.others(newest), self.tables, now)
        {
            decision.again(due);
            decision.unsettled = true;
            return true;
        }
        decision.desire(newest, TaskState::Shutdown);
        // Another one is there for it, unless that is of the spec which it was to replace.
        let covered = healthy.iter().any(|other| self.is_dirty(newest) || !self.is_dirty(other));
        let paused = self.is_global() && standing == Standing::Spectator && !is_job(self.service);
        if covered || paused || !may_restart(newest, &self.tasks) {
            return false;
        }
        let mut task = self.new_task(rng);
        task.desired_state = TaskState::Ready.into();
        let mut stopped = Task::clone(newest);
        stopped.desired_state = TaskState::Shutdown.into();
        let mut before = self.others(newest);
        let stopped = Arc::new(stopped);
        before.push(&stopped);
        with_created(&mut task, self.now);
        match start(&task, &before, self.tables, now) {
            Start::Now => task.desired_state = goal(self.service).into(),
            Start::At(at) | Start::AfterStop(at) => {
                decision.again(at);
                decision.unsettled = true;
            }
        }
        task.meta = None;
        decision.created = id(&task).map(|id| (id, !has_ended(newest)));
        decision.changes.push(Change::Create(Box::new(task)));
        true
    }

    /// Tells a task that is to be READY to run, once it may.
    fn start_when_due(&self, task: &Arc<Task>, decision: &mut Decision) {
        if task.desired_state != TaskState::Ready as i32 {
            return;
        }
        match start(task, &self.others(task), self.tables, self.now.into()) {
            Start::Now => decision.desire(task, goal(self.service)),
            Start::At(at) | Start::AfterStop(at) => {
                decision.again(at);
                decision.unsettled = true;
            }
        }
    }

    fn create(
        &self,
        desired: TaskState,
        rng: &mut dyn RngCore,
        decision: &mut Decision,
    ) -> Arc<Task> {
        let mut task = self.new_task(rng);
        if !is_job(self.service) {
            task.desired_state = desired.into();
        }
        decision.changes.push(Change::Create(Box::new(task.clone())));
        Arc::new(task)
    }

    /// A new task for the place.
    pub(super) fn new_task(&self, rng: &mut dyn RngCore) -> Task {
        let cluster = self.tables.all::<Cluster>().next().map(|cluster| &**cluster);
        new_task(cluster, self.service, self.at.place, self.now, rng)
    }

    /// What the place's node is to the service; slots always belong.
    fn standing(&self) -> Standing {
        let Place::Node(node) = self.at.place else { return Standing::Member };
        let node = self.tables.get::<skep_proto::swarmkit::Node>(&node).map(|node| &**node);
        match is_job(self.service) {
            true => job_standing(self.service, node),
            false => standing(self.service, node),
        }
    }

    fn is_global(&self) -> bool {
        matches!(self.at.place, Place::Node(_))
    }

    /// Whether the task needs a replacement: it failed, or the node that it runs on keeps no tasks.
    fn is_failed(&self, task: &Task) -> bool {
        let displaced = || !task.node_id.is_empty() && is_unfit(node_of(task, self.tables));
        has_failed(task) || (!is_completed(task) && displaced())
    }

    fn is_lost(&self, task: &Task) -> bool {
        super::nodes::is_lost(node_of(task, self.tables))
    }

    /// The other tasks of the place. Whatever the clocks of those who made them said: the one that waits comes after them.
    fn others(&self, task: &Task) -> Vec<&'a Arc<Task>> {
        self.tasks.iter().copied().filter(|other| other.id != task.id).collect()
    }
}

impl Decision {
    pub(super) fn desire(&mut self, task: &Task, state: TaskState) {
        self.changes.extend(id(task).map(|id| Change::Desire(id, state)));
    }

    fn again(&mut self, at: Moment) {
        self.look_again = Some(self.look_again.map_or(at, |other| other.min(at)));
    }
}

/// Tasks that hold a place: those that are to run. Where there is none, the newest, if policy keeps it from being replaced: a
/// task that has done what it should keeps its place. While a service is rolled back that does not hold.
pub(super) fn holders<'a>(service: &Service, tasks: &[&'a Arc<Task>]) -> Vec<&'a Arc<Task>> {
    let wanted: Vec<_> = tasks.iter().copied().filter(|task| is_wanted(task)).collect();
    let rolling_back = service
        .update_status
        .as_ref()
        .is_some_and(|status| status.state() == UpdateState::RollbackStarted);
    if !wanted.is_empty() || rolling_back {
        return wanted;
    }
    let left = |task: &&&Arc<Task>| task.desired_state < TaskState::Remove as i32;
    match tasks.iter().rev().find(left) {
        Some(newest) if !may_restart(newest, tasks) => vec![newest],
        _ => Vec::new(),
    }
}

/// Splits tasks into those of the job's present run and the rest; all are present where the service is no job.
pub(super) fn of_this_run<'a>(
    service: &Service,
    tasks: Vec<&'a Arc<Task>>,
) -> (Vec<&'a Arc<Task>>, Vec<&'a Arc<Task>>) {
    if !is_job(service) {
        return (tasks, Vec::new());
    }
    let run = service.job_status.as_ref().and_then(|status| status.job_iteration);
    tasks.into_iter().partition(|task| task.job_iteration == run)
}

/// What a task of the service is told to become.
fn goal(service: &Service) -> TaskState {
    if is_job(service) { TaskState::Complete } else { TaskState::Running }
}

fn is_completed(task: &Task) -> bool {
    is_of_job(task) && state(task) == TaskState::Complete as i32
}

/// As the transaction will set it.
fn with_created(task: &mut Task, now: Timestamp) {
    task.meta.get_or_insert_default().created_at = Some(now);
}

/// How many places the service is to have; none where its nodes say.
pub(super) fn replicas(service: &Service) -> Option<u64> {
    match service.spec.as_ref()?.mode.as_ref()? {
        Mode::Replicated(replicated) => Some(replicated.replicas),
        _ => None,
    }
}
