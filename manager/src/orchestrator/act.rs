//! The orchestrator's writes. Each part of a batch looks at the head of the store once more and does there what is right
//! now, whatever was true when it was queued.

use rand::RngCore;
use skep_proto::{
    ids::{ServiceId, TaskId},
    swarmkit::{Service, Task, TaskState, Version},
};
use skep_store::{StoreError, Tx};

use super::{
    change::{Change, make},
    moment::Moment,
    reaper::{is_full, is_useless, prune},
    slot::Slot,
    task::{PlaceOf, is_wanted, state},
    update::{Verdict, report},
};
use crate::allocator::Book;

/// Changes of one part of a place with a long history; the rest follows in the next part. Even large tasks then fit into a part.
const PART_CHANGES_MAX: usize = 50;

/// One thing to do; one part of a batch, done whole or not at all.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Part {
    /// Look after a place.
    Look(PlaceOf),
    /// Bring a place to its service's present spec.
    Replace { at: PlaceOf, start_first: bool },
    /// Put a task into a place.
    Fill(PlaceOf),
    /// Give a place up.
    Vacate(PlaceOf),
    /// Write down how an update fares.
    Report { service: ServiceId, version: Option<Version>, verdict: Verdict },
    /// Take away a task whose service, or whose run of a job, is no more.
    Retire(TaskId),
    /// Delete a task that nobody needs.
    Delete(TaskId),
    /// Delete the oldest tasks of a place, as far as there are too many.
    Prune(PlaceOf),
}

impl Part {
    /// The service that it is about, where the part says.
    pub(super) fn service(&self) -> Option<ServiceId> {
        match self {
            Part::Look(at) | Part::Fill(at) | Part::Vacate(at) | Part::Prune(at) => {
                Some(at.service)
            }
            Part::Replace { at, .. } => Some(at.service),
            Part::Report { service, .. } => Some(*service),
            Part::Retire(_) | Part::Delete(_) => None,
        }
    }
}

/// What came of a part.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Outcome {
    /// When to look at the place again at the latest.
    pub look_again: Option<Moment>,
    /// Something is under way at the place.
    pub unsettled: bool,
    /// Nothing holds the place.
    pub vacant: bool,
    /// The place is not on its service's spec.
    pub stale: bool,
    /// A task was put in the place of one that did nothing wrong.
    pub moved: Option<TaskId>,
    /// The task that is to come up at a place that is moved to a new spec, and since when it runs.
    pub begun: Option<(TaskId, Option<Moment>)>,
    /// The place got a task more.
    pub created: bool,
    /// With that it may have more tasks than are kept.
    pub grown: bool,
    /// The place has more tasks than are kept.
    pub overfull: bool,
    /// The part was too large to be done at once.
    pub more: bool,
}

/// Does one part.
pub(super) fn act(
    tx: &mut Tx,
    book: &Book,
    part: &Part,
    rng: &mut dyn RngCore,
) -> Result<Outcome, StoreError> {
    match part {
        Part::Look(at) => look(tx, book, *at, rng),
        Part::Replace { at, start_first } => replace(tx, book, *at, *start_first, rng),
        Part::Fill(at) => fill(tx, book, *at, rng),
        Part::Vacate(at) => vacate(tx, book, *at),
        Part::Report { service, version, verdict } => {
            report::write(tx, *service, *version, *verdict)?;
            Ok(Outcome::default())
        }
        Part::Retire(id) => retire(tx, book, *id),
        Part::Delete(id) => {
            if tx.get::<Task>(id).is_some_and(|task| is_useless(task)) {
                tx.remove::<Task>(id)?;
            }
            Ok(Outcome::default())
        }
        Part::Prune(at) => {
            let Some(service) = tx.get::<Service>(&at.service).cloned() else {
                return Ok(Outcome::default());
            };
            let mut pruning = prune(&Slot::read(tx, &service, *at, tx.now()));
            let more = pruning.changes.len() > PART_CHANGES_MAX;
            pruning.changes.truncate(PART_CHANGES_MAX);
            make(tx, book, pruning.changes)?;
            Ok(Outcome { overfull: pruning.unfinished, more, ..Outcome::default() })
        }
    }
}

fn look(
    tx: &mut Tx,
    book: &Book,
    at: PlaceOf,
    rng: &mut dyn RngCore,
) -> Result<Outcome, StoreError> {
    let Some(service) = tx.get::<Service>(&at.service).cloned() else {
        return Ok(Outcome::default());
    };
    let slot = Slot::read(tx, &service, at, tx.now());
    let decision = slot.reconcile(rng);
    let created = creates(&decision.changes);
    let outcome = Outcome {
        look_again: decision.look_again,
        unsettled: decision.unsettled,
        vacant: decision.vacant,
        stale: decision.stale,
        moved: decision.created.filter(|(_, innocent)| *innocent).map(|(id, _)| id),
        created,
        grown: created && is_full(&slot),
        ..Outcome::default()
    };
    make(tx, book, decision.changes)?;
    Ok(outcome)
}

fn replace(
    tx: &mut Tx,
    book: &Book,
    at: PlaceOf,
    start_first: bool,
    rng: &mut dyn RngCore,
) -> Result<Outcome, StoreError> {
    let Some(service) = tx.get::<Service>(&at.service).cloned() else {
        return Ok(Outcome::default());
    };
    let slot = Slot::read(tx, &service, at, tx.now());
    let (decision, task) = slot.replace(start_first, rng);
    let created = creates(&decision.changes);
    let outcome = Outcome {
        unsettled: decision.unsettled,
        begun: task.and_then(|task| {
            let status = task.status.as_ref();
            let running = status.filter(|status| status.state >= TaskState::Running as i32);
            Some((super::task::id(&task)?, running.map(Moment::of_status)))
        }),
        created,
        grown: created && is_full(&slot),
        ..Outcome::default()
    };
    make(tx, book, decision.changes)?;
    Ok(outcome)
}

fn fill(
    tx: &mut Tx,
    book: &Book,
    at: PlaceOf,
    rng: &mut dyn RngCore,
) -> Result<Outcome, StoreError> {
    let Some(service) = tx.get::<Service>(&at.service).cloned() else {
        return Ok(Outcome::default());
    };
    let slot = Slot::read(tx, &service, at, tx.now());
    if !slot.is_vacant() {
        return Ok(Outcome::default());
    }
    let (task, grown) = (slot.new_task(rng), is_full(&slot));
    make(tx, book, vec![Change::Create(Box::new(task))])?;
    Ok(Outcome { created: true, grown, ..Outcome::default() })
}

fn vacate(tx: &mut Tx, book: &Book, at: PlaceOf) -> Result<Outcome, StoreError> {
    let mut changes: Vec<Change> = super::task::tasks_at(tx, at)
        .into_iter()
        .filter(|task| task.desired_state < TaskState::Remove as i32)
        .filter_map(|task| Some(taken_away(task, super::task::id(task)?)))
        .collect();
    let more = changes.len() > PART_CHANGES_MAX;
    changes.truncate(PART_CHANGES_MAX);
    make(tx, book, changes)?;
    Ok(Outcome { more, ..Outcome::default() })
}

/// A task that no worker has yet is deleted at once.
fn taken_away(task: &Task, id: TaskId) -> Change {
    match state(task) < TaskState::Assigned as i32 {
        true => Change::Delete(id),
        false => Change::Desire(id, TaskState::Remove),
    }
}

fn retire(tx: &mut Tx, book: &Book, id: TaskId) -> Result<Outcome, StoreError> {
    let Some(task) = tx.get::<Task>(&id) else { return Ok(Outcome::default()) };
    let belongs = tx.get_text::<Service>(&task.service_id).is_some_and(|service| {
        let run = service.job_status.as_ref().and_then(|status| status.job_iteration);
        !super::task::is_job(service) || task.job_iteration == run
    });
    let change = taken_away(task, id);
    if !belongs && (is_wanted(task) || task.desired_state < TaskState::Remove as i32) {
        make(tx, book, vec![change])?;
    }
    Ok(Outcome::default())
}

fn creates(changes: &[Change]) -> bool {
    changes.iter().any(|change| matches!(change, Change::Create(_)))
}
