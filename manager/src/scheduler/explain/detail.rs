//! Why one node does not pass one filter, in words.

use skep_proto::swarmkit::{Node, Resources, node_spec, node_status};

use super::amount::{bytes, cpus, cpus_with_unit};
use crate::{
    placement::{Reservation, is_active},
    scheduler::{
        filter::{Filter, has_plugin},
        needs::{Needs, Shape},
        nodes::{NodeIndex, NodeInfo},
        state::State,
    },
};

/// What stands in the way on this node. The node fails at the filter.
pub fn detail(
    state: &State,
    filter: Filter,
    shape: &Shape,
    at: NodeIndex,
    node: &NodeInfo,
) -> String {
    let needs = &shape.needs;
    match filter {
        Filter::Ready => availability(node.object()),
        Filter::Resources => resources(node, &needs.reservation),
        Filter::Plugins => plugins(needs, node.object()),
        Filter::Constraints => constraints(needs, node.object()),
        Filter::Platform => {
            format!("it is {}, the image is for {}", platform_of(node.object()), platforms(needs))
        }
        Filter::HostPorts => ports(state, needs, node),
        Filter::MaxReplicas => {
            let here = state.of_service(shape.service, at);
            format!("{here} of at most {} tasks of the service are here", needs.max_replicas)
        }
        Filter::Volumes => format!("wants the cluster volume {}", needs.cluster_volumes.join(", ")),
    }
}

fn availability(node: &Node) -> String {
    let status = node.status.as_ref();
    let message = status.map_or("", |status| status.message.as_str());
    let mut reasons = Vec::new();
    let state = status.map_or(node_status::State::Unknown, |status| status.state());
    match state {
        node_status::State::Ready => {}
        state => {
            let state = state.as_str_name().to_lowercase();
            reasons.push(match message {
                "" => format!("it is {state}"),
                message => format!("it is {state}: {message}"),
            });
        }
    }
    if !is_active(node) {
        let spec = node.spec.as_ref();
        let availability = spec.map_or(node_spec::Availability::Active, |s| s.availability());
        reasons.push(match availability {
            node_spec::Availability::Drain => "its availability is drain".to_owned(),
            _ => "its availability is pause".to_owned(),
        });
    }
    reasons.join("; ")
}

fn reported(node: &NodeInfo) -> Option<&Resources> {
    node.object().description.as_ref().and_then(|d| d.resources.as_ref())
}

fn resources(node: &NodeInfo, wanted: &Reservation) -> String {
    let Some(all) = reported(node) else {
        return "it does not report what it has".to_owned();
    };
    let mut short = Vec::new();
    if wanted.nano_cpus > node.free_nano_cpus() && wanted.nano_cpus > 0 {
        let free = cpus(node.free_nano_cpus());
        let all = cpus_with_unit(all.nano_cpus);
        short.push(format!("{free} of {all} free, {} reserved", cpus(wanted.nano_cpus)));
    }
    if wanted.memory_bytes > node.free_memory_bytes() && wanted.memory_bytes > 0 {
        let free = bytes(node.free_memory_bytes());
        let all = bytes(all.memory_bytes);
        let wanted = bytes(wanted.memory_bytes);
        short.push(format!("{free} of {all} memory free, {wanted} reserved"));
    }
    if let Some(lack) = node.free_generic().shortage(&wanted.generic) {
        short.push(format!("{} of {} free, {} reserved", lack.free, lack.kind, lack.wanted));
    }
    short.join("; ")
}

fn plugins(needs: &Needs, node: &Node) -> String {
    let missing = needs.plugins.iter().filter(|need| !has_plugin(node, need));
    let missing: Vec<String> =
        missing.map(|need| format!("{} plugin {}", need.kind.as_str(), need.name)).collect();
    format!("it lacks the {}", missing.join(", the "))
}

fn constraints(needs: &Needs, node: &Node) -> String {
    let Some(all) = &needs.constraints else {
        return "the constraints cannot be read".to_owned();
    };
    let failing = all.iter().filter(|constraint| !constraint.matches(node));
    let failing: Vec<String> = failing
        .map(|constraint| match (constraint.is_known(), constraint.found_on(node)) {
            (false, _) => format!("{constraint} can hold on no node"),
            (true, "") => format!("{constraint}: it has none"),
            (true, found) => format!("{constraint}: it has {found}"),
        })
        .collect();
    failing.join("; ")
}

/// The node's platform as `os/arch`.
pub fn platform_of(node: &Node) -> String {
    let platform = node.description.as_ref().and_then(|d| d.platform.as_ref());
    match platform {
        Some(platform) => format!("{}/{}", platform.os, platform.architecture),
        None => "of no known platform".to_owned(),
    }
}

/// The platforms that are asked for.
pub fn platforms(needs: &Needs) -> String {
    let any = |text: &str| if text.is_empty() { "any".to_owned() } else { text.to_owned() };
    let wanted = needs.platforms.iter().map(|p| format!("{}/{}", any(&p.os), any(&p.architecture)));
    wanted.collect::<Vec<_>>().join(", ")
}

/// A port with its protocol: `8080/tcp`.
pub fn port_text(protocol: i32, port: u32) -> String {
    let protocol = match protocol {
        0 => "tcp",
        1 => "udp",
        2 => "sctp",
        _ => "?",
    };
    format!("{port}/{protocol}")
}

fn ports(state: &State, needs: &Needs, node: &NodeInfo) -> String {
    let taken = needs.ports.iter().filter(|port| !node.ports_free(std::slice::from_ref(port)));
    let taken: Vec<String> = taken
        .map(|port| {
            let text = port_text(port.0, port.1);
            match state.holder_of_port(node, *port) {
                Some(task) => format!("port {text} is in use by task {task}"),
                None => format!("port {text} is in use"),
            }
        })
        .collect();
    taken.join("; ")
}
