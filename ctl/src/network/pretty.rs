//! A network for people, a line each.

use skep_proto::{skep::NetworkUsage, swarmkit::Network};

use super::{driver, labels, usage};
use crate::{objects::Stored as _, page::Page};

/// The network, with its usage if the managers told it.
pub fn lines(network: &Network, usage: Option<&NetworkUsage>) -> Vec<String> {
    let spec = network.spec.clone().unwrap_or_default();
    let mut page = Page::default();
    page.value(0, "ID", &network.id);
    page.value(0, "Name", network.name());
    page.pairs("Labels", &labels(network));
    page.value(0, "Driver", driver(network));
    let options = network.driver_state.clone().or(spec.driver_config).unwrap_or_default().options;
    page.pairs("Options", &options);
    let kinds = [
        (spec.ingress, "ingress"),
        (spec.attachable, "attachable"),
        (spec.internal, "internal"),
        (spec.ipv6_enabled, "IPv6"),
    ];
    let kinds: Vec<&str> = kinds.into_iter().filter(|(is, _)| *is).map(|(_, word)| word).collect();
    page.value(0, "Kind", kinds.join(", "));
    if let Some(usage) = usage {
        self::usage(&mut page, usage);
    }
    page.into_lines()
}

fn usage(page: &mut Page, usage: &NetworkUsage) {
    if usage.node_local {
        page.value(0, "Addresses", "given by each node");
    }
    page.value(0, "Waits", &usage.waits);
    for subnet in &usage.subnets {
        page.value(0, "Subnet", &subnet.subnet);
        page.value(1, "IP range", &subnet.range);
        page.value(1, "Gateway", &subnet.gateway);
        if subnet.vxlan_id != 0 {
            page.value(1, "VXLAN ID", subnet.vxlan_id.to_string());
        }
        page.value(1, "In use", format!("{} of {}", subnet.used, subnet.total));
        page.value(1, "Free", subnet.free.to_string());
    }
    page.value(0, "Services", usage.services_total.to_string());
    page.value(0, "Tasks", usage.tasks_total.to_string());
    page.value(0, "Nodes", usage.nodes_total.to_string());
    if usage.holders.is_empty() {
        return;
    }
    page.heading(0, "Holders");
    for holder in &usage.holders {
        let place = match holder.hostname.as_str() {
            "" => String::new(),
            hostname => format!(" on {hostname}"),
        };
        let name = if holder.name.is_empty() { &holder.id } else { &holder.name };
        let text = format!("{} {name}{place}", usage::kind(holder.kind()));
        page.row(&holder.address, text);
    }
    let left = usage.holders_total.saturating_sub(usage.holders.len() as u64);
    if left > 0 {
        page.row("…", format!("and {left} more"));
    }
}
