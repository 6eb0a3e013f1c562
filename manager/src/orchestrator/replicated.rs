//! How many places a replicated service has, and which: the lowest free numbers are filled, and the places that go are taken
//! from the nodes that have the most of the service.

use std::{cmp::Reverse, collections::HashMap, sync::Arc};

use skep_proto::swarmkit::{Service, Task, TaskState};

use super::{
    slot::holders,
    task::{Place, state},
};

/// What is to become of a service's places.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Scale {
    /// Places that get a task.
    pub fill: Vec<Place>,
    /// Places that are given up, with every task in them.
    pub vacate: Vec<Place>,
    /// Places that stay.
    pub keep: Vec<Place>,
}

/// A place with every task of it, the oldest first.
pub(super) type Occupied<'a> = (u64, Vec<&'a Arc<Task>>);

/// Brings the number of places to `replicas`.
pub(super) fn scale(service: &Service, replicas: u64, places: &[Occupied<'_>]) -> Scale {
    let (mut held, mut dead) = (Vec::new(), Vec::new());
    for (slot, tasks) in places {
        let holders = holders(service, tasks);
        if holders.is_empty() {
            dead.push((*slot, tasks));
        } else {
            held.push((*slot, holders));
        }
    }
    let missing = usize::try_from(replicas).unwrap_or(usize::MAX).saturating_sub(held.len());
    let taken: Vec<u64> = held.iter().map(|(slot, _)| *slot).collect();
    let fill = lowest_free(&taken, missing);
    let leave = |tasks: &[&Arc<Task>]| {
        tasks.iter().any(|task| task.desired_state < TaskState::Remove as i32)
    };
    let filled = |slot: &u64| fill.binary_search(slot).is_ok();
    let mut vacate: Vec<u64> = dead
        .iter()
        .filter(|(slot, tasks)| !filled(slot) && leave(tasks))
        .map(|(slot, _)| *slot)
        .collect();
    let mut keep = taken;
    if missing == 0 && (held.len() as u64) > replicas {
        keep = in_order_of_worth(held);
        let kept = usize::try_from(replicas).unwrap_or(usize::MAX);
        vacate.extend(keep.split_off(kept.min(keep.len())));
    }
    let places = |slots: Vec<u64>| slots.into_iter().map(Place::Slot).collect();
    Scale { fill: places(fill), vacate: places(vacate), keep: places(keep) }
}

/// The lowest numbers from 1 that are not taken, in order. `taken` is in order.
fn lowest_free(taken: &[u64], count: usize) -> Vec<u64> {
    let mut taken = taken.iter().copied().peekable();
    let free = (1..=u64::MAX).filter(|slot| {
        while taken.next_if(|&t| t < *slot).is_some() {}
        taken.peek() != Some(slot)
    });
    free.take(count).collect()
}

/// The places to keep first, first: on each node the first one comes before any second one, and so on; running ones come
/// before others, and low numbers before high ones. What is not settled on one node comes last.
fn in_order_of_worth(mut held: Vec<(u64, Vec<&Arc<Task>>)>) -> Vec<u64> {
    let runs =
        |tasks: &[&Arc<Task>]| tasks.iter().any(|task| state(task) == TaskState::Running as i32);
    held.sort_by_key(|(slot, tasks)| (Reverse(runs(tasks)), *slot));
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    let mut ranked: Vec<(usize, u64)> = Vec::with_capacity(held.len());
    for (slot, tasks) in &held {
        let rank = match tasks[..] {
            [one] if !one.node_id.is_empty() => {
                let nth = on_node.entry(&one.node_id).or_default();
                *nth += 1;
                *nth
            }
            _ => usize::MAX,
        };
        ranked.push((rank, *slot));
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, slot)| slot).collect()
}
