//! The networks that span nodes, as the store has them, and what is wrong with them alone.

use std::{collections::BTreeMap, net::IpAddr};

use ipnet::IpNet;
use skep_proto::{
    ids::NetworkId,
    swarmkit::{Network, Task},
};
use skep_store::Tables;

use super::{Finding, objects::is_live};
use crate::{
    allocator::{
        ipam::Owner,
        network::{Kind, VXLAN_IDS},
    },
    control::is_ingress_network,
};

/// A network that spans nodes.
pub(super) struct Overlay {
    /// Its subnets, as far as they can be read. None before it is given them.
    pub subnets: Vec<IpNet>,
    /// The addresses that are the network's own.
    pub own: Vec<(IpAddr, Owner)>,
    pub vxlan_ids: Vec<u32>,
    pub is_ingress: bool,
    /// It was removed, and is known only from tasks that are still on it.
    pub is_gone: bool,
}

/// All of them, by id.
pub(super) struct Networks(pub BTreeMap<NetworkId, Overlay>);

impl Networks {
    /// As the tables have them.
    pub fn of(tables: &Tables, findings: &mut Vec<Finding>) -> Networks {
        let mut networks = BTreeMap::new();
        for network in tables.all::<Network>().filter(|network| spans_nodes(network)) {
            let Ok(id) = network.id.parse() else { continue };
            networks.insert(id, overlay(id, network, false, findings));
        }
        let tasks = tables.all::<Task>().filter(|task| is_live(task));
        for network in tasks.flat_map(|task| &task.networks).filter_map(|a| a.network.as_ref()) {
            let Ok(id) = network.id.parse() else { continue };
            if spans_nodes(network) && tables.get::<Network>(&id).is_none() {
                networks.entry(id).or_insert_with(|| overlay(id, network, true, findings));
            }
        }
        let networks = Networks(networks);
        networks.overlaps(findings);
        networks.vxlan_ids(findings);
        networks
    }

    fn overlaps(&self, findings: &mut Vec<Finding>) {
        let subnets = self
            .0
            .iter()
            .flat_map(|(id, network)| network.subnets.iter().map(move |net| (*net, *id)));
        let mut subnets: Vec<_> = subnets.collect();
        subnets.sort();
        // A subnet overlaps those before it that contain it. These lie in each other, the largest first.
        let mut around: Vec<(IpNet, NetworkId)> = Vec::new();
        for (net, id) in subnets {
            while around.last().is_some_and(|(outer, _)| !outer.contains(&net)) {
                around.pop();
            }
            if let Some((outer, holder)) = around.last() {
                let (one, one_net) = (*holder, *outer);
                findings.push(Finding::SubnetsOverlap { one, one_net, other: id, other_net: net });
            }
            around.push((net, id));
        }
    }

    fn vxlan_ids(&self, findings: &mut Vec<Finding>) {
        let mut held: BTreeMap<u32, NetworkId> = BTreeMap::new();
        for (id, network) in &self.0 {
            for vxlan_id in &network.vxlan_ids {
                if let Some(one) = held.insert(*vxlan_id, *id) {
                    let vxlan_id = *vxlan_id;
                    findings.push(Finding::VxlanIdTwice { vxlan_id, one, other: *id });
                }
            }
        }
    }
}

/// Whether the managers give out the addresses of the network.
pub(super) fn spans_nodes(network: &Network) -> bool {
    Kind::of(network) == Kind::Overlay
}

fn overlay(
    id: NetworkId,
    network: &Network,
    is_gone: bool,
    findings: &mut Vec<Finding>,
) -> Overlay {
    let mut unreadable = |holder, what, text: &str| {
        findings.push(Finding::Unreadable { network: id, holder, what, text: text.to_owned() });
    };
    let mut overlay = Overlay {
        subnets: Vec::new(),
        own: Vec::new(),
        vxlan_ids: Vec::new(),
        is_ingress: is_ingress_network(network),
        is_gone,
    };
    // Without a state, what is there is no more than what was asked for.
    let Some(state) = &network.driver_state else { return overlay };
    for config in network.ipam.iter().flat_map(|ipam| &ipam.configs) {
        match config.subnet.parse::<IpNet>() {
            Ok(net) => overlay.subnets.push(net.trunc()),
            Err(_) => unreadable(Owner::Gateway, "a subnet", &config.subnet),
        }
        let gateway = (!config.gateway.is_empty()).then_some((Owner::Gateway, &config.gateway));
        let reserved = config.reserved.values().map(|text| (Owner::Reserved, text));
        for (holder, text) in reserved.chain(gateway) {
            match text.parse::<IpAddr>() {
                // A reserved address that is the gateway is the gateway's.
                Ok(address) if holder == Owner::Reserved && *text == config.gateway => {
                    overlay.own.push((address, Owner::Gateway));
                }
                Ok(address) => overlay.own.push((address, holder)),
                Err(_) => unreadable(holder, "an address", text),
            }
        }
    }
    for text in state.options.get(VXLAN_IDS).iter().flat_map(|list| list.split(',')) {
        match text.trim().parse() {
            Ok(vxlan_id) => overlay.vxlan_ids.push(vxlan_id),
            Err(_) if text.is_empty() => {}
            Err(_) => unreadable(Owner::Gateway, "a VXLAN id", text),
        }
    }
    overlay
}
