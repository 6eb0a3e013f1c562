//! The nodes as the scheduler sees them: the objects, and what of each is still free.

use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

use skep_proto::{
    ids::{NodeId, TaskId},
    swarmkit::{GenericResource, Node, Resources},
};

use super::needs::{HostPort, Shape};
use crate::placement::{GenericPool, Reservation, node_accepts_tasks};

/// Where a node stands in [`Nodes`]: dense, so that what is kept for each node can be an array. Used again once its
/// node is gone.
pub type NodeIndex = u32;

/// One node, and what is free on it.
#[derive(Clone, Debug)]
pub struct NodeInfo {
    id: NodeId,
    object: Arc<Node>,
    accepts: bool,
    /// Another one for each object that was seen here: what was judged by an older one is judged anew.
    revision: u32,
    /// May be below nothing: what is reported can shrink under what runs.
    free_nano_cpus: i64,
    free_memory_bytes: i64,
    free_generic: GenericPool,
    /// Ports in use, and how many tasks have each: an old task and the one that replaces it may overlap.
    ports: HashMap<HostPort, u32>,
    /// Tasks that hold something here.
    tasks: HashSet<TaskId>,
    /// Those of them that are to go on.
    active: u32,
}

/// What one task holds on its node.
#[derive(Clone, Debug)]
pub struct Holding {
    /// What it asked for.
    pub shape: Arc<Shape>,
    /// Its own generic resources.
    pub claimed: Vec<GenericResource>,
    /// It is to go on.
    pub active: bool,
}

impl NodeInfo {
    fn new(id: NodeId, object: Arc<Node>, revision: u32) -> NodeInfo {
        let mut info = NodeInfo {
            id,
            accepts: false,
            object,
            revision,
            free_nano_cpus: 0,
            free_memory_bytes: 0,
            free_generic: GenericPool::default(),
            ports: HashMap::new(),
            tasks: HashSet::new(),
            active: 0,
        };
        info.accepts = node_accepts_tasks(&info.object);
        info.reset();
        info
    }

    /// Everything free that the node reports.
    fn reset(&mut self) {
        let all = reported(&self.object);
        self.free_nano_cpus = all.map_or(0, |r| r.nano_cpus);
        self.free_memory_bytes = all.map_or(0, |r| r.memory_bytes);
        self.free_generic = all.map(|r| GenericPool::of(&r.generic)).unwrap_or_default();
    }

    fn subtract(&mut self, holding: &Holding) {
        let reservation = &holding.shape.needs.reservation;
        self.free_nano_cpus = self.free_nano_cpus.saturating_sub(reservation.nano_cpus);
        self.free_memory_bytes = self.free_memory_bytes.saturating_sub(reservation.memory_bytes);
        self.free_generic.take(&holding.claimed);
    }

    /// Its id.
    pub fn id(&self) -> NodeId {
        self.id
    }

    /// The object as it was last seen.
    pub fn object(&self) -> &Arc<Node> {
        &self.object
    }

    /// Whether it is up and takes new tasks.
    pub fn accepts(&self) -> bool {
        self.accepts
    }

    /// Differs for each object that stood here.
    pub fn revision(&self) -> u32 {
        self.revision
    }

    /// Tasks on it that are to go on.
    pub fn active(&self) -> u32 {
        self.active
    }

    /// Tasks that hold something on it.
    pub fn tasks(&self) -> impl Iterator<Item = &TaskId> {
        self.tasks.iter()
    }

    /// Billionths of a CPU that are free.
    pub fn free_nano_cpus(&self) -> i64 {
        self.free_nano_cpus
    }

    /// Bytes that are free.
    pub fn free_memory_bytes(&self) -> i64 {
        self.free_memory_bytes
    }

    /// Generic resources that are free.
    pub fn free_generic(&self) -> &GenericPool {
        &self.free_generic
    }

    /// Whether as much is free as is reserved. What is not asked for is not looked at: it may be overdrawn.
    pub fn has_room(&self, wanted: &Reservation) -> bool {
        (wanted.nano_cpus == 0 || wanted.nano_cpus <= self.free_nano_cpus)
            && (wanted.memory_bytes == 0 || wanted.memory_bytes <= self.free_memory_bytes)
            && self.free_generic.has(&wanted.generic)
    }

    /// The generic resources that a task would get here; none if they are not there.
    pub fn offer(&self, wanted: &Reservation) -> Vec<GenericResource> {
        if wanted.generic.is_empty() {
            return Vec::new();
        }
        // On a copy: what is set aside is taken when the task is put here.
        self.free_generic.clone().claim(&wanted.generic).unwrap_or_default()
    }

    /// Whether nobody has any of these ports.
    pub fn ports_free(&self, ports: &[HostPort]) -> bool {
        ports.iter().all(|port| !self.ports.contains_key(port))
    }
}

/// What a node says it has.
fn reported(node: &Node) -> Option<&Resources> {
    node.description.as_ref().and_then(|description| description.resources.as_ref())
}

/// All nodes.
#[derive(Clone, Debug, Default)]
pub struct Nodes {
    slots: Vec<Option<NodeInfo>>,
    free: Vec<NodeIndex>,
    by_id: HashMap<NodeId, NodeIndex>,
    revisions: u32,
}

impl Nodes {
    /// The node with this index.
    pub fn get(&self, index: NodeIndex) -> Option<&NodeInfo> {
        self.slots.get(index as usize).and_then(Option::as_ref)
    }

    /// Where the node with this id stands.
    pub fn index_of(&self, id: &NodeId) -> Option<NodeIndex> {
        self.by_id.get(id).copied()
    }

    /// Every node with its index.
    pub fn iter(&self) -> impl Iterator<Item = (NodeIndex, &NodeInfo)> {
        (0..).zip(&self.slots).filter_map(|(index, slot)| Some((index, slot.as_ref()?)))
    }

    /// One more than the greatest index.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// How many nodes there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Takes a node in, or its new object. `holdings` gives what a task of this node holds; it is asked only when what the
    /// node reports has changed.
    pub fn put<'a>(
        &mut self,
        id: NodeId,
        object: Arc<Node>,
        holdings: impl Fn(&TaskId) -> Option<&'a Holding>,
    ) -> NodeIndex {
        // Never 0, which stands for no object.
        self.revisions = self.revisions.checked_add(1).unwrap_or(1);
        let revision = self.revisions;
        if let Some(index) = self.index_of(&id)
            && let Some(info) = self.slots[index as usize].as_mut()
        {
            let same = reported(&info.object) == reported(&object);
            info.accepts = node_accepts_tasks(&object);
            info.object = object;
            info.revision = revision;
            if !same {
                info.reset();
                for task in info.tasks.clone() {
                    if let Some(holding) = holdings(&task) {
                        info.subtract(holding);
                    }
                }
            }
            return index;
        }
        let info = Some(NodeInfo::new(id, object, revision));
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = info;
                index
            }
            None => {
                self.slots.push(info);
                // A cluster has far fewer nodes than an index can count.
                NodeIndex::try_from(self.slots.len() - 1).unwrap_or(NodeIndex::MAX)
            }
        };
        self.by_id.insert(id, index);
        index
    }

    /// The tasks that hold something on a node.
    pub fn tasks_on(&self, index: NodeIndex) -> Option<Vec<TaskId>> {
        Some(self.get(index)?.tasks.iter().copied().collect())
    }

    /// Takes a node out. Its index is free again.
    pub fn remove(&mut self, id: &NodeId) {
        if let Some(index) = self.by_id.remove(id) {
            self.slots[index as usize] = None;
            self.free.push(index);
        }
    }

    /// Sets aside what a task holds.
    pub fn occupy(&mut self, index: NodeIndex, task: TaskId, holding: &Holding) {
        let Some(info) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        if !info.tasks.insert(task) {
            return;
        }
        info.subtract(holding);
        for port in &holding.shape.needs.ports {
            *info.ports.entry(*port).or_default() += 1;
        }
        info.active += u32::from(holding.active);
    }

    /// Gives back what a task held. What cannot be given back by adding (a name, a count that the node reports anew) is
    /// counted again from what the other tasks hold.
    pub fn release<'a>(
        &mut self,
        index: NodeIndex,
        task: &TaskId,
        holding: &Holding,
        holdings: impl Fn(&TaskId) -> Option<&'a Holding>,
    ) {
        let Some(info) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        if !info.tasks.remove(task) {
            return;
        }
        info.free_nano_cpus =
            info.free_nano_cpus.saturating_add(holding.shape.needs.reservation.nano_cpus);
        info.free_memory_bytes =
            info.free_memory_bytes.saturating_add(holding.shape.needs.reservation.memory_bytes);
        if !holding.claimed.is_empty() {
            info.free_generic =
                reported(&info.object).map(|r| GenericPool::of(&r.generic)).unwrap_or_default();
            for other in info.tasks.iter().filter_map(holdings) {
                info.free_generic.take(&other.claimed);
            }
        }
        for port in &holding.shape.needs.ports {
            if let Some(count) = info.ports.get_mut(port) {
                *count -= 1;
                if *count == 0 {
                    info.ports.remove(port);
                }
            }
        }
        info.active -= u32::from(holding.active);
    }

    /// A task on the node is to go on, or is not any more.
    pub fn set_active(&mut self, index: NodeIndex, active: bool) {
        let Some(info) = self.slots.get_mut(index as usize).and_then(Option::as_mut) else {
            return;
        };
        info.active =
            if active { info.active.saturating_add(1) } else { info.active.saturating_sub(1) };
    }
}
