//! Which tasks do not belong on their node any more. Pure.

use skep_proto::{
    ids::{NodeId, TaskId},
    prost_types::Timestamp,
    swarmkit::{Node, Placement, Service, Task, TaskState},
};
use skep_store::{By, Tables};

use crate::placement::{Constraints, GenericPool, Reservation, is_active};

/// Whether the enforcer may touch the task: it is to run, and has not ended.
pub fn is_concerned(task: &Task) -> bool {
    let state = task.status.as_ref().map_or(0, |status| status.state);
    let desired = i32::from(TaskState::Assigned)..=i32::from(TaskState::Complete);
    desired.contains(&task.desired_state) && state < i32::from(TaskState::Complete)
}

/// Whether anything of the node differs that a rule here reads.
pub fn reads_differently(old: &Node, new: &Node) -> bool {
    let addr = |node: &Node| node.status.as_ref().map(|status| status.addr.clone());
    old.spec != new.spec
        || old.description != new.description
        || old.role != new.role
        || addr(old) != addr(new)
}

/// The tasks on the node that it does not meet the constraints of, or has no room for once those that were there first
/// have what they reserve.
pub fn misplaced(tables: &Tables, node: &Node) -> Vec<TaskId> {
    let Ok(id) = node.id.parse::<NodeId>() else { return Vec::new() };
    if !is_active(node) {
        return Vec::new();
    }
    let mut tasks: Vec<_> =
        tables.find::<Task>(By::Node(id)).filter(|task| is_concerned(task)).collect();
    tasks.sort_by_key(|task| created_at(task));
    let mut room = Room::of(node);
    let rejected = tasks.into_iter().filter(|task| {
        !meets_constraints(tables, task, node) || !room.as_mut().is_none_or(|room| room.take(task))
    });
    rejected.filter_map(|task| task.id.parse().ok()).collect()
}

fn created_at(task: &Task) -> (i64, i32) {
    let created: Option<Timestamp> = task.meta.as_ref().and_then(|meta| meta.created_at);
    created.map_or((0, 0), |at| (at.seconds, at.nanos))
}

/// The service's constraints as they are now count: an update that changes nothing else leaves tasks with the old ones in
/// their spec where they are, if their node meets the new ones.
fn meets_constraints(tables: &Tables, task: &Task, node: &Node) -> bool {
    let service = tables.get_text::<Service>(&task.service_id);
    let spec = match service {
        Some(service) => service.spec.as_ref().and_then(|spec| spec.task.as_ref()),
        None => task.spec.as_ref(),
    };
    let placement: Option<&Placement> = spec.and_then(|spec| spec.placement.as_ref());
    // Constraints that do not parse are let be: a running task is not stopped for what nobody can read.
    placement.is_none_or(|placement| {
        Constraints::parse(&placement.constraints).map_or(true, |all| all.matches(node))
    })
}

/// What the tasks looked at so far have left of a node.
struct Room {
    nano_cpus: i64,
    memory_bytes: i64,
    generic: GenericPool,
}

impl Room {
    /// Of a node that says what it has. One that says nothing is not held to it.
    fn of(node: &Node) -> Option<Room> {
        let all = node.description.as_ref()?.resources.as_ref()?;
        Some(Room {
            nano_cpus: all.nano_cpus,
            memory_bytes: all.memory_bytes,
            generic: GenericPool::of(&all.generic),
        })
    }

    /// Takes what the task reserves; if it is not there, takes nothing and says so. A task that the scheduler has not
    /// confirmed yet holds nothing.
    fn take(&mut self, task: &Task) -> bool {
        let state = task.status.as_ref().map_or(0, |status| status.state);
        if state < i32::from(TaskState::Assigned) {
            return true;
        }
        let reserved = Reservation::of(task.spec.as_deref());
        let enough = (reserved.nano_cpus == 0 || reserved.nano_cpus <= self.nano_cpus)
            && (reserved.memory_bytes == 0 || reserved.memory_bytes <= self.memory_bytes);
        if !enough {
            return false;
        }
        let mut generic = self.generic.clone();
        if !generic.take(&task.assigned_generic_resources) {
            return false;
        }
        self.generic = generic;
        self.nano_cpus = self.nano_cpus.saturating_sub(reserved.nano_cpus);
        self.memory_bytes = self.memory_bytes.saturating_sub(reserved.memory_bytes);
        true
    }
}
