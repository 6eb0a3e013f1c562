//! What would become of a service's tasks if its spec were another one: the same rules that the orchestrator follows, asked
//! without doing anything.

use std::{collections::BTreeMap, sync::Arc};

use skep_proto::{
    ids::ServiceId,
    swarmkit::{Node, Service, Task, service_spec::Mode},
};
use skep_store::{By, Tables};

use super::{
    dirty::is_dirty,
    nodes::{Standing, job_standing, standing},
    replicated::{Occupied, scale},
    restart::node_of,
    slot::of_this_run,
    task::{Place, has_ended, is_wanted, place, sort_by_age},
};

/// What would become of one place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Its task goes on.
    Keep,
    /// It gets its first task.
    Create,
    /// Its task is replaced by one of the new spec.
    Replace,
    /// Its task is stopped.
    Stop,
}

/// One place of a service, and what would become of it.
#[derive(Clone, Debug)]
pub(crate) struct Foreseen {
    /// What would happen.
    pub fate: Fate,
    /// The place.
    pub place: Place,
    /// The task that is there now.
    pub task: Option<Arc<Task>>,
}

/// What would become of each place if `service` were stored as it is given, in the order of the places.
pub(crate) fn foresee(tables: &Tables, service: &Service) -> Vec<Foreseen> {
    let mut places = by_place(tables, service);
    let mut all = Vec::new();
    match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Replicated(mode)) => {
            replicated(tables, service, mode.replicas, &places, &mut all)
        }
        Some(Mode::ReplicatedJob(job)) => {
            stop_other_runs(service, &mut places, &mut all);
            let at_once = match job.max_concurrent {
                0 => job.total_completions,
                most => most.min(job.total_completions),
            };
            let taken = |slot: u64| places.contains_key(&Place::Slot(slot));
            let free = (0..job.total_completions).filter(|slot| !taken(*slot));
            let free = free.take(usize::try_from(at_once).unwrap_or(usize::MAX));
            all.extend(free.map(|slot| foreseen(Fate::Create, Place::Slot(slot), None)));
            all.extend(
                places
                    .iter()
                    .filter_map(|(at, tasks)| Some(foreseen(Fate::Keep, *at, Some(tasks.last()?)))),
            );
        }
        Some(Mode::Global(_)) => per_node(tables, service, standing, &places, &mut all),
        Some(Mode::GlobalJob(_)) => {
            stop_other_runs(service, &mut places, &mut all);
            per_node(tables, service, job_standing, &places, &mut all);
        }
        None => {}
    }
    all.sort_by_key(|foreseen| foreseen.place);
    all
}

fn foreseen(fate: Fate, place: Place, task: Option<&Arc<Task>>) -> Foreseen {
    Foreseen { fate, place, task: task.cloned() }
}

fn by_place<'a>(tables: &'a Tables, service: &Service) -> BTreeMap<Place, Vec<&'a Arc<Task>>> {
    let mut places: BTreeMap<Place, Vec<&Arc<Task>>> = BTreeMap::new();
    let Ok(id) = service.id.parse::<ServiceId>() else { return places };
    for task in tables.find::<Task>(By::Service(id)) {
        if let Some(at) = place(service, task) {
            places.entry(at).or_default().push(task);
        }
    }
    places.values_mut().for_each(|tasks| sort_by_age(tasks));
    places
}

/// The newest task of a place that is to run, and what becomes of it.
fn occupied(
    tables: &Tables,
    service: &Service,
    at: Place,
    tasks: &[&Arc<Task>],
) -> Option<Foreseen> {
    let task = tasks.iter().rev().find(|task| is_wanted(task))?;
    let fate = match is_dirty(service, task, node_of(task, tables)) {
        true => Fate::Replace,
        false => Fate::Keep,
    };
    Some(foreseen(fate, at, Some(task)))
}

fn replicated(
    tables: &Tables,
    service: &Service,
    replicas: u64,
    places: &BTreeMap<Place, Vec<&Arc<Task>>>,
    all: &mut Vec<Foreseen>,
) {
    let slots: Vec<Occupied<'_>> = places
        .iter()
        .filter_map(|(at, tasks)| match at {
            Place::Slot(slot) => Some((*slot, tasks.clone())),
            Place::Node(_) => None,
        })
        .collect();
    let scale = scale(service, replicas, &slots);
    let tasks_at = |at: &Place| places.get(at).map_or(&[][..], Vec::as_slice);
    all.extend(scale.fill.iter().map(|at| foreseen(Fate::Create, *at, None)));
    all.extend(scale.keep.iter().filter_map(|at| occupied(tables, service, *at, tasks_at(at))));
    all.extend(scale.vacate.iter().filter_map(|at| {
        let task = tasks_at(at).iter().rev().find(|task| is_wanted(task))?;
        Some(foreseen(Fate::Stop, *at, Some(task)))
    }));
}

fn per_node(
    tables: &Tables,
    service: &Service,
    standing: fn(&Service, Option<&Node>) -> Standing,
    places: &BTreeMap<Place, Vec<&Arc<Task>>>,
    all: &mut Vec<Foreseen>,
) {
    for node in tables.all::<Node>() {
        let Ok(at) = node.id.parse().map(Place::Node) else { continue };
        let present = places.get(&at).and_then(|tasks| occupied(tables, service, at, tasks));
        all.extend(match (standing(service, Some(node)), present) {
            (Standing::Member, None) => Some(foreseen(Fate::Create, at, None)),
            (Standing::Member | Standing::Spectator, present) => present,
            (Standing::Outsider | Standing::Gone, present) => {
                present.map(|present| Foreseen { fate: Fate::Stop, ..present })
            }
        });
    }
}

/// Each run of a job begins anew: what earlier runs left is stopped, and does not count.
fn stop_other_runs(
    service: &Service,
    places: &mut BTreeMap<Place, Vec<&Arc<Task>>>,
    all: &mut Vec<Foreseen>,
) {
    for (at, tasks) in places.iter_mut() {
        let (own, other) = of_this_run(service, std::mem::take(tasks));
        let running = other.into_iter().filter(|task| is_wanted(task) && !has_ended(task));
        all.extend(running.map(|task| foreseen(Fate::Stop, *at, Some(task))));
        *tasks = own;
    }
    places.retain(|_, tasks| !tasks.is_empty());
}
