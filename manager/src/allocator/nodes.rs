//! Nodes and the networks that are in use on them. An engine has a load balancer of its own in each network that its tasks
//! use, and in the ingress network always, so each node holds an address there. An engine starts no task before it has them.

use std::{
    collections::{BTreeSet, HashMap},
    net::IpAddr,
    sync::Arc,
};

use skep_proto::{
    ids::{NetworkId, NodeId},
    swarmkit::{Network, NetworkAttachment, Node, Task, TaskState},
};
use skep_store::{By, Tables};

use crate::control::is_ingress_network;

use super::{
    book::{addresses, node_addresses, note},
    network::{self, Kind},
    waits::Need,
};

/// Which networks are in use on which nodes, and by how many tasks. Follows what is committed.
#[derive(Debug, Default)]
pub(super) struct InUse {
    nodes: HashMap<NodeId, Vec<(NetworkId, u32)>>,
}

impl InUse {
    /// As the tables have it.
    pub fn of(tables: &Tables) -> InUse {
        let mut in_use = InUse::default();
        for task in tables.all::<Task>() {
            in_use.follow(None, Some(task));
        }
        in_use
    }

    /// The networks that are in use on a node.
    pub fn on(&self, node: &NodeId) -> Vec<NetworkId> {
        let networks = self.nodes.get(node).into_iter().flatten();
        networks.map(|(network, _)| *network).collect()
    }

    /// Follows a task, and gives the nodes on which a network came into use or went out of it.
    pub fn follow(&mut self, old: Option<&Task>, new: Option<&Task>) -> Vec<NodeId> {
        let (old, new) = (old.and_then(uses), new.and_then(uses));
        let node = |uses: &Option<(NodeId, &Task)>| uses.as_ref().map(|(node, _)| *node);
        if node(&old) == node(&new) {
            // A task keeps the networks that it was given.
            return Vec::new();
        }
        let mut changed = Vec::new();
        for (uses, more) in [(new, true), (old, false)] {
            let Some((node, task)) = uses else { continue };
            for network in overlays(task) {
                if self.count(node, network, more) {
                    changed.push(node);
                }
            }
        }
        changed
    }

    /// Counts a use more or less. Says whether it is the first, or was the last.
    fn count(&mut self, node: NodeId, network: NetworkId, more: bool) -> bool {
        let networks = self.nodes.entry(node).or_default();
        let at = networks.iter().position(|(known, _)| *known == network);
        let changed = match (at, more) {
            (Some(at), true) => {
                networks[at].1 += 1;
                false
            }
            (None, true) => {
                networks.push((network, 1));
                true
            }
            (Some(at), false) if networks[at].1 > 1 => {
                networks[at].1 -= 1;
                false
            }
            (Some(at), false) => {
                networks.swap_remove(at);
                true
            }
            (None, false) => false,
        };
        if networks.is_empty() {
            self.nodes.remove(&node);
        }
        changed
    }
}

/// What of a node's attachments stays.
pub(super) struct Kept {
    pub attachments: Vec<NetworkAttachment>,
    /// Addresses of the others.
    pub freed: Vec<(NetworkId, IpAddr)>,
}

/// Which of a node's attachments it goes on to need: in the networks that are `wanted`, and in others as long as a task that
/// is on its way to the node, and not committed yet, uses them.
pub(super) fn keep(
    tables: &Tables,
    id: NodeId,
    node: &Node,
    wanted: &[(NetworkId, Arc<Network>)],
) -> Kept {
    let mut kept = Kept { attachments: Vec::new(), freed: Vec::new() };
    // Where managers before 18.09 put the one of the ingress network.
    let had = node.attachments.iter().chain(&node.attachment);
    for attachment in had {
        let network = network_of(attachment);
        let known = kept.attachments.iter().any(|a| network_of(a) == network);
        let needed = |network: NetworkId| {
            wanted.iter().any(|(id, _)| *id == network) || is_used(tables, id, network)
        };
        let usable = !known && !attachment.addresses.is_empty();
        if usable && network.is_some_and(needed) {
            kept.attachments.push(attachment.clone());
        } else if !known {
            kept.freed.extend(addresses(std::slice::from_ref(attachment)));
        }
    }
    kept
}

/// What others may wait for that the node had and has no more.
pub(super) fn lost(old: &Node, new: &Node, freed: &mut BTreeSet<Need>) {
    if old.attachments == new.attachments && old.attachment == new.attachment {
        return;
    }
    let kept: Vec<_> = node_addresses(new).collect();
    for (network, address) in node_addresses(old).filter(|had| !kept.contains(had)) {
        note(network, address, freed);
    }
}

/// The network of an attachment.
pub(super) fn network_of(attachment: &NetworkAttachment) -> Option<NetworkId> {
    attachment.network.as_ref()?.id.parse().ok()
}

fn is_used(tables: &Tables, node: NodeId, network: NetworkId) -> bool {
    let mut tasks = tables.find::<Task>(By::Node(node));
    tasks.any(|task| uses(task).is_some() && overlays(task).any(|used| used == network))
}

/// The node that the task is on with its networks, if it has any.
fn uses(task: &Task) -> Option<(NodeId, &Task)> {
    if task.networks.is_empty() {
        return None;
    }
    let state = task.status.as_ref().map_or(0, |status| status.state);
    let there = (TaskState::Assigned as i32..=TaskState::Running as i32).contains(&state);
    let node = task.node_id.parse().ok().filter(|_| there)?;
    Some((node, task))
}

/// The networks of a task that span nodes; the ingress network is on every node anyway.
pub fn overlays(task: &Task) -> impl Iterator<Item = NetworkId> + '_ {
    let networks = task.networks.iter().filter_map(|attachment| attachment.network.as_deref());
    let overlays = networks.filter(|n| Kind::of(n) == Kind::Overlay && !is_ingress_network(n));
    overlays.filter_map(|network| network.id.parse().ok())
}

/// Whether the network is one that a node has attachments in.
pub(super) fn is_on_every_node(network: &Network) -> bool {
    is_ingress_network(network) && network::is_allocated(network)
}
