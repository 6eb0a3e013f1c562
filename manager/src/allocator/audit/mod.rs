//! Whether what the store says of networks agrees with itself, and with what the leader remembers. Pure, and apart from what
//! gives addresses out: it reads the objects for itself, so that a mistake there is not made here again.
//!
//! Whoever holds an address keeps it until it has ended: a task in a state past RUNNING holds nothing.

mod finding;
mod memory;
mod networks;
mod objects;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use skep_proto::{
    ids::ServiceId,
    swarmkit::{PortConfig, Service, port_config::Protocol},
};
use skep_store::Tables;

pub use finding::Finding;
pub use memory::compare;
use networks::Networks;
use objects::Holders;

use super::ports::is_ingress;

/// All that does not agree in these tables, those that are worth a look first.
pub fn audit(tables: &Tables) -> Vec<Finding> {
    let mut findings = Vec::new();
    let networks = Networks::of(tables, &mut findings);
    Holders::of(tables, &networks, &mut findings);
    ports(tables, &mut findings);
    findings.sort();
    findings.dedup();
    findings.sort_by_key(Finding::may_pass);
    findings
}

/// An ingress port is one service's.
fn ports(tables: &Tables, findings: &mut Vec<Finding>) {
    let mut held: BTreeMap<(i32, u32), ServiceId> = BTreeMap::new();
    for service in tables.all::<Service>() {
        let Ok(id) = service.id.parse() else { continue };
        let ports = service.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
        for port in ports.filter(|port| is_ingress(port) && port.published_port != 0) {
            if let Some(one) = held.insert((port.protocol, port.published_port), id) {
                findings.push(Finding::PortTwice {
                    port: port.published_port,
                    protocol: protocol(port),
                    one,
                    other: id,
                });
            }
        }
    }
}

fn protocol(port: &PortConfig) -> &'static str {
    match Protocol::try_from(port.protocol) {
        Ok(Protocol::Tcp) => "tcp",
        Ok(Protocol::Udp) => "udp",
        Ok(Protocol::Sctp) => "sctp",
        Err(_) => "unknown protocol",
    }
}
