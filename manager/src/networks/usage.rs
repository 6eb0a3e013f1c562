//! How much of each network is in use. Pure: from the store's tables to the answer.

use skep_proto::{
    skep::{NetworkUsage, NetworkUsageRequest, NetworkUsageResponse, SubnetUsage},
    swarmkit::Network,
};
use skep_store::{Object as _, Tables};

use super::holders::{Use, gather, told};
use crate::allocator::{Survey, ipam, is_node_local};

/// Holders of addresses in one answer: some 200 KiB.
const HOLDERS_TOLD_MAX: usize = 1_000;
/// The option of the driver that has the VXLAN ids, comma separated.
const VXLAN_IDS: &str = "com.docker.network.driver.overlay.vxlanid_list";

/// The usage of the networks that are asked about.
pub fn usage(tables: &Tables, request: &NetworkUsageRequest) -> NetworkUsageResponse {
    let mut networks: Vec<&Network> = match request.network_ids.as_slice() {
        [] => tables.all::<Network>().map(|network| &**network).collect(),
        ids => ids.iter().filter_map(|id| tables.get_text::<Network>(id)).map(|n| &**n).collect(),
    };
    networks.sort_by_cached_key(|network| (name(network), network.id.clone()));
    networks.dedup_by(|one, other| one.id == other.id);
    let mut uses = gather(tables, &networks);
    let mut survey = Survey::of(tables);
    let mut room = if request.holders { HOLDERS_TOLD_MAX } else { 0 };
    let networks = networks.into_iter().map(|network| {
        let Use { mut held, services, tasks, nodes } =
            uses.remove(network.id.as_str()).unwrap_or_default();
        held.sort_by_key(|(address, _)| *address);
        let holders = held.iter().take(room).map(|(address, who)| told(tables, *address, *who));
        let holders: Vec<_> = holders.collect();
        room -= holders.len();
        let (subnets, waits) = state(&mut survey, network);
        NetworkUsage {
            network_id: network.id.clone(),
            name: name(network),
            node_local: is_node_local(network),
            waits,
            subnets,
            services_total: services,
            tasks_total: tasks,
            nodes_total: nodes,
            holders,
            holders_total: held.len() as u64,
        }
    });
    NetworkUsageResponse { networks: networks.collect() }
}

fn name(network: &Network) -> String {
    network.name().unwrap_or_default().into_owned()
}

/// How full its subnets are, and why it has none if it should have some.
fn state(survey: &mut Survey, network: &Network) -> (Vec<SubnetUsage>, String) {
    match survey.network(network) {
        Ok(subnets) if subnets.is_empty() && !is_node_local(network) => {
            (Vec::new(), "the managers are about to give it a subnet".to_owned())
        }
        Ok(subnets) => {
            let ids = vxlan_ids(network, &subnets);
            (
                subnets.iter().zip(ids).map(|(subnet, id)| told_subnet(subnet, id)).collect(),
                String::new(),
            )
        }
        Err(waits) => (Vec::new(), waits.to_string()),
    }
}

/// The VXLAN id of each subnet, 0 for one without. Networks have one for each subnet, or for each subnet of IPv4.
fn vxlan_ids(network: &Network, subnets: &[ipam::SubnetUsage]) -> Vec<u32> {
    let options = network.driver_state.as_ref().map(|driver| &driver.options);
    let listed = options.and_then(|options| options.get(VXLAN_IDS)).map_or("", String::as_str);
    let listed: Vec<u32> = listed.split(',').filter_map(|id| id.trim().parse().ok()).collect();
    let each = listed.len() >= subnets.len();
    let mut listed = listed.into_iter();
    let has_one = |subnet: &ipam::SubnetUsage| each || subnet.subnet.net.addr().is_ipv4();
    subnets
        .iter()
        .map(|subnet| if has_one(subnet) { listed.next().unwrap_or(0) } else { 0 })
        .collect()
}

fn told_subnet(usage: &ipam::SubnetUsage, vxlan_id: u32) -> SubnetUsage {
    let at_most = |count: u128| u64::try_from(count).unwrap_or(u64::MAX);
    SubnetUsage {
        subnet: usage.subnet.net.to_string(),
        range: usage.subnet.range.map(|range| range.to_string()).unwrap_or_default(),
        gateway: usage.subnet.gateway.to_string(),
        vxlan_id,
        total: at_most(usage.total),
        used: at_most(usage.used),
        free: at_most(usage.free),
    }
}
