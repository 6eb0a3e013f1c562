//! Who watches simulated nodes: measurements count, tests check.

use skep_proto::swarmkit::{TaskState, update_task_status_request::TaskStatusUpdate};

use super::{node::SimulatedNode, task::TaskInfo};
use crate::executor::Assignments;

/// Sees what simulated nodes are told and what they do. Calls come from many threads, for one node one at a time, and
/// must not block.
pub trait Witness: Send + Sync + 'static {
    /// A session has begun.
    fn registered(&self, node: &SimulatedNode, session_id: &str) {
        let _ = (node, session_id);
    }

    /// The managers say what to run; it is acted on after this call.
    fn assigned(&self, node: &SimulatedNode, assignments: &Assignments) {
        let _ = (node, assignments);
    }

    /// A task has entered a state. It may have passed through others since the last call.
    fn entered(&self, node: &SimulatedNode, task: &TaskInfo, state: TaskState) {
        let _ = (node, task, state);
    }

    /// A task that had not ended was taken away: it is stopped without a word.
    fn dropped(&self, node: &SimulatedNode, task: &TaskInfo, state: TaskState) {
        let _ = (node, task, state);
    }

    /// A task that had not ended is gone because its node has crashed.
    fn lost(&self, node: &SimulatedNode, task: &TaskInfo) {
        let _ = (node, task);
    }

    /// A manager has taken these statuses.
    fn acknowledged(&self, node: &SimulatedNode, updates: &[TaskStatusUpdate]) {
        let _ = (node, updates);
    }
}

/// Nobody watches.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nobody;

impl Witness for Nobody {}
