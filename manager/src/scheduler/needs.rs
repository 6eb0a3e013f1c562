//! What a task asks of its node, taken out of its spec once for all tasks of that spec.

use skep_proto::{
    ids::Id,
    swarmkit::{
        ContainerSpec, Mount, Platform, Task, mount::Type, placement_preference::Preference,
        port_config::PublishMode, task_spec::Runtime,
    },
};

use crate::placement::{Constraints, Reservation};

/// Levels of preferences that are followed; each nests the one after it. Nobody has as many levels of topology, and a spec
/// of the largest size could name tens of thousands.
pub const PREFERENCES_MAX: usize = 16;

/// Tasks that ask for the same: those of one service and one version of its spec. A task without such a version stands
/// alone, under its own id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupKey {
    owner: Id,
    version: Option<u64>,
}

impl GroupKey {
    /// The group of a task.
    pub fn of(task: &Task, id: Id) -> GroupKey {
        match (task.service_id.parse(), task.spec_version) {
            (Ok(service), Some(version)) => {
                GroupKey { owner: service, version: Some(version.index) }
            }
            _ => GroupKey { owner: id, version: None },
        }
    }
}

/// What tasks of one group have in common.
#[derive(Debug)]
pub struct Shape {
    /// The group.
    pub key: GroupKey,
    /// The service whose tasks they are.
    pub service: Option<Id>,
    /// What they ask for.
    pub needs: Needs,
}

impl Shape {
    /// Of a task, which is as good as any other one of its group.
    pub fn of(task: &Task, key: GroupKey) -> Shape {
        Shape { key, service: task.service_id.parse().ok(), needs: Needs::of(task) }
    }
}

/// A port of the node itself: protocol and number.
pub type HostPort = (i32, u32);

/// A plugin that the node's engine must have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginNeed {
    /// As the engine reports it.
    pub kind: PluginKind,
    /// With or without the tag `:latest`.
    pub name: String,
}

/// What a plugin is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PluginKind {
    Volume,
    Network,
    Log,
}

impl PluginKind {
    /// The name in a node's description.
    pub fn as_str(self) -> &'static str {
        match self {
            PluginKind::Volume => "Volume",
            PluginKind::Network => "Network",
            PluginKind::Log => "Log",
        }
    }
}

/// Everything that the filters look at, and how tasks are to be spread.
#[derive(Clone, Debug, Default)]
pub struct Needs {
    /// What is set aside on the node.
    pub reservation: Reservation,
    /// Ports of the node itself.
    pub ports: Vec<HostPort>,
    /// At most as many tasks of the service on one node; 0 for any number.
    pub max_replicas: u64,
    /// What the node must be. None when the spec's do not parse, which no manager accepts: then no node will do.
    pub constraints: Option<Constraints>,
    /// Platforms that the image is made for; empty for any.
    pub platforms: Vec<Platform>,
    /// Plugins of the engine.
    pub plugins: Vec<PluginNeed>,
    /// Labels over whose values tasks are spread, the outermost first.
    pub preferences: Vec<String>,
    /// Cluster volumes, by name.
    pub cluster_volumes: Vec<String>,
}

impl Needs {
    /// Of a task.
    pub fn of(task: &Task) -> Needs {
        let spec = task.spec.as_deref();
        let placement = spec.and_then(|spec| spec.placement.as_ref());
        let container = spec.and_then(|spec| match &spec.runtime {
            Some(Runtime::Container(container)) => Some(container),
            _ => None,
        });
        Needs {
            reservation: Reservation::of(spec),
            ports: host_ports(task),
            max_replicas: placement.map_or(0, |p| p.max_replicas),
            constraints: match placement {
                Some(placement) => Constraints::parse(&placement.constraints).ok(),
                None => Some(Constraints::default()),
            },
            platforms: placement.map(|p| p.platforms.clone()).unwrap_or_default(),
            plugins: plugins(task, container),
            preferences: placement.map(|p| preferences(&p.preferences)).unwrap_or_default(),
            cluster_volumes: mounts(container, Type::Cluster).map(|m| m.source.clone()).collect(),
        }
    }
}

/// Ports that the task takes on its node. What the allocator settled counts, and before that what the spec asks for.
fn host_ports(task: &Task) -> Vec<HostPort> {
    let Some(endpoint) = &task.endpoint else { return Vec::new() };
    let asked = || endpoint.spec.as_ref().map_or(&[][..], |spec| &spec.ports);
    let ports = if endpoint.ports.is_empty() { asked() } else { &endpoint.ports };
    let on_host = ports.iter().filter(|port| {
        port.publish_mode == i32::from(PublishMode::Host) && port.published_port != 0
    });
    let mut ports: Vec<_> = on_host.map(|port| (port.protocol, port.published_port)).collect();
    ports.sort_unstable();
    ports.dedup();
    ports
}

fn mounts(container: Option<&ContainerSpec>, kind: Type) -> impl Iterator<Item = &Mount> {
    let mounts = container.map_or(&[][..], |container| &container.mounts);
    mounts.iter().filter(move |mount| mount.r#type == i32::from(kind))
}

fn plugins(task: &Task, container: Option<&ContainerSpec>) -> Vec<PluginNeed> {
    let volumes = mounts(container, Type::Volume).filter_map(|mount| {
        let driver = mount.volume_options.as_ref()?.driver_config.as_ref()?;
        (driver.name != "local").then_some((PluginKind::Volume, &driver.name))
    });
    let networks = task.networks.iter().filter_map(|attachment| {
        let driver = attachment.network.as_ref()?.driver_state.as_ref()?;
        Some((PluginKind::Network, &driver.name))
    });
    let log = task.spec.as_ref().and_then(|spec| spec.log_driver.as_ref());
    let log =
        log.filter(|driver| driver.name != "none").map(|driver| (PluginKind::Log, &driver.name));
    let mut needs: Vec<PluginNeed> = Vec::new();
    for (kind, name) in volumes.chain(networks).chain(log) {
        let need = PluginNeed { kind, name: name.clone() };
        if !name.is_empty() && !needs.contains(&need) {
            needs.push(need);
        }
    }
    needs
}

fn preferences(all: &[skep_proto::swarmkit::PlacementPreference]) -> Vec<String> {
    let spread = all.iter().filter_map(|preference| preference.preference.as_ref());
    let spread = spread.map(|Preference::Spread(spread)| &spread.spread_descriptor);
    // What is no label is passed over, as SwarmKit does.
    let nowhere = skep_proto::swarmkit::Node::default();
    let labels = spread.filter(|key| crate::placement::label(&nowhere, key).is_some());
    labels.take(PREFERENCES_MAX).cloned().collect()
}
