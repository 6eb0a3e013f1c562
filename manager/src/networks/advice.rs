//! What would help a task that waits for an address. Pure: from the store's tables to sentences.

use skep_proto::skep::{NetworkUsage, NetworkUsageRequest, SubnetUsage};
use skep_store::Tables;

use super::usage::usage;

/// What would help a task on these networks, a sentence for each network that the managers give out addresses of, those
/// that are full first.
pub fn advice(tables: &Tables, network_ids: &[String]) -> Vec<String> {
    if network_ids.is_empty() {
        return Vec::new();
    }
    let request = NetworkUsageRequest { network_ids: network_ids.to_vec(), holders: false };
    let mut networks = usage(tables, &request).networks;
    networks.retain(|network| !network.node_local);
    networks.sort_by_key(|network| full(network).is_empty());
    networks.iter().map(sentence).collect()
}

fn sentence(network: &NetworkUsage) -> String {
    let name = &network.name;
    if !network.waits.is_empty() {
        return format!("network {name} has no addresses: {}", network.waits);
    }
    let full = full(network);
    if !full.is_empty() {
        return format!(
            "free addresses of network {name} by running less on it, or move the service to a network with a larger subnet \
             (`skep service update --network-rm {name} --network-add OTHER`): all of {} are in use; \
             `skep network inspect --pretty --verbose {name}` shows by whom",
            full.join(" and ")
        );
    }
    let free = network.subnets.iter().fold(0u64, |sum, subnet| sum.saturating_add(subnet.free));
    format!("network {name} has {free} free addresses (`skep network inspect --pretty {name}`)")
}

/// The subnets of a family that has no address left. A task gets an address of each family, or none at all.
fn full(network: &NetworkUsage) -> Vec<&str> {
    let is_v6 = |subnet: &&SubnetUsage| subnet.subnet.contains(':');
    let mut full = Vec::new();
    for family in [false, true] {
        let of_family = network.subnets.iter().filter(|subnet| is_v6(subnet) == family);
        if of_family.clone().all(|subnet| subnet.free == 0) {
            full.extend(of_family.map(|subnet| subnet.subnet.as_str()));
        }
    }
    full
}
