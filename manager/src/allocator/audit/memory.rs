//! Whether the leader's memory of what is held is what the store says.

use skep_store::Tables;

use super::{Finding, networks::Networks, objects::Holders};
use crate::allocator::{ipam::Ipam, vxlan::VxlanIds};

/// What the memory holds for somebody who has it no more, and what somebody has that the memory does not know of. Both are of
/// one moment: the memory has seen all that is in these tables.
pub fn compare(tables: &Tables, ipam: &Ipam, vxlan: &VxlanIds) -> Vec<Finding> {
    // What does not agree in the tables alone is the audit's.
    let mut ignored = Vec::new();
    let networks = Networks::of(tables, &mut ignored);
    let held = Holders::of(tables, &networks, &mut ignored);
    let mut findings = Vec::new();
    for network in ipam.networks() {
        for (address, holder) in ipam.held(&network) {
            if held.get(&(network, address)) != Some(&holder) {
                findings.push(Finding::AddressLeaked { network, address, holder });
            }
        }
    }
    for ((network, address), holder) in held {
        let known = ipam.owner(&network, address);
        // Who has an address in a network that is gone, and is no task, is to lose it.
        if known != Some(holder) && networks.0.contains_key(&network) {
            findings.push(Finding::AddressForgotten { network, address, holder, known });
        }
    }
    for (vxlan_id, network) in vxlan.held() {
        let has = networks.0.get(&network).is_some_and(|known| known.vxlan_ids.contains(&vxlan_id));
        if !has {
            findings.push(Finding::VxlanIdLeaked { vxlan_id, network });
        }
    }
    for (network, known) in &networks.0 {
        for vxlan_id in known.vxlan_ids.iter().copied() {
            if vxlan.owner(vxlan_id) != Some(*network) {
                findings.push(Finding::VxlanIdForgotten { vxlan_id, network: *network });
            }
        }
    }
    findings
}
