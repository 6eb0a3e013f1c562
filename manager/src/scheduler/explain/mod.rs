//! Why the tasks of a service are not running: a pure function from what is stored to an answer.
//!
//! Nothing that the running scheduler keeps is asked: the same rules are applied to the same objects, so any manager that
//! is up to date gives the same answer. It costs a look at every task, since what is free on the nodes follows from them.

pub(super) mod amount;
mod detail;
mod hint;
mod placement;
mod reason;
mod subject;
#[cfg(test)]
mod tests;

use std::{collections::HashMap, sync::Arc, time::SystemTime};

use skep_proto::{
    skep::{ExplainResponse, PlacementExplanation, TaskExplanation},
    swarmkit::{Node, Task, TaskState},
};
use skep_store::Tables;

pub use placement::explain_placement;
pub use subject::Subject;

use crate::networks;

use super::{
    decision::state_of,
    needs::{GroupKey, Shape},
    nodes::NodeIndex,
    state::State,
};

/// Tasks listed in one answer.
const TASKS_LISTED_MAX: usize = 200;

/// Explains.
pub fn explain(tables: &Tables, subject: &Subject, now: SystemTime) -> ExplainResponse {
    let service = subject.service(tables);
    let mut tasks = subject.tasks(tables);
    let total = tasks.len() as u64;
    tasks.sort_by_key(|task| (urgency(task), task.slot, task.id.clone()));
    tasks.truncate(TASKS_LISTED_MAX);
    let state = State::load(tables, now);
    let mut explained = Explained {
        tables,
        state: &state,
        placements: Vec::new(),
        seen: HashMap::new(),
        advice: HashMap::new(),
    };
    let tasks = tasks.into_iter().map(|task| explained.task(task)).collect();
    ExplainResponse {
        service_id: service.map(|s| s.id.clone()).unwrap_or_default(),
        service_name: service.map(|s| subject::name(s).to_owned()).unwrap_or_default(),
        notes: service.map(|service| subject::notes(tables, service)).unwrap_or_default(),
        tasks,
        tasks_total: total,
        placements: explained.placements,
    }
}

/// Those that look for a node first, then those that ended badly, those under way, and those that run or are done.
fn urgency(task: &Task) -> u8 {
    match state_of(task) {
        state if state <= TaskState::Pending as i32 => 0,
        state if [TaskState::Failed, TaskState::Rejected].map(|s| s as i32).contains(&state) => 1,
        state if state < TaskState::Running as i32 => 2,
        _ => 3,
    }
}

/// An answer in the making.
struct Explained<'a> {
    tables: &'a Tables,
    state: &'a State,
    placements: Vec<PlacementExplanation>,
    /// Where in `placements` tasks of a group with this node, or without one, are explained.
    seen: HashMap<(GroupKey, Option<NodeIndex>), u32>,
    /// What would help tasks that wait for addresses, by their networks: it costs a look at every task.
    advice: HashMap<Vec<String>, Vec<String>>,
}

impl Explained<'_> {
    fn task(&mut self, task: &Arc<Task>) -> TaskExplanation {
        let status = task.status.clone().unwrap_or_default();
        let node = self.tables.get_text::<Node>(&task.node_id);
        let description = node.and_then(|node| node.description.as_ref());
        let (reason, placement) = match self.placement(task) {
            Some(at) => (self.waiting(task, at), at),
            None => (self.elsewhere(task), 0),
        };
        TaskExplanation {
            task_id: task.id.clone(),
            slot: task.slot,
            node_id: task.node_id.clone(),
            hostname: description.map(|d| d.hostname.clone()).unwrap_or_default(),
            state: status.state,
            desired_state: task.desired_state,
            since: status.timestamp,
            reason: reason.text,
            hints: reason.hints,
            message: status.message,
            err: status.err,
            placement,
        }
    }

    /// Where the nodes' answers to this task stand, if it looks for a node.
    fn placement(&mut self, task: &Task) -> Option<u32> {
        let looks = state_of(task) == TaskState::Pending as i32 && super::decision::is_wanted(task);
        let id = task.id.parse().ok().filter(|_| looks)?;
        let only = match task.node_id.parse() {
            Ok(node) => Some(self.state.nodes().index_of(&node)?),
            Err(_) => None,
        };
        let key = GroupKey::of(task, id);
        let Explained { state, placements, seen, .. } = self;
        Some(*seen.entry((key, only)).or_insert_with(|| {
            placements.push(explain_placement(state, &Shape::of(task, key), only));
            u32::try_from(placements.len()).unwrap_or(u32::MAX)
        }))
    }

    /// Of a task that does not look for a node.
    fn elsewhere(&mut self, task: &Task) -> reason::Reason {
        let mut reason = reason::reason(self.tables, task);
        if state_of(task) == TaskState::New as i32 && super::decision::is_wanted(task) {
            let networks = task.spec.iter().flat_map(|spec| &spec.networks);
            let networks: Vec<String> = networks.map(|network| network.target.clone()).collect();
            let Explained { tables, advice, .. } = self;
            let told =
                advice.entry(networks).or_insert_with_key(|ids| networks::advice(tables, ids));
            reason.hints.splice(0..0, told.iter().cloned());
        }
        reason
    }

    fn waiting(&self, task: &Task, at: u32) -> reason::Reason {
        let Some(placement) = self.placements.get(at as usize - 1) else {
            return reason::Reason::default();
        };
        let text = match (placement.nodes_suitable, task.node_id.as_str()) {
            (0, "") => placement.summary.clone(),
            (0, _) => format!("its node does not take it ({})", placement.summary),
            (1, "") => "a node can take it: it is about to get it".to_owned(),
            (suitable, "") => format!("{suitable} nodes can take it: it is about to get one"),
            (_, _) => "its node can take it: it is about to start there".to_owned(),
        };
        reason::Reason { text, hints: placement.hints.clone() }
    }
}
