//! What would help against a filter, in words.

use std::collections::BTreeSet;

use skep_proto::swarmkit::{Node, node_spec};

use super::{
    amount::{bytes, cpus_with_unit},
    detail::{platform_of, platforms, port_text},
};
use crate::{
    placement::{Constraint, Operator},
    scheduler::{
        filter::{Filter, has_plugin},
        needs::Shape,
        nodes::NodeInfo,
    },
};

/// Values of a label that a hint names; more would not help who reads it.
const VALUES_NAMED_MAX: usize = 8;

/// What would help against the filter. `failing` are the nodes that fail at it, `near` those of them that fail at no
/// other, and `all` every node.
pub fn hint(
    filter: Filter,
    shape: &Shape,
    failing: &[&NodeInfo],
    near: &[&NodeInfo],
    all: &[&NodeInfo],
) -> String {
    let needs = &shape.needs;
    // Those that only this filter rejects are the ones worth changing.
    let worth = if near.is_empty() { failing } else { near };
    match filter {
        Filter::Ready => availability(worth),
        Filter::Resources => resources(shape, worth),
        Filter::Plugins => {
            let missing = needs
                .plugins
                .iter()
                .filter(|need| worth.iter().any(|node| !has_plugin(node.object(), need)));
            let missing: Vec<String> = missing
                .map(|need| format!("{} plugin {}", need.kind.as_str(), need.name))
                .collect();
            format!("install the {} on {}", missing.join(" and the "), any_of(worth.len()))
        }
        Filter::Constraints => constraints(shape, all),
        Filter::Platform => {
            let own: BTreeSet<String> = all.iter().map(|node| platform_of(node.object())).collect();
            format!(
                "add a node of platform {}, or use an image for {}",
                platforms(needs),
                listed(own.into_iter())
            )
        }
        Filter::HostPorts => {
            let ports = needs.ports.iter().map(|(protocol, port)| port_text(*protocol, *port));
            format!(
                "free port {} on {}, publish another port, publish it in mode ingress, or add a node",
                listed(ports),
                any_of(worth.len())
            )
        }
        Filter::MaxReplicas => format!(
            "allow more than {} tasks of the service on a node, or add a node",
            needs.max_replicas
        ),
        Filter::Volumes => {
            "cluster volumes are not made available yet: use a volume of a plugin on the nodes"
                .to_owned()
        }
    }
}

/// "the node" or "any of 3 nodes".
fn any_of(count: usize) -> String {
    match count {
        1 => "the node".to_owned(),
        count => format!("any of {count} nodes"),
    }
}

fn listed(values: impl Iterator<Item = String>) -> String {
    let values: Vec<String> = values.collect();
    let named = values[..values.len().min(VALUES_NAMED_MAX)].join(", ");
    match values.len().saturating_sub(VALUES_NAMED_MAX) {
        0 => named,
        more => format!("{named} and {more} more"),
    }
}

fn availability(nodes: &[&NodeInfo]) -> String {
    let held_back = |node: &&&NodeInfo| {
        let spec = node.object().spec.as_ref();
        crate::placement::is_ready(node.object())
            && spec.is_some_and(|spec| spec.availability() != node_spec::Availability::Active)
    };
    let up = nodes.iter().filter(held_back).count();
    let down = nodes.len() - up;
    let mut help = Vec::new();
    if up > 0 {
        help.push(format!(
            "make {} that {} up available (`skep node update --availability active NODE`)",
            any_of(up),
            if up == 1 { "is" } else { "are" }
        ));
    }
    if down > 0 {
        help.push(format!(
            "bring {} that {} not up back",
            any_of(down),
            if down == 1 { "is" } else { "are" }
        ));
    }
    help.join(", or ")
}

fn resources(shape: &Shape, nodes: &[&NodeInfo]) -> String {
    let wanted = &shape.needs.reservation;
    let reported =
        |node: &&&NodeInfo| node.object().description.as_ref().and_then(|d| d.resources.clone());
    let mut parts = Vec::new();
    let mut too_large = Vec::new();
    for (amount, free, whole, text) in [
        (
            wanted.nano_cpus,
            nodes.iter().map(|node| node.free_nano_cpus()).max(),
            nodes.iter().filter_map(|node| reported(&node)).map(|r| r.nano_cpus).max(),
            &cpus_with_unit as &dyn Fn(i64) -> String,
        ),
        (
            wanted.memory_bytes,
            nodes.iter().map(|node| node.free_memory_bytes()).max(),
            nodes.iter().filter_map(|node| reported(&node)).map(|r| r.memory_bytes).max(),
            &|value| format!("{} of memory", bytes(value)),
        ),
    ] {
        if amount == 0 {
            continue;
        }
        let (free, whole) = (free.unwrap_or(0), whole.unwrap_or(0));
        if amount > whole {
            too_large.push(format!("{} (the largest has {})", text(amount), text(whole)));
        } else if amount > free {
            parts.push(format!("{} more", text(amount.saturating_sub(free))));
        }
    }
    for (kind, count) in &wanted.generic {
        let free = |node: &&NodeInfo| {
            let one = [(kind.clone(), *count)].into();
            node.free_generic().shortage(&one).map_or(*count, |lack| lack.free)
        };
        let most = nodes.iter().map(free).max().unwrap_or(0);
        if most < *count {
            parts.push(format!("{} more of {kind}", count - most));
        }
    }
    if !too_large.is_empty() {
        return format!(
            "no node is large enough for {}: reserve less, or add a larger node",
            too_large.join(" and ")
        );
    }
    if parts.is_empty() {
        return "no single node has all of it: reserve less, or free a node".to_owned();
    }
    format!(
        "needs {} on {}: stop something there, reserve less, or add a node",
        parts.join(" and "),
        any_of(nodes.len())
    )
}

fn constraints(shape: &Shape, all: &[&NodeInfo]) -> String {
    let Some(constraints) = &shape.needs.constraints else {
        return "correct the constraints: they cannot be read".to_owned();
    };
    let nodes: Vec<&Node> = all.iter().map(|node| &**node.object()).collect();
    let mut told: Vec<String> = Vec::new();
    for constraint in constraints.iter() {
        let holds = nodes.iter().filter(|node| constraint.matches(node)).count();
        if holds < nodes.len() {
            told.push(one_constraint(constraint, holds, &nodes));
        }
    }
    let together = constraints.iter().count() > 1
        && constraints.iter().all(|one| nodes.iter().any(|node| one.matches(node)))
        && !nodes.iter().any(|node| constraints.matches(node));
    if together {
        told.push("no node meets all of them together".to_owned());
    }
    told.join("; ")
}

fn one_constraint(constraint: &Constraint, holds: usize, nodes: &[&Node]) -> String {
    if !constraint.is_known() {
        return format!("{constraint} can hold on no node: {} is not known", constraint.key());
    }
    if holds > 0 {
        return format!("{constraint} holds on {holds} of {} nodes", nodes.len());
    }
    let values: BTreeSet<&str> =
        nodes.iter().map(|node| constraint.found_on(node)).filter(|v| !v.is_empty()).collect();
    let have = match values.is_empty() {
        true => "nodes have no value there".to_owned(),
        false => format!("nodes have {}", listed(values.into_iter().map(str::to_owned))),
    };
    let mut text = format!("{constraint} holds on no node; {have}");
    if constraint.is_node_label() && constraint.operator() == Operator::Equal {
        let name = constraint.key().split_at_checked("node.labels.".len()).map_or("", |(_, n)| n);
        text += &format!(
            " (`skep node update --label-add {name}={} NODE` gives one the label)",
            constraint.value()
        );
    }
    text
}
