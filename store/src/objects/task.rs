//! Tasks: the largest table, and the one that changes all the time.

use std::borrow::Cow;

use prost::{DecodeError, Message};
use skep_proto::{
    ids::Id,
    shared::Shared,
    swarmkit::{Endpoint, NetworkAttachment, Service, Task, TaskSpec},
};

use super::{
    attachments,
    named::CustomIndex,
    object,
    references::{self, configs, keys, runtime_key, secrets, targets},
};
use crate::{
    By, Tables,
    fields::{Field, next_field},
    index::{Groups, Ids, Index, Keys},
    key::Key,
    object::sealed::IndexSet,
};

/// Numbers of the fields of a task that are large, and that many tasks have alike.
const SPEC: u32 = 3;
const NETWORKS: u32 = 11;
const ENDPOINT: u32 = 12;

/// Indexes of tasks.
///
/// What the tasks of a service have in common, such as its name and the secrets of its spec, is kept once for the service
/// ([`Groups`]), so that a task which is created or removed touches little, and one whose state changes no index at all. States have
/// no index: they are asked for by people and when a leader begins, and change all the time.
///
/// A task's name is made of its service's name, its slot (or node) and its id. Only the first part is a key; the rest is
/// judged on the task itself.
#[derive(Clone, Default)]
pub struct TaskIndexes {
    /// By service and slot; serves the question for a service too.
    slot: Index<(Key, u64)>,
    /// Of tasks that are on a node.
    node: Index<Key>,
    /// Services by the own name of a task, or the service's.
    name: Groups,
    runtime: Groups,
    network: Groups,
    secret: Groups,
    config: Groups,
    volume: Index<Key>,
    custom: CustomIndex,
}

fn spec(task: &Task) -> Option<&TaskSpec> {
    task.spec.as_deref()
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

/// What a task belongs to: its service, or nothing.
fn group(task: &Task) -> Key {
    Key::exact(&task.service_id)
}

/// Whether both certainly have the same keys in each of the [`Groups`].
fn is_grouped_alike(one: &Task, other: &Task) -> bool {
    let same_spec = match (&one.spec, &other.spec) {
        (Some(one), Some(other)) => Shared::is_same(one, other),
        (None, None) => true,
        _ => false,
    };
    same_spec
        && one.service_id == other.service_id
        && own_name(one) == own_name(other)
        && service_name(one) == service_name(other)
}

/// Each once.
fn distinct(groups: impl Iterator<Item = Key>) -> Vec<Key> {
    let mut groups: Vec<Key> = groups.collect();
    groups.sort_unstable();
    groups.dedup();
    groups
}

impl TaskIndexes {
    /// The tasks of these services.
    fn of(&self, groups: Vec<Key>) -> Ids<'_> {
        Box::new(groups.into_iter().flat_map(|key| self.slot.between((key, 0), (key, u64::MAX))))
    }

    /// Services whose name a prefix of this text could be, up to one of its dots.
    fn up_to_a_dot<'a>(&'a self, text: &'a str) -> impl Iterator<Item = Key> + 'a {
        let names = text.match_indices('.').map(|(at, _)| Key::exact(&text[..at]));
        names.flat_map(|key| self.name.with(key))
    }
}

impl IndexSet<Task> for TaskIndexes {
    fn replace(&mut self, id: Id, old: Option<&Task>, new: Option<&Task>) {
        let node = |t: &Task| (!t.node_id.is_empty()).then(|| Key::exact(&t.node_id));
        self.node.follow(id, old, new, node);
        self.slot.follow(id, old, new, |t| Some((group(t), t.slot)));
        self.volume.follow_many(id, old, new, |t| keys(volumes(t)));
        self.custom.replace(id, old, new);
        if let (Some(old), Some(new)) = (old, new)
            && is_grouped_alike(old, new)
        {
            return;
        }
        let name = |t: &Task| Key::lower(own_name(t).unwrap_or(service_name(t)));
        self.name.follow(old, new, group, |t| Keys::from_iter([name(t)]));
        self.runtime.follow(old, new, group, |t| runtime_key(spec(t)).into_iter().collect());
        self.network.follow(old, new, group, |t| keys(networks(t)));
        self.secret.follow(old, new, group, |t| keys(secrets(spec(t))));
        self.config.follow(old, new, group, |t| keys(configs(spec(t))));
    }

    fn judges_all(by: &By) -> bool {
        matches!(by, By::DesiredState(_) | By::TaskState(_))
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        Some(match by {
            By::Name(name) => {
                let name = name.to_lowercase();
                let services = self.name.with(Key::exact(&name)).chain(self.up_to_a_dot(&name));
                self.of(distinct(services))
            }
            By::NamePrefix(prefix) => {
                let prefix = prefix.to_lowercase();
                let services = self.name.with_prefix(&prefix).chain(self.up_to_a_dot(&prefix));
                self.of(distinct(services))
            }
            By::Service(id) => self.of(vec![Key::id(id.0)]),
            By::Slot(id, slot) => Box::new(self.slot.with((Key::id(id.0), *slot))),
            By::Node(id) => Box::new(self.node.with(Key::id(id.0))),
            By::Runtime(runtime) => self.of(distinct(self.runtime.with(Key::exact(runtime)))),
            By::ReferencedNetwork(id) => self.of(distinct(self.network.with(Key::id(id.0)))),
            By::ReferencedSecret(id) => self.of(distinct(self.secret.with(Key::id(id.0)))),
            By::ReferencedConfig(id) => self.of(distinct(self.config.with(Key::id(id.0)))),
            By::VolumeAttachment(id) => Box::new(self.volume.with(Key::id(id.0))),
            _ => return self.custom.candidates(by),
        })
    }
}

/// The specs that a task probably has: its own from before, and those of its service.
fn known_specs<'a>(
    old: Option<&'a Task>,
    service_id: &str,
    tables: &'a Tables,
) -> impl Iterator<Item = &'a Shared<TaskSpec>> {
    let of_service = || {
        let service = tables.get_text::<Service>(service_id);
        let specs = service.into_iter().flat_map(|s| [s.spec.as_ref(), s.previous_spec.as_ref()]);
        specs.flatten().filter_map(|spec| spec.task.as_ref())
    };
    let own = old.and_then(|old| old.spec.as_ref()).into_iter();
    own.chain(std::iter::once_with(of_service).flatten())
}

/// The endpoints that a task probably has: its own from before, and its service's.
fn known_endpoints<'a>(
    old: Option<&'a Task>,
    service_id: &str,
    tables: &'a Tables,
) -> impl Iterator<Item = &'a Shared<Endpoint>> {
    let of_service = || tables.get_text::<Service>(service_id)?.endpoint.as_ref();
    let own = old.and_then(|old| old.endpoint.as_ref()).into_iter();
    own.chain(std::iter::once_with(of_service).flatten())
}

/// The known message that this one is, or else this one.
fn shared<'a, M>(own: &Shared<M>, mut known: impl Iterator<Item = &'a Shared<M>>) -> Shared<M>
where
    M: PartialEq + 'a,
{
    let is_it = |known: &&Shared<M>| Shared::is_same(known, own) || *known == own;
    known.find(is_it).unwrap_or(own).clone()
}

/// The known message that has these bytes, or else the one that they are.
fn decoded<'a, M>(
    encoded: &[u8],
    mut known: impl Iterator<Item = &'a Shared<M>>,
) -> Result<Shared<M>, DecodeError>
where
    M: Message + Default + 'a,
{
    let known = known.find(|known| Shared::encoded(known) == encoded);
    known.map_or_else(|| Shared::from_encoded(encoded), |known| Ok(known.clone()))
}

/// A task as it is encoded, without its spec, its endpoint and its attachments, and those still encoded.
struct Parts<'a> {
    task: Task,
    spec: Option<&'a [u8]>,
    endpoint: Option<&'a [u8]>,
    attachments: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// None if spec or endpoint is there more than once, so that its parts would have to be put together.
    fn decode(encoded: &'a [u8]) -> Result<Option<Parts<'a>>, DecodeError> {
        let mut parts =
            Parts { task: Task::default(), spec: None, endpoint: None, attachments: Vec::new() };
        // Where the fields begin that are the task's own and not decoded yet.
        let (mut rest, mut own) = (encoded, 0);
        loop {
            let start = encoded.len() - rest.len();
            match next_field(&mut rest)? {
                Some((SPEC, Field::Delimited(spec))) => {
                    if parts.spec.replace(spec).is_some() {
                        return Ok(None);
                    }
                }
                Some((ENDPOINT, Field::Delimited(endpoint))) => {
                    if parts.endpoint.replace(endpoint).is_some() {
                        return Ok(None);
                    }
                }
                Some((NETWORKS, Field::Delimited(attachment))) => {
                    parts.attachments.push(attachment);
                }
                Some(_) => continue,
                None => break,
            }
            parts.task.merge(&encoded[own..start])?;
            own = encoded.len() - rest.len();
        }
        parts.task.merge(&encoded[own..])?;
        Ok(Some(parts))
    }
}

/// The attachments of another task of the service, which probably is on the same networks.
fn attachments_of_service<'a>(
    service_id: &str,
    tables: &'a Tables,
) -> Option<&'a [NetworkAttachment]> {
    let service = service_id.parse().ok().map(By::Service)?;
    tables.find_one::<Task>(service).map(|task| &*task.networks)
}

object!(
    Task, task, TaskId, 4, unique_name: false, indexes: TaskIndexes,
    annotations: |t| t.annotations.as_ref(), name: name,
    own: {
        fn share(&mut self, old: Option<&Task>, tables: &Tables) {
            if !self.networks.is_empty() {
                let other = || attachments_of_service(&self.service_id, tables);
                attachments::share(&mut self.networks, old.map(|old| &*old.networks), other);
            }
            if let Some(own) = &mut self.endpoint {
                *own = shared(own, known_endpoints(old, &self.service_id, tables));
            }
            if let Some(own) = &mut self.spec {
                *own = shared(own, known_specs(old, &self.service_id, tables));
            }
        }

        fn decode_for(encoded: &[u8], tables: &Tables) -> Result<Task, DecodeError> {
            let Some(Parts { mut task, spec, endpoint, attachments }) = Parts::decode(encoded)?
            else {
                return Task::decode(encoded);
            };
            let old = tables.get_text::<Task>(&task.id).map(|old| &**old);
            if let Some(spec) = spec {
                task.spec = Some(decoded(spec, known_specs(old, &task.service_id, tables))?);
            }
            if let Some(endpoint) = endpoint {
                let known = known_endpoints(old, &task.service_id, tables);
                task.endpoint = Some(decoded(endpoint, known)?);
            }
            let other = || attachments_of_service(&task.service_id, tables);
            task.networks = attachments::decode(&attachments, old.map(|old| &*old.networks), other)?;
            Ok(task)
        }

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
