//! What the allocator has to look at, and what it is looking at.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};

use super::pass::Item;

/// What has to be looked at, in the order in which one needs the other.
#[derive(Default)]
pub(super) struct Dirty {
    pub networks: BTreeSet<NetworkId>,
    pub services: BTreeSet<ServiceId>,
    /// A task that has its node waits for the node's load balancer, so these come first.
    pub nodes: BTreeSet<NodeId>,
    pub tasks: BTreeSet<TaskId>,
    /// What is being looked at, and whether it is to be looked at again after that: no two passes have one item, so what
    /// came of it last is what is true of it.
    in_flight: HashMap<Item, bool>,
}

impl Dirty {
    /// The item is to be looked at, perhaps again.
    pub fn insert(&mut self, item: Item) {
        match item {
            Item::Network(id) => self.networks.insert(id),
            Item::Service(id) => self.services.insert(id),
            Item::Node(id) => self.nodes.insert(id),
            Item::Task(id) => self.tasks.insert(id),
        };
    }

    /// The item need not be looked at.
    pub fn remove(&mut self, item: &Item) {
        match item {
            Item::Network(id) => self.networks.remove(id),
            Item::Service(id) => self.services.remove(id),
            Item::Node(id) => self.nodes.remove(id),
            Item::Task(id) => self.tasks.remove(id),
        };
    }

    /// Takes one that is not being looked at, and is from now on.
    pub fn pop(&mut self) -> Option<Item> {
        loop {
            let item = self.first()?;
            match self.in_flight.entry(item) {
                Entry::Occupied(mut again) => drop(again.insert(true)),
                Entry::Vacant(entry) => {
                    entry.insert(false);
                    return Some(item);
                }
            }
        }
    }

    /// The item was looked at.
    pub fn came_back(&mut self, item: Item) {
        if self.in_flight.remove(&item) == Some(true) {
            self.insert(item);
        }
    }

    fn first(&mut self) -> Option<Item> {
        let networks = self.networks.pop_first().map(Item::Network);
        networks
            .or_else(|| self.services.pop_first().map(Item::Service))
            .or_else(|| self.nodes.pop_first().map(Item::Node))
            .or_else(|| self.tasks.pop_first().map(Item::Task))
    }
}
