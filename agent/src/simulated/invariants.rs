//! What must hold for the workers of a cluster whatever happens to its managers, checked as it happens.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use parking_lot::Mutex;
use skep_proto::{
    ids::TaskId,
    swarmkit::{Task, TaskState, assignment_change::AssignmentAction},
};

use super::{
    node::{SimulatedNode, task_of},
    task::TaskInfo,
    witness::Witness,
};
use crate::executor::Assignments;

/// More broken rules are not kept: the first ones tell.
const BROKEN_MAX: usize = 100;

/// A witness that checks, over all nodes of a fleet:
///
/// - a session id is given out once, so that no two nodes and no two registrations share a session;
/// - a task that runs is neither missing from a COMPLETE nor taken away before it has ended;
/// - neither what managers know of a task nor what they want of it goes back;
/// - a task is on one node, and a slot of a service has one task that runs at a time.
///
/// It also keeps who was told to stop, for tests that know whether there was a cause.
#[derive(Default)]
pub struct Invariants {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    sessions: HashMap<String, String>,
    tasks: HashMap<TaskId, Seen>,
    slots: HashMap<(String, u64), BTreeSet<TaskId>>,
    stops: Vec<Stop>,
    broken: Vec<String>,
}

/// What managers have said about a task.
struct Seen {
    node: String,
    state: TaskState,
    desired: TaskState,
}

/// A task that was told to stop before it had ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stop {
    /// The node that it was on.
    pub node_id: String,
    /// The task.
    pub task: TaskId,
    /// Its service.
    pub service_id: String,
    /// Its slot.
    pub slot: u64,
    /// The image that it was to run.
    pub image: String,
}

impl Invariants {
    /// What did not hold, in the order in which it was seen.
    pub fn broken(&self) -> Vec<String> {
        self.state.lock().broken.clone()
    }

    /// Takes who was told to stop since the last call.
    pub fn take_stops(&self) -> Vec<Stop> {
        std::mem::take(&mut self.state.lock().stops)
    }

    /// The ids of all sessions that there have been, by node.
    pub fn sessions(&self) -> BTreeMap<String, Vec<String>> {
        let mut by_node: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (session, node) in &self.state.lock().sessions {
            by_node.entry(node.clone()).or_default().push(session.clone());
        }
        by_node
    }
}

impl State {
    fn broken(&mut self, what: String) {
        if self.broken.len() < BROKEN_MAX {
            self.broken.push(what);
        }
    }

    fn told(&mut self, node: &SimulatedNode, id: TaskId, task: &Task) {
        let state = task.status.as_ref().map_or(TaskState::New, |status| status.state());
        let desired = task.desired_state();
        let now = Seen { node: node.id().to_owned(), state, desired };
        let Some(before) = self.tasks.insert(id, now) else {
            if desired >= TaskState::Shutdown && state <= TaskState::Running {
                self.stop(node, id, task);
            }
            return;
        };
        if before.node != node.id() {
            self.broken(format!("task {id} is on node {} and on {}", before.node, node.id()));
        }
        if state < before.state {
            self.broken(format!(
                "the state of task {id} went from {:?} to {state:?}",
                before.state
            ));
        }
        if desired < before.desired {
            let was = before.desired;
            self.broken(format!("the desired state of task {id} went from {was:?} to {desired:?}"));
        }
        let told_before = before.desired >= TaskState::Shutdown;
        if desired >= TaskState::Shutdown && !told_before && state <= TaskState::Running {
            self.stop(node, id, task);
        }
    }

    fn stop(&mut self, node: &SimulatedNode, id: TaskId, task: &Task) {
        let runtime = task.spec.as_ref().and_then(|spec| spec.runtime.as_ref());
        let image = match runtime {
            Some(skep_proto::swarmkit::task_spec::Runtime::Container(c)) => c.image.clone(),
            _ => String::new(),
        };
        self.stops.push(Stop {
            node_id: node.id().to_owned(),
            task: id,
            service_id: task.service_id.clone(),
            slot: task.slot,
            image,
        });
    }

    fn left_slot(&mut self, task: &TaskInfo) {
        let key = (task.service_id.clone(), task.slot);
        if let Some(running) = self.slots.get_mut(&key) {
            running.remove(&task.id);
            if running.is_empty() {
                self.slots.remove(&key);
            }
        }
    }
}

impl Witness for Invariants {
    fn registered(&self, node: &SimulatedNode, session_id: &str) {
        let mut state = self.state.lock();
        let other = state.sessions.insert(session_id.to_owned(), node.id().to_owned());
        if let Some(other) = other.filter(|other| other != node.id()) {
            state.broken(format!("nodes {other} and {} share session {session_id}", node.id()));
        }
    }

    fn assigned(&self, node: &SimulatedNode, assignments: &Assignments) {
        let (Assignments::Complete(changes) | Assignments::Incremental(changes)) = assignments;
        let mut state = self.state.lock();
        for change in changes.iter().filter(|c| c.action() == AssignmentAction::Update) {
            if let Some((id, task)) = task_of(change) {
                state.told(node, id, task);
            }
        }
    }

    fn entered(&self, _: &SimulatedNode, task: &TaskInfo, entered: TaskState) {
        let mut state = self.state.lock();
        if entered > TaskState::Running {
            state.left_slot(task);
        } else if entered == TaskState::Running && task.slot != 0 {
            let key = (task.service_id.clone(), task.slot);
            let running = state.slots.entry(key).or_default();
            running.insert(task.id);
            if running.len() > 1 {
                let (service, slot) = (&task.service_name, task.slot);
                let what = format!("slot {slot} of {service} runs more than once: {running:?}");
                state.broken(what);
            }
        }
    }

    fn lost(&self, _: &SimulatedNode, task: &TaskInfo) {
        self.state.lock().left_slot(task);
    }

    fn dropped(&self, node: &SimulatedNode, task: &TaskInfo, was: TaskState) {
        let mut state = self.state.lock();
        state.left_slot(task);
        let (id, node) = (task.id, node.id());
        state.broken(format!("task {id} was taken from node {node} while it was {was:?}"));
    }
}
