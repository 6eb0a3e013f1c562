//! Where the tasks of a service would go if it were created or updated: the orchestrator's rules say which tasks would be
//! made and stopped, the scheduler's where the new ones would go. Nothing is written.

use std::{collections::HashMap, time::SystemTime};

use rand::{SeedableRng as _, rngs::StdRng};
use skep_proto::{
    ids::{NodeId, TaskId},
    prost_types::Timestamp,
    skep::{PlacementExplanation, PlanResponse, PlannedAction, PlannedTask},
    swarmkit::{Node, Service, Task, TaskState, TaskStatus, update_config::UpdateOrder},
};
use skep_store::Tables;

use super::{
    decision::Decision,
    explain::explain_placement,
    needs::{GroupKey, Shape},
    state::State,
};
use crate::orchestrator::{
    Fate, foresee,
    task::{Place, new_task},
};

/// Tasks listed in one plan.
const TASKS_LISTED_MAX: usize = 1_000;
/// Passes in which the tasks of an update are replaced one after the other; more at a time where there are more.
const PASSES_MAX: usize = 200;
/// Decisions taken at a time.
const DECISIONS_MAX: usize = 10_000;

/// One task of the plan.
struct Step {
    fate: Fate,
    place: Place,
    /// The task that is there.
    old: Option<TaskId>,
    from: String,
    /// The one that would be made.
    new: Option<(TaskId, Task)>,
}

/// What would become of the tasks if `service` were stored as it is given.
pub fn plan(tables: &Tables, service: &Service, now: SystemTime) -> PlanResponse {
    let mut steps: Vec<Step> = steps(tables, service);
    let mut state = State::load(tables, now);
    // Others that wait are not to take what is looked for here.
    state.forget_waiting();
    for step in steps.iter().filter(|step| step.fate == Fate::Stop) {
        step.old.into_iter().for_each(|old| state.take_back(old));
    }
    let placed = place(&mut state, service, &steps, now);
    let waiting: Vec<&Task> = steps
        .iter()
        .filter_map(|step| step.new.as_ref())
        .filter(|(id, _)| !placed.contains_key(id))
        .map(|(_, task)| task)
        .collect();
    let count = |fate: Fate| steps.iter().filter(|step| step.fate == fate).count() as u64;
    let mut response = PlanResponse {
        created: count(Fate::Create),
        replaced: count(Fate::Replace),
        stopped: count(Fate::Stop),
        kept: count(Fate::Keep),
        waiting: waiting.len() as u64,
        placement: waiting.first().and_then(|task| explanation(&state, task)),
        notes: notes(service, &waiting),
        tasks: Vec::new(),
    };
    steps.truncate(TASKS_LISTED_MAX);
    response.tasks = steps.iter().map(|step| planned(tables, step, &placed)).collect();
    response
}

fn steps(tables: &Tables, service: &Service) -> Vec<Step> {
    // The ids are not shown: any will do.
    let mut rng = StdRng::seed_from_u64(0);
    let foreseen = foresee(tables, service).into_iter();
    let step = foreseen.map(|foreseen| {
        let makes = matches!(foreseen.fate, Fate::Create | Fate::Replace);
        let new = makes.then(|| {
            let mut task = new_task(None, service, foreseen.place, Timestamp::default(), &mut rng);
            task.status =
                Some(TaskStatus { state: TaskState::Pending.into(), ..Default::default() });
            Some((task.id.parse().ok()?, task))
        });
        let old = foreseen.task.as_ref();
        Step {
            fate: foreseen.fate,
            place: foreseen.place,
            old: old.and_then(|task| task.id.parse().ok()),
            from: old.map(|task| task.node_id.clone()).unwrap_or_default(),
            new: new.flatten(),
        }
    });
    step.collect()
}

/// Lets the scheduler place what is new: first what is added, then what is replaced, as many at a time as the update would.
fn place(
    state: &mut State,
    service: &Service,
    steps: &[Step],
    now: SystemTime,
) -> HashMap<TaskId, NodeId> {
    let mut placed = HashMap::new();
    let mut settle = |state: &mut State| loop {
        let decisions = state.decide(now, DECISIONS_MAX);
        if decisions.is_empty() {
            return;
        }
        for decision in decisions {
            if let Decision::Assign { task, node, .. } = decision {
                placed.insert(task, node);
            }
        }
    };
    let put = |state: &mut State, step: &Step| {
        if let Some((id, task)) = &step.new {
            state.put_task(*id, task, now);
        }
    };
    steps.iter().filter(|step| step.fate == Fate::Create).for_each(|step| put(state, step));
    settle(state);
    let replaced: Vec<&Step> = steps.iter().filter(|step| step.fate == Fate::Replace).collect();
    let update = service.spec.as_ref().and_then(|spec| spec.update.as_ref());
    let start_first = update.is_some_and(|u| u.order() == UpdateOrder::StartFirst);
    let at_once = match update.map_or(1, |update| update.parallelism) {
        0 => replaced.len(),
        some => usize::try_from(some).unwrap_or(usize::MAX),
    };
    let at_once = at_once.max(replaced.len().div_ceil(PASSES_MAX)).max(1);
    for some in replaced.chunks(at_once) {
        let stop = |state: &mut State| {
            some.iter().filter_map(|step| step.old).for_each(|old| state.take_back(old));
        };
        if !start_first {
            stop(state);
        }
        some.iter().for_each(|step| put(state, step));
        settle(state);
        if start_first {
            stop(state);
            settle(state);
        }
    }
    placed
}

fn explanation(state: &State, task: &Task) -> Option<PlacementExplanation> {
    let key = GroupKey::of(task, task.id.parse().ok()?);
    let only = task.node_id.parse().ok().and_then(|node| state.nodes().index_of(&node));
    Some(explain_placement(state, &Shape::of(task, key), only))
}

fn notes(service: &Service, waiting: &[&Task]) -> Vec<String> {
    let mut notes = Vec::new();
    if !waiting.is_empty() {
        notes.push(format!(
            "{} of the new tasks find no node as things are, and would wait for one",
            waiting.len()
        ));
    }
    let spec = service.spec.as_ref();
    let networks = spec.is_some_and(|spec| {
        !spec.networks.is_empty()
            || spec.task.as_ref().is_some_and(|task| !task.networks.is_empty())
    });
    if networks {
        notes.push(
            "addresses in the service's networks, and their drivers, are not looked at".to_owned(),
        );
    }
    notes
}

fn planned(tables: &Tables, step: &Step, placed: &HashMap<TaskId, NodeId>) -> PlannedTask {
    let hostname = |id: &str| {
        let node = tables.get_text::<Node>(id).and_then(|node| node.description.as_ref());
        node.map(|description| description.hostname.clone()).unwrap_or_default()
    };
    let to = match (step.fate, &step.new) {
        (Fate::Keep, _) => step.from.clone(),
        (_, Some((id, _))) => placed.get(id).map(ToString::to_string).unwrap_or_default(),
        _ => String::new(),
    };
    let action = match step.fate {
        Fate::Keep => PlannedAction::Keep,
        Fate::Create => PlannedAction::Create,
        Fate::Replace => PlannedAction::Replace,
        Fate::Stop => PlannedAction::Stop,
    };
    PlannedTask {
        action: action.into(),
        slot: match step.place {
            Place::Slot(slot) => slot,
            Place::Node(_) => 0,
        },
        task_id: step.old.map(|old| old.to_string()).unwrap_or_default(),
        from_hostname: hostname(&step.from),
        from_node_id: step.from.clone(),
        hostname: hostname(&to),
        node_id: to,
    }
}

#[cfg(test)]
mod tests;
