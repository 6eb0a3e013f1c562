//! The filters: each says whether one node would take a task, and why not.
//!
//! Those that depend on nothing but the node object and the spec ([`fixed`]) are asked once for each node and group of
//! tasks; the others depend on what runs where, and are asked again after every placement.

use skep_proto::swarmkit::Node;

use super::{
    needs::{Needs, PluginKind, PluginNeed},
    nodes::NodeInfo,
};
use crate::placement::platform_matches;

/// The filters, in the order in which they are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Filter {
    /// The node is up and takes tasks.
    Ready,
    /// It has what the task reserves.
    Resources,
    /// Its engine has the plugins.
    Plugins,
    /// It is as the constraints say.
    Constraints,
    /// The image runs on it.
    Platform,
    /// Its ports are free.
    HostPorts,
    /// It runs fewer tasks of the service than it may.
    MaxReplicas,
    /// It can mount the cluster volumes.
    Volumes,
}

impl Filter {
    /// Every filter, in order.
    pub const ALL: [Filter; 8] = [
        Filter::Ready,
        Filter::Resources,
        Filter::Plugins,
        Filter::Constraints,
        Filter::Platform,
        Filter::HostPorts,
        Filter::MaxReplicas,
        Filter::Volumes,
    ];

    /// A short name for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Filter::Ready => "available",
            Filter::Resources => "resources",
            Filter::Plugins => "plugins",
            Filter::Constraints => "constraints",
            Filter::Platform => "platform",
            Filter::HostPorts => "host-ports",
            Filter::MaxReplicas => "max-replicas",
            Filter::Volumes => "volumes",
        }
    }

    /// SwarmKit's words for `count` nodes that fail at this filter; tools show and match them.
    pub fn told(self, count: u32) -> String {
        let nodes = if count == 1 { "node" } else { "nodes" };
        match self {
            Filter::Ready => format!("{count} {nodes} not available for new tasks"),
            Filter::Resources => format!("insufficient resources on {count} {nodes}"),
            Filter::Plugins => format!("missing plugin on {count} {nodes}"),
            Filter::Constraints => {
                format!("scheduling constraints not satisfied on {count} {nodes}")
            }
            Filter::Platform => format!("unsupported platform on {count} {nodes}"),
            Filter::HostPorts => format!("host-mode port already in use on {count} {nodes}"),
            Filter::MaxReplicas => "max replicas per node limit exceed".to_owned(),
            Filter::Volumes => {
                format!("cannot fulfill requested CSI volume mounts on {count} {nodes}")
            }
        }
    }

    /// Whether the node passes. `of_service` counts the active tasks of the service on it.
    pub fn passes(self, needs: &Needs, node: &NodeInfo, of_service: u32) -> bool {
        match self {
            Filter::Ready => node.accepts(),
            Filter::Resources => node.has_room(&needs.reservation),
            Filter::Plugins => needs.plugins.iter().all(|need| has_plugin(node.object(), need)),
            Filter::Constraints => {
                needs.constraints.as_ref().is_some_and(|all| all.matches(node.object()))
            }
            Filter::Platform => platform_matches(&needs.platforms, node.object()),
            Filter::HostPorts => node.ports_free(&needs.ports),
            Filter::MaxReplicas => {
                needs.max_replicas == 0 || u64::from(of_service) < needs.max_replicas
            }
            // Nobody makes cluster volumes available yet.
            Filter::Volumes => needs.cluster_volumes.is_empty(),
        }
    }
}

/// Where a node stops a task, if it does: the first filter that it fails at.
pub type Verdict = Option<Filter>;

/// The first of the filters that it takes only the node object to judge.
pub fn fixed(needs: &Needs, node: &NodeInfo) -> Verdict {
    const FIXED: [Filter; 3] = [Filter::Plugins, Filter::Constraints, Filter::Platform];
    FIXED.into_iter().find(|filter| !filter.passes(needs, node, 0))
}

/// The first of all filters that the node fails at, when what [`fixed`] says of it is known.
pub fn first_failure(needs: &Needs, node: &NodeInfo, of_service: u32, fixed: Verdict) -> Verdict {
    let fails = |filter: &Filter| !filter.passes(needs, node, of_service);
    if let Some(filter) = [Filter::Ready, Filter::Resources].into_iter().find(fails) {
        return Some(filter);
    }
    fixed.or_else(|| {
        [Filter::HostPorts, Filter::MaxReplicas, Filter::Volumes].into_iter().find(fails)
    })
}

/// Whether the engine has the plugin. An engine that reports no engine at all is not asked, and one that reports no log
/// driver is too old to report them.
pub fn has_plugin(node: &Node, need: &PluginNeed) -> bool {
    let Some(engine) = node.description.as_ref().and_then(|d| d.engine.as_ref()) else {
        return true;
    };
    let mut of_kind = engine.plugins.iter().filter(|p| p.r#type == need.kind.as_str()).peekable();
    if of_kind.peek().is_none() && need.kind == PluginKind::Log {
        return true;
    }
    of_kind.any(|plugin| {
        plugin
            .name
            .strip_prefix(&need.name)
            .is_some_and(|rest| rest.is_empty() || rest == ":latest")
    })
}

/// How many nodes fail first at each filter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Failures([u32; Filter::ALL.len()]);

impl Failures {
    /// Counts a node.
    pub fn add(&mut self, verdict: Verdict) {
        if let Some(filter) = verdict {
            self.0[filter as usize] += 1;
        }
    }

    /// Takes a node back that was counted.
    pub fn remove(&mut self, verdict: Verdict) {
        if let Some(filter) = verdict {
            self.0[filter as usize] -= 1;
        }
    }

    /// SwarmKit's explanation: each filter's words, the one that the most nodes fail at first. Empty if there is no node.
    pub fn explanation(&self) -> String {
        let mut counts: Vec<(Filter, u32)> =
            Filter::ALL.into_iter().zip(self.0).filter(|(_, count)| *count > 0).collect();
        counts.sort_by_key(|(filter, count)| (std::cmp::Reverse(*count), *filter));
        let told: Vec<String> = counts.iter().map(|(f, count)| f.told(*count)).collect();
        told.join("; ")
    }

    /// The text of a task that finds no node.
    pub fn no_suitable_node(&self) -> String {
        match self.explanation() {
            text if text.is_empty() => "no suitable node".to_owned(),
            text => format!("no suitable node ({text})"),
        }
    }
}
