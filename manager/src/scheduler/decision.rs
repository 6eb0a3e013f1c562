//! What the scheduler decides, and how that is written.

use std::sync::Arc;

use skep_proto::{
    ids::{NodeId, TaskId},
    swarmkit::{GenericResource, Node, Task, TaskState, TaskStatus},
};
use skep_store::{Object, StoreError, Tx};

use crate::placement::node_accepts_tasks;

/// SwarmKit's words for a task that the scheduler found a node for.
pub const ASSIGNED: &str = "scheduler assigned task to node";
/// SwarmKit's words for a task that came with its node.
pub const CONFIRMED: &str = "scheduler confirmed task can run on preassigned node";
/// Ours for a task that is not wanted any more before it had a node.
pub const STOPPED: &str = "task was stopped before it was assigned to a node";

/// One change of one task.
#[derive(Clone, Debug, PartialEq)]
pub enum Decision {
    /// It goes to the node.
    Assign {
        /// The task.
        task: TaskId,
        /// Its node.
        node: NodeId,
        /// The version of the node object that this was decided on.
        node_version: u64,
        /// The generic resources that it gets.
        claimed: Vec<GenericResource>,
        /// The node was given, not chosen.
        preassigned: bool,
    },
    /// It goes on waiting, for this reason.
    Wait {
        /// The task.
        task: TaskId,
        /// Becomes its status' error.
        text: Arc<str>,
    },
    /// It is not to run any more and never ran.
    Stop {
        /// The task.
        task: TaskId,
    },
}

/// Why a decision was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The task or the node is not as it was when this was decided.
    #[error("task {0} or its node has changed meanwhile")]
    Stale(TaskId),
    /// The store's own refusal.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Decision {
    /// The task that it is about.
    pub fn task(&self) -> TaskId {
        match self {
            Decision::Assign { task, .. }
            | Decision::Wait { task, .. }
            | Decision::Stop { task } => *task,
        }
    }

    /// Writes it, if it still holds.
    pub fn write(&self, tx: &mut Tx) -> Result<(), WriteError> {
        let id = self.task();
        let stale = || WriteError::Stale(id);
        let task = tx.get::<Task>(&id).filter(|task| is_pending(task)).ok_or_else(stale)?;
        let timestamp = Some(tx.now());
        match self {
            Decision::Assign { node, node_version, claimed, preassigned, .. } => {
                let given = task.node_id == node.as_str();
                if !is_wanted(task) || given != *preassigned || (!given && !task.node_id.is_empty())
                {
                    return Err(stale());
                }
                let unchanged = tx.get::<Node>(node).is_some_and(|node| {
                    version_of(node) == *node_version && node_accepts_tasks(node)
                });
                if !unchanged {
                    return Err(stale());
                }
                let message = if *preassigned { CONFIRMED } else { ASSIGNED };
                tx.modify::<Task>(&id, |task| {
                    node.as_str().clone_into(&mut task.node_id);
                    task.assigned_generic_resources.clone_from(claimed);
                    task.status = Some(TaskStatus {
                        state: TaskState::Assigned.into(),
                        timestamp,
                        message: message.to_owned(),
                        ..Default::default()
                    });
                })?;
            }
            Decision::Wait { text, .. } => {
                let told = task.status.as_ref().map_or("", |status| &status.err);
                if is_wanted(task) && told != &**text {
                    tx.modify::<Task>(&id, |task| {
                        let status = task.status.get_or_insert_default();
                        status.timestamp = timestamp;
                        text.as_ref().clone_into(&mut status.err);
                    })?;
                }
            }
            Decision::Stop { .. } => {
                if is_wanted(task) {
                    return Err(stale());
                }
                tx.modify::<Task>(&id, |task| {
                    task.status = Some(TaskStatus {
                        state: TaskState::Shutdown.into(),
                        timestamp,
                        message: STOPPED.to_owned(),
                        ..Default::default()
                    });
                })?;
            }
        }
        Ok(())
    }
}

/// The version of a stored node object.
pub fn version_of(node: &Node) -> u64 {
    node.meta().and_then(|meta| meta.version).map_or(0, |version| version.index)
}

/// The state that the task was last seen in.
pub fn state_of(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}

fn is_pending(task: &Task) -> bool {
    state_of(task) == i32::from(TaskState::Pending)
}

/// Whether the task is to run, now or later.
pub fn is_wanted(task: &Task) -> bool {
    task.desired_state <= i32::from(TaskState::Complete)
}
