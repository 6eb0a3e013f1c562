//! Which tasks a selector means, and whether a message may come from the node that sent it. Pure.

use std::collections::BTreeSet;

use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    swarmkit::{LogContext, LogSelector, Node, Task, TaskState, node_status::State},
};
use skep_store::{By, Tables};
use tonic::Status;

use super::sources::Presence;

/// Services, nodes and tasks that one selector may name: far more than anybody types, and few enough to be looked up at
/// every change of a task.
pub const SELECTOR_IDS_MAX: usize = 1_000;

/// A selector with ids that can be ids.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// All tasks of these.
    pub services: BTreeSet<ServiceId>,
    /// All tasks on these.
    pub nodes: BTreeSet<NodeId>,
    /// Exactly these.
    pub tasks: BTreeSet<TaskId>,
}

/// Where the logs of a selection are.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// The nodes that have tasks of it.
    pub nodes: BTreeSet<NodeId>,
    /// Tasks that are wanted and have no node.
    pub unscheduled: BTreeSet<TaskId>,
}

impl Selection {
    /// Checks what a client asks for.
    pub fn of(selector: Option<&LogSelector>) -> Result<Selection, Status> {
        let Some(selector) = selector else {
            return Err(Status::invalid_argument("log selector must be provided"));
        };
        let LogSelector { service_ids, node_ids, task_ids } = selector;
        let count = service_ids.len() + node_ids.len() + task_ids.len();
        if count == 0 {
            return Err(Status::invalid_argument("log selector must not be empty"));
        }
        if count > SELECTOR_IDS_MAX {
            return Err(Status::invalid_argument(format!(
                "log selector names {count} services, nodes and tasks: ask for {SELECTOR_IDS_MAX} at most"
            )));
        }
        let invalid = |error: skep_proto::ids::InvalidId| {
            Status::invalid_argument(format!("log selector: {error}"))
        };
        Ok(Selection {
            services: service_ids
                .iter()
                .map(|id| id.parse())
                .collect::<Result<_, _>>()
                .map_err(invalid)?,
            nodes: node_ids
                .iter()
                .map(|id| id.parse())
                .collect::<Result<_, _>>()
                .map_err(invalid)?,
            tasks: task_ids
                .iter()
                .map(|id| id.parse())
                .collect::<Result<_, _>>()
                .map_err(invalid)?,
        })
    }

    /// Whether the task is meant.
    pub fn includes(&self, task: &Task) -> bool {
        let among =
            |ids: &BTreeSet<ServiceId>| task.service_id.parse().is_ok_and(|id| ids.contains(&id));
        among(&self.services)
            || task.id.parse().is_ok_and(|id| self.tasks.contains(&id))
            || task.node_id.parse().is_ok_and(|id| self.nodes.contains(&id))
    }

    /// Where its logs are now.
    pub fn found(&self, tables: &Tables) -> Found {
        let mut found = Found { nodes: self.nodes.clone(), unscheduled: BTreeSet::new() };
        let of_services = self.services.iter().flat_map(|id| tables.find::<Task>(By::Service(*id)));
        let by_id = self.tasks.iter().filter_map(|id| tables.get::<Task>(id));
        for task in of_services.chain(by_id) {
            if let Ok(node) = task.node_id.parse() {
                found.nodes.insert(node);
            } else if task.desired_state <= TaskState::Complete as i32
                && let Ok(id) = task.id.parse()
            {
                found.unscheduled.insert(id);
            }
        }
        found
    }

    /// A task on this node that is meant, one that should run if there is one; none if nothing of the node is missed.
    pub fn representative<'t>(&self, tables: &'t Tables, node: &NodeId) -> Option<&'t Task> {
        let meant = tables.find::<Task>(By::Node(*node)).filter(|task| self.includes(task));
        meant.map(|task| &**task).min_by_key(|task| (task.desired_state, task.id.as_str()))
    }

    /// Whether this node may publish a message of this context in answer to the selection: it must be about one of its own
    /// tasks, and that has to be meant. Of a task that is gone by now the node's word is taken, but what it says has to be
    /// meant all the same.
    pub fn admits(
        &self,
        tables: &Tables,
        caller: &NodeId,
        context: Option<&LogContext>,
    ) -> Result<(), Status> {
        let claimed = context.map(|context| context.node_id.as_str()).unwrap_or_default();
        let context = context.filter(|_| claimed == caller.as_str()).ok_or_else(|| {
            Status::permission_denied(format!(
                "invalid NodeID: expected={caller};received={claimed:.64}"
            ))
        })?;
        let meant = match tables.get_text::<Task>(&context.task_id) {
            Some(task)
                if task.node_id != caller.as_str() || task.service_id != context.service_id =>
            {
                return Err(Status::permission_denied(format!(
                    "cannot publish logs of task {}, which is not assigned to this node or not of service {:.64}",
                    task.id, context.service_id
                )));
            }
            Some(task) => self.includes(task),
            None => self.includes_claim(context),
        };
        match meant {
            true => Ok(()),
            false => Err(Status::permission_denied(format!(
                "cannot publish logs of task {:.64}, which nobody asked for",
                context.task_id
            ))),
        }
    }

    /// Whether a task is meant of which only the context is known.
    fn includes_claim(&self, context: &LogContext) -> bool {
        let LogContext { service_id, node_id, task_id } = context;
        service_id.parse().is_ok_and(|id| self.services.contains(&id))
            || task_id.parse().is_ok_and(|id| self.tasks.contains(&id))
            || node_id.parse().is_ok_and(|id| self.nodes.contains(&id))
    }
}

/// Whether a node can be expected to answer, when it does not listen now.
pub fn presence(tables: &Tables, node: &NodeId) -> Presence {
    let state = tables
        .get::<Node>(node)
        .map(|node| node.status.as_ref().map_or(State::Unknown, |s| s.state()));
    match state {
        None | Some(State::Down) => Presence::Gone,
        Some(State::Unknown | State::Ready | State::Disconnected) => Presence::Up,
    }
}
