//! Tasks: the largest table, and the one that changes all the time.

use std::borrow::Cow;

use skep_proto::{
    ids::{Id, ServiceId},
    swarmkit::{Task, TaskSpec},
};

use super::{
    named::CustomIndex,
    object,
    references::{self, configs, keys, runtime_key, secrets, targets},
};
use crate::{
    By,
    index::{Ids, Index},
    key::Key,
    object::sealed::IndexSet,
};

/// Indexes of tasks.
///
/// A task's name is made of its service's name, its slot (or node) and its id. Only the first part is a key, which neither
/// scheduling nor the task's states change; the rest is judged on the task itself.
#[derive(Clone, Default)]
pub struct TaskIndexes {
    /// By the task's own name, or its service's.
    name: Index<Key>,
    runtime: Index<Key>,
    /// By service and slot; serves the question for a service too.
    slot: Index<(Key, u64)>,
    node: Index<Key>,
    desired_state: Index<i32>,
    state: Index<i32>,
    network: Index<Key>,
    secret: Index<Key>,
    config: Index<Key>,
    volume: Index<Key>,
    custom: CustomIndex,
}

fn spec(task: &Task) -> Option<&TaskSpec> {
    task.spec.as_ref()
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |s| s.state)
}

fn networks(task: &Task) -> impl Iterator<Item = &str> {
    targets(spec(task).map_or(&[], |s| &s.networks))
}

fn volumes(task: &Task) -> impl Iterator<Item = &str> {
    task.volumes.iter().map(|v| v.id.as_str())
}

fn own_name(task: &Task) -> Option<&str> {
    task.annotations.as_ref().map(|a| a.name.as_str()).filter(|name| !name.is_empty())
}

fn service_name(task: &Task) -> &str {
    task.service_annotations.as_ref().map_or("", |a| &a.name)
}

/// The task's own name, or `service.slot.id`, with the node in place of the slot where there is no slot.
fn name(task: &Task) -> Option<Cow<'_, str>> {
    Some(match own_name(task) {
        Some(name) => Cow::Borrowed(name),
        None if task.slot == 0 => {
            Cow::Owned(format!("{}.{}.{}", service_name(task), task.node_id, task.id))
        }
        None => Cow::Owned(format!("{}.{}.{}", service_name(task), task.slot, task.id)),
    })
}

impl TaskIndexes {
    fn of_service(&self, id: ServiceId) -> impl Iterator<Item = Id> + '_ {
        let key = Key::id(id.0);
        self.slot.between((key, 0), (key, u64::MAX))
    }

    /// Tasks of every service whose name a prefix of this text could be, up to one of its dots.
    fn up_to_a_dot(&self, text: &str) -> impl Iterator<Item = Id> + '_ {
        let services: Vec<Key> =
            text.match_indices('.').map(|(at, _)| Key::exact(&text[..at])).collect();
        services.into_iter().flat_map(|key| self.name.with(key))
    }
}

impl IndexSet<Task> for TaskIndexes {
    fn replace(&mut self, id: Id, old: Option<&Task>, new: Option<&Task>) {
        // The states come first: they change the most.
        self.state.follow(id, old, new, |t| Some(state(t)));
        self.desired_state.follow(id, old, new, |t| Some(t.desired_state));
        self.node.follow(id, old, new, |t| Some(Key::exact(&t.node_id)));
        self.slot.follow(id, old, new, |t| Some((Key::exact(&t.service_id), t.slot)));
        self.name
            .follow(id, old, new, |t| Some(Key::lower(own_name(t).unwrap_or(service_name(t)))));
        self.runtime.follow(id, old, new, |t| runtime_key(spec(t)));
        self.network.follow_many(id, old, new, |t| keys(networks(t)));
        self.secret.follow_many(id, old, new, |t| keys(secrets(spec(t))));
        self.config.follow_many(id, old, new, |t| keys(configs(spec(t))));
        self.volume.follow_many(id, old, new, |t| keys(volumes(t)));
        self.custom.replace(id, old, new);
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        Some(match by {
            By::Name(name) => {
                let name = name.to_lowercase();
                Box::new(self.name.with(Key::exact(&name)).chain(self.up_to_a_dot(&name)))
            }
            By::NamePrefix(prefix) => {
                let prefix = prefix.to_lowercase();
                let mut ids: Vec<Id> =
                    self.name.with_prefix(&prefix).chain(self.up_to_a_dot(&prefix)).collect();
                ids.sort_unstable();
                ids.dedup();
                Box::new(ids.into_iter())
            }
            By::Service(id) => Box::new(self.of_service(*id)),
            By::Slot(id, slot) => Box::new(self.slot.with((Key::id(id.0), *slot))),
            By::Node(id) => Box::new(self.node.with(Key::id(id.0))),
            By::DesiredState(state) => Box::new(self.desired_state.with(*state as i32)),
            By::TaskState(state) => Box::new(self.state.with(*state as i32)),
            By::Runtime(runtime) => Box::new(self.runtime.with(Key::exact(runtime))),
            By::ReferencedNetwork(id) => Box::new(self.network.with(Key::id(id.0))),
            By::ReferencedSecret(id) => Box::new(self.secret.with(Key::id(id.0))),
            By::ReferencedConfig(id) => Box::new(self.config.with(Key::id(id.0))),
            By::VolumeAttachment(id) => Box::new(self.volume.with(Key::id(id.0))),
            _ => return self.custom.candidates(by),
        })
    }
}

object!(
    Task, task, TaskId, 4, unique_name: false, indexes: TaskIndexes,
    annotations: |t| t.annotations.as_ref(), name: name,
    own: {
        fn matches_own(&self, by: &By) -> bool {
            match by {
                By::Service(id) => self.service_id == id.as_str(),
                By::Slot(id, slot) => self.service_id == id.as_str() && self.slot == *slot,
                By::Node(id) => self.node_id == id.as_str(),
                By::DesiredState(wanted) => self.desired_state == *wanted as i32,
                By::TaskState(wanted) => state(self) == *wanted as i32,
                By::VolumeAttachment(id) => volumes(self).any(|v| v == id.as_str()),
                _ => references::matches(spec(self), networks(self), by),
            }
        }
    }
);
