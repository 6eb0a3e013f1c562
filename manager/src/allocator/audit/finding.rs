//! What an audit finds, in words for operators, with what to do.

use std::net::IpAddr;

use ipnet::IpNet;
use skep_proto::ids::{NetworkId, NodeId, ServiceId, TaskId};

use crate::allocator::ipam::Owner;

/// Something that does not agree. The texts name objects by id.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Finding {
    /// Two hold one address.
    #[error(
        "network {network}: address {address} is held by {one} and by {other}; {}",
        renew(other)
    )]
    AddressTwice {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// Who holds it.
        one: Owner,
        /// Who holds it too.
        other: Owner,
    },
    /// An address that nobody can be reached by.
    #[error(
        "network {network}: {holder} holds address {address}, which is in none of its subnets; {}",
        renew(holder)
    )]
    AddressOutside {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// Who holds it.
        holder: Owner,
    },
    /// Something is no address, subnet or number.
    #[error("network {network}: {holder} has {text:?}, which is not {what}; {}", renew(holder))]
    Unreadable {
        /// The network.
        network: NetworkId,
        /// Whose it is.
        holder: Owner,
        /// What it should be.
        what: &'static str,
        /// What it says.
        text: String,
    },
    /// Two networks, or one twice, have the same addresses.
    #[error(
        "subnet {one_net} of network {one} overlaps {other_net} of network {other}; remove one of the networks"
    )]
    SubnetsOverlap {
        /// A network.
        one: NetworkId,
        /// Its subnet.
        one_net: IpNet,
        /// A network; may be the same.
        other: NetworkId,
        /// Its subnet.
        other_net: IpNet,
    },
    /// Nodes cannot tell the traffic of two subnets apart.
    #[error("networks {one} and {other} both have VXLAN id {vxlan_id}; remove one of the networks")]
    VxlanIdTwice {
        /// The id.
        vxlan_id: u32,
        /// A network.
        one: NetworkId,
        /// A network; may be the same.
        other: NetworkId,
    },
    /// Two services publish one port on every node.
    #[error(
        "services {one} and {other} both publish port {port}/{protocol}; update one of them to another port"
    )]
    PortTwice {
        /// The port.
        port: u32,
        /// The protocol's name.
        protocol: &'static str,
        /// A service.
        one: ServiceId,
        /// A service; may be the same.
        other: ServiceId,
    },
    /// Somebody is attached to a network that was removed.
    #[error("{holder} is attached to network {network}, which is gone; {}", renew(holder))]
    NetworkGone {
        /// The network.
        network: NetworkId,
        /// Who is.
        holder: Owner,
    },
    /// A task was let through to the scheduler without an address.
    #[error("network {network}: task {task} has no address; {}", renew(&Owner::Task(*task)))]
    TaskLacksAddress {
        /// The network.
        network: NetworkId,
        /// The task.
        task: TaskId,
    },
    /// A service has no virtual address where it should have one.
    #[error(
        "network {network}: service {service} has no virtual address; if that stays so, look at the network's usage and \
         the leader's log"
    )]
    ServiceLacksAddress {
        /// The network.
        network: NetworkId,
        /// The service.
        service: ServiceId,
    },
    /// A service has a virtual address where it should have none.
    #[error(
        "network {network}: service {service} has a virtual address that its spec does not ask for; if that stays so, \
         look at the leader's log"
    )]
    ServiceNeedsNoAddress {
        /// The network.
        network: NetworkId,
        /// The service.
        service: ServiceId,
    },
    /// A node has no load balancer in a network of its tasks, or in the ingress network. It starts no task of the network.
    #[error(
        "network {network}: node {node} has no address for its load balancer; if that stays so, look at the network's \
         usage and the leader's log"
    )]
    NodeLacksAddress {
        /// The network.
        network: NetworkId,
        /// The node.
        node: NodeId,
    },
    /// A node has a load balancer in a network that none of its tasks is in.
    #[error(
        "network {network}: node {node} has an address and no task in the network; if that stays so, look at the \
         leader's log"
    )]
    NodeNeedsNoAddress {
        /// The network.
        network: NetworkId,
        /// The node.
        node: NodeId,
    },
    /// The leader takes an address for held that nobody has.
    #[error(
        "network {network}: the leader holds address {address} for {holder}, which has it no more; a new leader frees it"
    )]
    AddressLeaked {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// Who is to hold it.
        holder: Owner,
    },
    /// The leader takes an address for free that somebody has: it may give it to another.
    #[error(
        "network {network}: {holder} has address {address}, which the leader takes for {}; a new leader sets it right",
        by_another(known)
    )]
    AddressForgotten {
        /// The network.
        network: NetworkId,
        /// The address.
        address: IpAddr,
        /// Who has it.
        holder: Owner,
        /// Who the leader takes for the holder, if anybody.
        known: Option<Owner>,
    },
    /// The leader takes a VXLAN id for held that nobody has.
    #[error(
        "the leader holds VXLAN id {vxlan_id} for network {network}, which has it no more; a new leader frees it"
    )]
    VxlanIdLeaked {
        /// The id.
        vxlan_id: u32,
        /// The network that is to hold it.
        network: NetworkId,
    },
    /// The leader takes a VXLAN id for free that a network has.
    #[error(
        "network {network} has VXLAN id {vxlan_id}, which the leader does not know; a new leader sets it right"
    )]
    VxlanIdForgotten {
        /// The id.
        vxlan_id: u32,
        /// The network that has it.
        network: NetworkId,
    },
}

impl Finding {
    /// What kind of finding it is, for programs: a word that stays the same.
    pub fn kind(&self) -> &'static str {
        match self {
            Finding::AddressTwice { .. } => "duplicate-address",
            Finding::AddressOutside { .. } => "address-outside-subnets",
            Finding::Unreadable { .. } => "unreadable",
            Finding::SubnetsOverlap { .. } => "overlapping-subnets",
            Finding::VxlanIdTwice { .. } => "duplicate-vxlan-id",
            Finding::PortTwice { .. } => "duplicate-port",
            Finding::NetworkGone { .. } => "network-gone",
            Finding::TaskLacksAddress { .. } => "task-without-address",
            Finding::ServiceLacksAddress { .. } => "service-without-address",
            Finding::ServiceNeedsNoAddress { .. } => "service-with-unneeded-address",
            Finding::NodeLacksAddress { .. } => "node-without-address",
            Finding::NodeNeedsNoAddress { .. } => "node-with-unneeded-address",
            Finding::AddressLeaked { .. } => "leaked-address",
            Finding::AddressForgotten { .. } => "forgotten-address",
            Finding::VxlanIdLeaked { .. } => "leaked-vxlan-id",
            Finding::VxlanIdForgotten { .. } => "forgotten-vxlan-id",
        }
    }

    /// Whether it may just be a change under way: what the allocator does about objects that others wrote comes a moment after
    /// them. It is worth a look only if it stays, or if something is used up.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Finding::ServiceLacksAddress { .. }
                | Finding::ServiceNeedsNoAddress { .. }
                | Finding::NodeLacksAddress { .. }
                | Finding::NodeNeedsNoAddress { .. }
                | Finding::NetworkGone { holder: Owner::Service(_) | Owner::Node(_), .. }
        )
    }

    /// The objects that are concerned, by id.
    pub fn object_ids(&self) -> Vec<String> {
        let texts = |ids: &[&dyn ToString]| ids.iter().map(|id| id.to_string()).collect();
        match self {
            Finding::AddressTwice { network, one, other, .. } => {
                [Some(network.to_string()), id_of(one), id_of(other)]
                    .into_iter()
                    .flatten()
                    .collect()
            }
            Finding::AddressOutside { network, holder, .. }
            | Finding::Unreadable { network, holder, .. }
            | Finding::NetworkGone { network, holder }
            | Finding::AddressLeaked { network, holder, .. }
            | Finding::AddressForgotten { network, holder, .. } => {
                [Some(network.to_string()), id_of(holder)].into_iter().flatten().collect()
            }
            Finding::SubnetsOverlap { one, other, .. }
            | Finding::VxlanIdTwice { one, other, .. } => texts(&[one, other]),
            Finding::PortTwice { one, other, .. } => texts(&[one, other]),
            Finding::TaskLacksAddress { network, task } => texts(&[network, task]),
            Finding::ServiceLacksAddress { network, service }
            | Finding::ServiceNeedsNoAddress { network, service } => texts(&[network, service]),
            Finding::NodeLacksAddress { network, node }
            | Finding::NodeNeedsNoAddress { network, node } => texts(&[network, node]),
            Finding::VxlanIdLeaked { network, .. } | Finding::VxlanIdForgotten { network, .. } => {
                texts(&[network])
            }
        }
    }
}

fn id_of(owner: &Owner) -> Option<String> {
    match owner {
        Owner::Gateway | Owner::Reserved => None,
        Owner::Service(id) => Some(id.to_string()),
        Owner::Task(id) => Some(id.to_string()),
        Owner::Node(id) => Some(id.to_string()),
    }
}

/// How the owner of an address comes by another one.
fn renew(owner: &Owner) -> &'static str {
    match owner {
        Owner::Gateway | Owner::Reserved => "remove the network and create it anew",
        Owner::Service(_) => "take the service off the network and put it on again",
        Owner::Task(_) => "force an update of its service, which makes new tasks",
        Owner::Node(_) => "drain the node until it has no task in the network",
    }
}

fn by_another(known: &Option<Owner>) -> String {
    known.as_ref().map_or_else(|| "free".to_owned(), |owner| format!("that of {owner}"))
}
