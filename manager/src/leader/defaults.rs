//! The objects that a new cluster begins with. Pure: values in, objects out.

use std::{collections::BTreeMap, time::Duration};

use rand::RngCore;
use skep_proto::{
    ids::{ClusterId, NetworkId, NodeId},
    prost_types,
    swarmkit::{
        Annotations, CaConfig, Certificate, Cluster, ClusterSpec, DispatcherConfig, Driver,
        EncryptionConfig, EncryptionKey, IpamOptions, IssuanceStatus, Network, NetworkSpec, Node,
        NodeRole, NodeSpec, OrchestrationConfig, RaftConfig, RootCa, TaskDefaults, issuance_status,
        node_spec,
    },
};

/// Name of the one cluster object.
pub const CLUSTER_NAME: &str = "default";
/// Label of the cluster object that says how the raft group ticks; without it the group ticks as SwarmKit does.
pub const TIMING_LABEL: &str = "skep.raft.timing";
/// Value of [`TIMING_LABEL`]: 100 ms ticks and PreVote, for groups without stock managers.
pub const TIMING_FAST: &str = "fast";
/// Label of networks that every node has by itself.
pub const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";
/// Subsystem of the managers' unlock key.
pub const UNLOCK_KEY_SUBSYSTEM: &str = "swarm-manager";

/// Old tasks kept for each slot (SwarmKit's default).
const TASK_HISTORY_RETENTION: i64 = 5;
/// How often workers report (SwarmKit's default).
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);
/// How long a node's certificate lives (SwarmKit's default, 90 days).
pub const NODE_CERT_EXPIRY: Duration = Duration::from_secs(90 * 24 * 3600);
/// Log entries between two snapshots (SwarmKit's default).
pub const SNAPSHOT_INTERVAL: u64 = 10_000;
/// Log entries kept behind a snapshot for followers that lag (SwarmKit's default).
const LOG_ENTRIES_FOR_SLOW_FOLLOWERS: u64 = 500;

/// UDP port of VXLAN, where a cluster names no other (Docker's default, and IANA's).
pub const DEFAULT_DATA_PATH_PORT: u32 = 4789;

/// What the founder of a cluster decides about it.
#[derive(Clone, Debug)]
pub struct ClusterSeed {
    /// The O of every certificate of the cluster.
    pub cluster_id: ClusterId,
    /// The authority, with its key and join tokens.
    pub root_ca: RootCa,
    /// The unlock key, when managers are locked from the start.
    pub unlock_key: Option<bytes::Bytes>,
    /// Pools that networks without a subnet are cut from; empty: SwarmKit's default.
    pub default_address_pool: Vec<String>,
    /// Prefix length of a network cut from the pools; 0: SwarmKit's default.
    pub subnet_size: u32,
    /// UDP port of the traffic between nodes in networks that span them.
    pub data_path_port: u32,
    /// How long node certificates live.
    pub node_cert_expiry: Duration,
    /// How often workers report.
    pub heartbeat_period: Duration,
    /// Log entries between two snapshots.
    pub snapshot_interval: u64,
    /// The raft group ticks as SwarmKit does.
    pub swarmkit_compatible: bool,
}

fn duration(value: Duration) -> Option<prost_types::Duration> {
    prost_types::Duration::try_from(value).ok()
}

fn named(name: &str, labels: &[(&str, &str)]) -> Option<Annotations> {
    let labels: BTreeMap<_, _> =
        labels.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
    Some(Annotations { name: name.to_owned(), labels, ..Default::default() })
}

/// The cluster object.
pub fn cluster(seed: &ClusterSeed) -> Cluster {
    let labels: &[_] = if seed.swarmkit_compatible { &[] } else { &[(TIMING_LABEL, TIMING_FAST)] };
    let unlock_keys = seed.unlock_key.iter().map(|key| EncryptionKey {
        subsystem: UNLOCK_KEY_SUBSYSTEM.into(),
        key: key.clone(),
        ..Default::default()
    });
    Cluster {
        id: seed.cluster_id.to_string(),
        spec: Some(ClusterSpec {
            annotations: named(CLUSTER_NAME, labels),
            orchestration: Some(OrchestrationConfig {
                task_history_retention_limit: TASK_HISTORY_RETENTION,
            }),
            raft: Some(RaftConfig {
                snapshot_interval: seed.snapshot_interval,
                keep_old_snapshots: 0,
                log_entries_for_slow_followers: LOG_ENTRIES_FOR_SLOW_FOLLOWERS,
                heartbeat_tick: 1,
                election_tick: 10,
            }),
            dispatcher: Some(DispatcherConfig {
                heartbeat_period: duration(seed.heartbeat_period),
            }),
            ca_config: Some(CaConfig {
                node_cert_expiry: duration(seed.node_cert_expiry),
                ..Default::default()
            }),
            task_defaults: Some(TaskDefaults::default()),
            encryption_config: Some(EncryptionConfig {
                auto_lock_managers: seed.unlock_key.is_some(),
            }),
            ..Default::default()
        }),
        root_ca: Some(seed.root_ca.clone()),
        unlock_keys: unlock_keys.collect(),
        default_address_pool: seed.default_address_pool.clone(),
        subnet_size: seed.subnet_size,
        vxlanudp_port: seed.data_path_port,
        ..Default::default()
    }
}

/// The founder's own node object. Its role stays worker until the role manager has seen it, as in SwarmKit.
pub fn founder(
    node_id: NodeId,
    availability: node_spec::Availability,
    data_path_port: u32,
) -> Node {
    Node {
        id: node_id.to_string(),
        spec: Some(NodeSpec {
            annotations: Some(Annotations::default()),
            desired_role: NodeRole::Manager.into(),
            membership: node_spec::Membership::Accepted.into(),
            availability: availability.into(),
        }),
        certificate: Some(Certificate {
            role: NodeRole::Manager.into(),
            cn: node_id.to_string(),
            status: Some(IssuanceStatus {
                state: issuance_status::State::Issued.into(),
                ..Default::default()
            }),
            ..Default::default()
        }),
        vxlanudp_port: data_path_port,
        ..Default::default()
    }
}

/// The network that published ports come in by.
pub fn ingress(rng: &mut impl RngCore) -> Network {
    Network {
        id: NetworkId::random(rng).to_string(),
        spec: Some(NetworkSpec {
            annotations: named("ingress", &[]),
            driver_config: Some(Driver::default()),
            ipam: Some(IpamOptions { driver: Some(Driver::default()), configs: Vec::new() }),
            ingress: true,
            ..Default::default()
        }),
        ..Default::default()
    }
}

/// The networks that every engine on Linux has by itself.
pub fn predefined_networks(rng: &mut impl RngCore) -> Vec<Network> {
    ["bridge", "host"]
        .map(|name| Network {
            id: NetworkId::random(rng).to_string(),
            spec: Some(NetworkSpec {
                annotations: named(name, &[(PREDEFINED_LABEL, "true")]),
                driver_config: Some(Driver { name: name.into(), ..Default::default() }),
                ..Default::default()
            }),
            ..Default::default()
        })
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seed() -> ClusterSeed {
        ClusterSeed {
            cluster_id: ClusterId::random(&mut rand::rng()),
            root_ca: RootCa::default(),
            unlock_key: None,
            default_address_pool: Vec::new(),
            subnet_size: 0,
            data_path_port: DEFAULT_DATA_PATH_PORT,
            node_cert_expiry: NODE_CERT_EXPIRY,
            heartbeat_period: HEARTBEAT_PERIOD,
            snapshot_interval: SNAPSHOT_INTERVAL,
            swarmkit_compatible: false,
        }
    }

    #[test]
    fn a_cluster_says_how_its_group_ticks() {
        let label = |seed: &ClusterSeed| {
            let annotations = cluster(seed).spec.unwrap().annotations.unwrap();
            annotations.labels.get(TIMING_LABEL).cloned()
        };
        assert_eq!(label(&seed()).as_deref(), Some(TIMING_FAST));
        assert_eq!(label(&ClusterSeed { swarmkit_compatible: true, ..seed() }), None);
    }

    #[test]
    fn a_cluster_with_an_unlock_key_is_locked() {
        let locked = cluster(&ClusterSeed { unlock_key: Some("key".into()), ..seed() });
        assert!(locked.spec.unwrap().encryption_config.unwrap().auto_lock_managers);
        assert_eq!(locked.unlock_keys[0].subsystem, UNLOCK_KEY_SUBSYSTEM);
        assert!(cluster(&seed()).unlock_keys.is_empty());
    }

    #[test]
    fn the_founder_is_an_accepted_manager_to_be() {
        let node = founder(NodeId::random(&mut rand::rng()), node_spec::Availability::Drain, 4790);
        assert_eq!(node.vxlanudp_port, 4790);
        let spec = node.spec.unwrap();
        assert_eq!(spec.desired_role(), NodeRole::Manager);
        assert_eq!(spec.availability(), node_spec::Availability::Drain);
        assert_eq!(node.role, i32::from(NodeRole::Worker));
    }
}
