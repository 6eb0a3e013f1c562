//! The scheduler as tables: nodes and tasks in, placements and explanations out. Only `store` needs a store.

mod filters;
mod properties;
mod resources;
mod spreading;
mod store;
mod waiting;

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime},
};

pub(super) use skep_proto::swarmkit::{
    Annotations, ContainerSpec, EngineDescription, GenericResource, Node, NodeDescription,
    NodeSpec, NodeStatus, Placement, PlacementPreference, Platform, ResourceRequirements,
    Resources, SpreadOver, Task, TaskSpec, TaskState, TaskStatus, Version,
    placement_preference::Preference, task_spec::Runtime,
};

pub(super) use self::{filters::publishing, resources::counted};
use super::{Decision, State};

/// One CPU, in billionths.
pub(super) const CPU: i64 = 1_000_000_000;
/// One GiB.
pub(super) const GIB: i64 = 1 << 30;

/// A node that is up, with 4 CPUs and 8 GiB.
pub(super) fn node(id: &str) -> Node {
    Node {
        id: id.into(),
        spec: Some(NodeSpec { annotations: Some(Annotations::default()), ..Default::default() }),
        status: Some(NodeStatus { state: 2, addr: "10.0.0.1".into(), ..Default::default() }),
        description: Some(NodeDescription {
            hostname: id.into(),
            platform: Some(Platform { os: "linux".into(), architecture: "x86_64".into() }),
            resources: Some(Resources {
                nano_cpus: 4 * CPU,
                memory_bytes: 8 * GIB,
                ..Default::default()
            }),
            engine: Some(EngineDescription::default()),
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// A node with these labels.
pub(super) fn labelled(id: &str, labels: &[(&str, &str)]) -> Node {
    let mut node = node(id);
    let spec = node.spec.as_mut().unwrap();
    spec.annotations.as_mut().unwrap().labels =
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    node
}

pub(super) fn described(id: &str, change: impl FnOnce(&mut NodeDescription)) -> Node {
    let mut node = node(id);
    change(node.description.as_mut().unwrap());
    node
}

pub(super) fn drained(mut node: Node) -> Node {
    node.spec.as_mut().unwrap().availability = 2;
    node
}

pub(super) fn paused(mut node: Node) -> Node {
    node.spec.as_mut().unwrap().availability = 1;
    node
}

pub(super) fn down(mut node: Node) -> Node {
    node.status.as_mut().unwrap().state = 1;
    node
}

/// A task that looks for a node: `web.3` is slot 3 of the service `web`.
pub(super) fn task(name: &str) -> Task {
    let (service, slot) = name.split_once('.').unwrap();
    let container = ContainerSpec { image: "nginx".into(), ..Default::default() };
    Task {
        id: name.into(),
        service_id: service.into(),
        slot: slot.parse().unwrap(),
        spec: Some(
            TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }.into(),
        ),
        spec_version: Some(Version { index: 1 }),
        status: Some(TaskStatus { state: TaskState::Pending.into(), ..Default::default() }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    }
}

pub(super) fn with_spec(mut task: Task, change: impl FnOnce(&mut TaskSpec)) -> Task {
    change(task.spec.as_mut().unwrap());
    task
}

pub(super) fn with_placement(task: Task, change: impl FnOnce(&mut Placement)) -> Task {
    with_spec(task, |spec| change(spec.placement.get_or_insert_default()))
}

pub(super) fn constrained(task: Task, constraints: &[&str]) -> Task {
    with_placement(task, |placement| {
        placement.constraints = constraints.iter().map(|c| (*c).to_owned()).collect();
    })
}

pub(super) fn spread_over(task: Task, descriptors: &[&str]) -> Task {
    let over = |descriptor: &&str| PlacementPreference {
        preference: Some(Preference::Spread(SpreadOver {
            spread_descriptor: (*descriptor).to_owned(),
        })),
    };
    with_placement(task, |placement| {
        placement.preferences = descriptors.iter().map(over).collect();
    })
}

pub(super) fn reserving(
    task: Task,
    nano_cpus: i64,
    memory_bytes: i64,
    generic: Vec<GenericResource>,
) -> Task {
    with_spec(task, |spec| {
        spec.resources = Some(ResourceRequirements {
            reservations: Some(Resources { nano_cpus, memory_bytes, generic }),
            ..Default::default()
        });
    })
}

/// The task in this state on this node.
pub(super) fn on(mut task: Task, node: &str, state: TaskState) -> Task {
    task.node_id = node.into();
    task.status = Some(TaskStatus { state: state.into(), ..Default::default() });
    task
}

pub(super) fn wanted(mut task: Task, desired: TaskState) -> Task {
    task.desired_state = desired.into();
    task
}

/// A state with a clock, and what it decided.
pub(super) struct Cluster {
    pub state: State,
    pub now: SystemTime,
}

impl Cluster {
    pub fn of(nodes: impl IntoIterator<Item = Node>) -> Cluster {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
        let mut cluster = Cluster { state: State::default(), now };
        nodes.into_iter().for_each(|node| cluster.put_node(node));
        cluster
    }

    pub fn put_node(&mut self, node: Node) {
        self.state.put_node(node.id.parse().unwrap(), Arc::new(node));
    }

    pub fn put(&mut self, task: Task) {
        self.state.put_task(task.id.parse().unwrap(), &task, self.now);
    }

    pub fn pass(&mut self, by: Duration) {
        self.now += by;
    }

    /// Decides until nothing more is to be decided.
    pub fn decide(&mut self) -> Vec<Decision> {
        let mut all = Vec::new();
        loop {
            let some = self.state.decide(self.now, 100);
            if some.is_empty() {
                return all;
            }
            all.extend(some);
        }
    }

    /// What it decides, a line each: "web.1 -> n1", "web.2 waits: …", "web.3 stops".
    pub fn lines(&mut self) -> Vec<String> {
        self.decide().iter().map(line).collect()
    }

    /// Puts tasks of a service in and says how many each node got.
    pub fn spread(&mut self, tasks: impl IntoIterator<Item = Task>) -> BTreeMap<String, usize> {
        tasks.into_iter().for_each(|task| self.put(task));
        let mut counts = BTreeMap::new();
        for decision in self.decide() {
            if let Decision::Assign { node, .. } = decision {
                *counts.entry(node.to_string()).or_default() += 1;
            }
        }
        counts
    }
}

pub(super) fn line(decision: &Decision) -> String {
    match decision {
        Decision::Assign { task, node, claimed, .. } if claimed.is_empty() => {
            format!("{task} -> {node}")
        }
        Decision::Assign { task, node, claimed, .. } => {
            let claimed: Vec<String> = claimed.iter().map(generic_text).collect();
            format!("{task} -> {node} with {}", claimed.join(" "))
        }
        Decision::Wait { task, text } => format!("{task} waits: {text}"),
        Decision::Stop { task } => format!("{task} stops"),
    }
}

pub(super) fn generic_text(resource: &GenericResource) -> String {
    use skep_proto::swarmkit::generic_resource::Resource;
    match resource.resource.as_ref().unwrap() {
        Resource::NamedResourceSpec(named) => format!("{}={}", named.kind, named.value),
        Resource::DiscreteResourceSpec(own) => format!("{}:{}", own.kind, own.value),
    }
}

/// `count` tasks of a service, made by `make` from its plain task.
pub(super) fn replicas(service: &str, count: u64, make: impl Fn(Task) -> Task) -> Vec<Task> {
    (1..=count).map(|slot| make(task(&format!("{service}.{slot}")))).collect()
}

pub(super) fn counts(pairs: &[(&str, usize)]) -> BTreeMap<String, usize> {
    pairs.iter().map(|(node, count)| ((*node).to_owned(), *count)).collect()
}
