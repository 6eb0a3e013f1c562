//! What the scheduler keeps, and how it follows the store: the nodes with what is free on them, the tasks that hold
//! something, and the tasks that look for a node.
//!
//! A decision counts from the moment it is made ([`super::place`]); the commit that carries it changes nothing more. What
//! was decided in vain is taken back ([`State::take_back`]). Anything here can be made again from a view of the store.

use std::{
    collections::{BTreeSet, HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, SystemTime},
};

use skep_proto::{
    ids::{Id, NodeId, TaskId},
    swarmkit::{Node, Task, TaskState},
};
use skep_store::{Commit, Event, Tables};

use super::{
    decision::{is_wanted, state_of},
    failures::{RecentFailures, is_recent},
    group::Group,
    needs::{GroupKey, HostPort, Shape},
    nodes::{Holding, NodeIndex, NodeInfo, Nodes},
};

/// Groups whose tasks all have a node keep what the filters said of the nodes as long as no more than this many others
/// looked for nodes after them: the next task of a service that is updated or restarted costs no second look.
const GROUPS_REMEMBERED_MAX: usize = 32;

/// A task that is known.
#[derive(Debug)]
pub(super) enum Known {
    /// It has a node.
    Held(Held),
    /// It looks for one.
    Queued {
        /// Its group.
        shape: Arc<Shape>,
        /// Its place in the queue.
        slot: u64,
    },
    /// It waits for the node that it came with.
    Preassigned {
        /// Its group.
        shape: Arc<Shape>,
        /// Its node.
        node: NodeId,
        /// Why it waits, as it was told.
        told: String,
    },
}

/// A task with a node.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) node: NodeIndex,
    pub(super) holding: Holding,
    /// It did not choose its node.
    pub(super) preassigned: bool,
}

impl Known {
    fn shape(&self) -> &Arc<Shape> {
        match self {
            Known::Held(held) => &held.holding.shape,
            Known::Queued { shape, .. } | Known::Preassigned { shape, .. } => shape,
        }
    }
}

/// Tasks that go on, by service and node.
pub(super) type ServiceCounts = HashMap<NodeIndex, u32>;

/// Everything that the scheduler decides on.
#[derive(Debug, Default)]
pub struct State {
    pub(super) nodes: Nodes,
    pub(super) groups: HashMap<GroupKey, Group>,
    pub(super) tasks: HashMap<TaskId, Known>,
    pub(super) services: HashMap<Id, ServiceCounts>,
    pub(super) failures: RecentFailures,
    /// Groups to be placed, in the order in which they came.
    pub(super) ready: VecDeque<GroupKey>,
    /// Groups of which no node takes another task.
    pub(super) waiting: BTreeSet<GroupKey>,
    /// Groups with tasks that are to be told why they wait.
    pub(super) telling: BTreeSet<GroupKey>,
    /// Nodes that may say something else to the groups that wait.
    pub(super) touched: HashSet<NodeIndex>,
    /// Preassigned tasks by node.
    pub(super) preassigned: HashMap<NodeId, BTreeSet<TaskId>>,
    /// Preassigned tasks whose node is to be asked.
    pub(super) due: BTreeSet<TaskId>,
    /// Tasks without a node that are not wanted any more.
    pub(super) unwanted: Vec<TaskId>,
    /// Groups that need no node now and still remember what the nodes are, the one that needed one last at the end.
    remembered: VecDeque<GroupKey>,
}

impl State {
    /// All that is in the store.
    pub fn load(tables: &Tables, now: SystemTime) -> State {
        let mut state = State::default();
        for node in tables.all::<Node>() {
            if let Ok(id) = node.id.parse() {
                state.put_node(id, node.clone());
            }
        }
        for task in tables.all::<Task>() {
            if let Ok(id) = task.id.parse() {
                state.put_task(id, task, now);
                state.recall_failure(id, task, now);
            }
        }
        state
    }

    /// Follows a commit.
    pub fn apply(&mut self, commit: &Commit, now: SystemTime) {
        for event in &commit.events {
            match event {
                Event::Node(change) => match &change.new {
                    Some(node) => self.put_node(change.id.into(), node.clone()),
                    None => self.remove_node(change.id.into()),
                },
                Event::Task(change) => match &change.new {
                    Some(task) => self.put_task(change.id.into(), task, now),
                    None => self.forget(change.id.into()),
                },
                _ => {}
            }
        }
    }

    /// The nodes.
    pub fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    /// How many active tasks of the service run on the node.
    pub fn of_service(&self, service: Option<Id>, node: NodeIndex) -> u32 {
        let counts = service.and_then(|service| self.services.get(&service));
        counts.and_then(|counts| counts.get(&node)).copied().unwrap_or(0)
    }

    /// A task that has the port on the node.
    pub fn holder_of_port(&self, node: &NodeInfo, port: HostPort) -> Option<TaskId> {
        let has = |task: &&TaskId| {
            holding(&self.tasks, task).is_some_and(|h| h.shape.needs.ports.contains(&port))
        };
        node.tasks().find(has).copied()
    }

    /// Takes a node in, or its new object.
    pub fn put_node(&mut self, id: NodeId, node: Arc<Node>) {
        let tasks = &self.tasks;
        let index = self.nodes.put(id, node, |task| holding(tasks, task));
        self.touch(index);
    }

    /// A node is gone, and what runs there with it.
    pub fn remove_node(&mut self, id: NodeId) {
        let Some(index) = self.nodes.index_of(&id) else { return };
        let Some(tasks) = self.nodes.tasks_on(index) else { return };
        for task in tasks {
            self.forget(task);
        }
        self.nodes.remove(&id);
        self.failures.forget_node(index);
        self.touched.insert(index);
    }

    /// Takes note of a task as it is now. Never moves a task that has a node back to those that look for one: its state
    /// does not go back, so what says so is older than the decision.
    pub fn put_task(&mut self, id: TaskId, task: &Task, now: SystemTime) {
        let state = state_of(task);
        if state < i32::from(TaskState::Pending) {
            return;
        }
        if state > i32::from(TaskState::Running) {
            let failed = [TaskState::Failed, TaskState::Rejected].map(i32::from).contains(&state);
            if failed
                && let Some(Known::Held(held)) = self.tasks.get(&id)
                && !held.preassigned
            {
                self.failures.record(held.holding.shape.key, held.node, now, now);
            }
            return self.forget(id);
        }
        if let Some(Known::Held(_)) = self.tasks.get(&id) {
            return self.set_active(id, is_wanted(task));
        }
        if state == i32::from(TaskState::Pending) {
            self.put_pending(id, task);
        } else {
            self.put_running(id, task);
        }
    }

    /// Drops a decision that was not written; the task as it is now follows with [`put_task`](Self::put_task).
    pub fn take_back(&mut self, id: TaskId) {
        self.forget(id);
    }

    /// Drops every task that has no node yet.
    pub fn forget_waiting(&mut self) {
        let waits =
            |(id, known): (&TaskId, &Known)| (!matches!(known, Known::Held(_))).then_some(*id);
        let waiting: Vec<TaskId> = self.tasks.iter().filter_map(waits).collect();
        waiting.into_iter().for_each(|id| self.forget(id));
        self.unwanted.clear();
    }

    /// A task that needs a node, or to be stopped before it has one.
    fn put_pending(&mut self, id: TaskId, task: &Task) {
        let known = self.tasks.contains_key(&id);
        if !is_wanted(task) {
            self.forget(id);
            // One that is to be removed is deleted by others as it is.
            if task.desired_state < i32::from(TaskState::Remove) {
                self.unwanted.push(id);
            }
            return;
        }
        if known {
            return;
        }
        let shape = self.join_group(id, task);
        match task.node_id.parse::<NodeId>() {
            Ok(node) => {
                self.preassigned.entry(node).or_default().insert(id);
                self.due.insert(id);
                let told = task.status.as_ref().map(|s| s.err.clone()).unwrap_or_default();
                self.tasks.insert(id, Known::Preassigned { shape, node, told });
            }
            Err(_) => {
                let key = shape.key;
                self.tasks.insert(id, Known::Queued { shape, slot: task.slot });
                let waits = self.waiting.contains(&key);
                let Some(group) = self.groups.get_mut(&key) else { return };
                let first = group.queue.is_empty();
                group.queue.insert((task.slot, id));
                if !group.text.is_empty() {
                    group.untold.push_back(id);
                }
                if waits {
                    // Nothing that could help has happened: it only has to be told.
                    self.telling.insert(key);
                } else if first {
                    self.ready.push_back(key);
                }
            }
        }
    }

    /// A task that has its node already.
    fn put_running(&mut self, id: TaskId, task: &Task) {
        // It may have looked for one as far as we knew.
        self.forget(id);
        let node = task.node_id.parse().ok().and_then(|node| self.nodes.index_of(&node));
        let Some(node) = node else { return };
        let shape = self.join_group(id, task);
        let claimed = task.assigned_generic_resources.clone();
        let holding = Holding { shape, claimed, active: is_wanted(task) };
        self.hold(id, Held { node, holding, preassigned: task.slot == 0 });
    }

    /// The task has its node from now on. Its group is joined already.
    pub(super) fn hold(&mut self, id: TaskId, held: Held) {
        self.nodes.occupy(held.node, id, &held.holding);
        if held.holding.active {
            self.count_service(held.holding.shape.service, held.node, true);
        }
        let node = held.node;
        self.tasks.insert(id, Known::Held(held));
        self.touch(node);
    }

    fn set_active(&mut self, id: TaskId, active: bool) {
        let Some(Known::Held(held)) = self.tasks.get_mut(&id) else { return };
        if held.holding.active == active {
            return;
        }
        held.holding.active = active;
        let (node, service) = (held.node, held.holding.shape.service);
        self.nodes.set_active(node, active);
        self.count_service(service, node, active);
        self.touch(node);
    }

    fn count_service(&mut self, service: Option<Id>, node: NodeIndex, more: bool) {
        let Some(service) = service else { return };
        let counts = self.services.entry(service).or_default();
        let count = counts.entry(node).or_default();
        *count = if more { count.saturating_add(1) } else { count.saturating_sub(1) };
        if *count == 0 {
            counts.remove(&node);
            if counts.is_empty() {
                self.services.remove(&service);
            }
        }
    }

    /// The task is of no concern any more; what it held is free.
    fn forget(&mut self, id: TaskId) {
        let Some(known) = self.tasks.remove(&id) else { return };
        let key = known.shape().key;
        match known {
            Known::Held(Held { node, holding, .. }) => {
                let tasks = &self.tasks;
                self.nodes.release(node, &id, &holding, |task| self::holding(tasks, task));
                if holding.active {
                    self.count_service(holding.shape.service, node, false);
                }
                self.touch(node);
            }
            Known::Queued { slot, .. } => {
                if let Some(group) = self.groups.get_mut(&key) {
                    group.queue.remove(&(slot, id));
                    if group.queue.is_empty() {
                        self.settle(key);
                    }
                }
            }
            Known::Preassigned { node, .. } => {
                self.due.remove(&id);
                if let Some(tasks) = self.preassigned.get_mut(&node) {
                    tasks.remove(&id);
                    if tasks.is_empty() {
                        self.preassigned.remove(&node);
                    }
                }
            }
        }
        self.leave_group(key);
    }

    /// The group of a task, which has one more member now.
    fn join_group(&mut self, id: TaskId, task: &Task) -> Arc<Shape> {
        let key = GroupKey::of(task, id.into());
        let group =
            self.groups.entry(key).or_insert_with(|| Group::new(Arc::new(Shape::of(task, key))));
        group.members += 1;
        group.shape.clone()
    }

    fn leave_group(&mut self, key: GroupKey) {
        let Some(group) = self.groups.get_mut(&key) else { return };
        group.members -= 1;
        if group.members == 0 {
            self.groups.remove(&key);
            self.waiting.remove(&key);
        }
    }

    /// Every task of the group has a node now, or none is left.
    pub(super) fn settle(&mut self, key: GroupKey) {
        self.waiting.remove(&key);
        if let Some(group) = self.groups.get_mut(&key) {
            group.untold.clear();
            group.text = Arc::from("");
            group.forget_verdicts();
        }
        self.remembered.retain(|other| *other != key);
        self.remembered.push_back(key);
        if self.remembered.len() > GROUPS_REMEMBERED_MAX
            && let Some(oldest) = self.remembered.pop_front()
            && let Some(group) = self.groups.get_mut(&oldest)
            && group.queue.is_empty()
        {
            group.forget_nodes();
        }
    }

    /// Something on the node has changed.
    fn touch(&mut self, node: NodeIndex) {
        if !self.waiting.is_empty() {
            self.touched.insert(node);
        }
        if !self.preassigned.is_empty()
            && let Some(info) = self.nodes.get(node)
            && let Some(tasks) = self.preassigned.get(&info.id())
        {
            self.due.extend(tasks);
        }
    }

    /// A leader that takes over knows the failures of the last minutes from the tasks that are kept.
    fn recall_failure(&mut self, id: TaskId, task: &Task, now: SystemTime) {
        let failed = [TaskState::Failed, TaskState::Rejected].map(i32::from);
        if !failed.contains(&state_of(task)) || task.slot == 0 {
            return;
        }
        let node = task.node_id.parse().ok().and_then(|node| self.nodes.index_of(&node));
        let at = task.status.as_ref().and_then(|status| status.timestamp).and_then(time_of);
        if let (Some(node), Some(at)) = (node, at)
            && is_recent(at, now)
        {
            self.failures.record(GroupKey::of(task, id.into()), node, at.min(now), now);
        }
    }
}

fn time_of(timestamp: skep_proto::prost_types::Timestamp) -> Option<SystemTime> {
    let seconds = u64::try_from(timestamp.seconds).ok()?;
    let nanos = u64::try_from(timestamp.nanos).ok()?;
    let since = Duration::from_secs(seconds).checked_add(Duration::from_nanos(nanos))?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

fn holding<'a>(tasks: &'a HashMap<TaskId, Known>, id: &TaskId) -> Option<&'a Holding> {
    match tasks.get(id) {
        Some(Known::Held(held)) => Some(&held.holding),
        _ => None,
    }
}
