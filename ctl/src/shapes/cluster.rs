//! The cluster as Docker's interface shows a swarm, without what lets others in: tokens and keys have commands of
//! their own.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use skep_proto::swarmkit;

use super::{Driver, Meta, nanoseconds, value};

#[derive(Serialize)]
struct Cluster<'c> {
    #[serde(rename = "ID")]
    id: &'c str,
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Spec")]
    spec: Spec,
    #[serde(rename = "TLSInfo")]
    tls_info: TlsInfo,
    #[serde(rename = "RootRotationInProgress")]
    root_rotation_in_progress: bool,
    #[serde(rename = "DefaultAddrPool")]
    default_addr_pool: &'c [String],
    #[serde(rename = "SubnetSize")]
    subnet_size: u32,
    #[serde(rename = "DataPathPort")]
    data_path_port: u32,
}

#[derive(Serialize)]
struct TlsInfo {
    #[serde(rename = "TrustRoot")]
    trust_root: String,
    #[serde(rename = "TrustRootDigest", skip_serializing_if = "String::is_empty")]
    trust_root_digest: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    name: String,
    labels: BTreeMap<String, String>,
    orchestration: Orchestration,
    raft: Raft,
    dispatcher: Dispatcher,
    #[serde(rename = "CAConfig")]
    ca_config: CaConfig,
    task_defaults: TaskDefaults,
    encryption_config: Encryption,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Orchestration {
    task_history_retention_limit: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Raft {
    snapshot_interval: u64,
    keep_old_snapshots: u64,
    log_entries_for_slow_followers: u64,
    election_tick: u32,
    heartbeat_tick: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Dispatcher {
    heartbeat_period: Option<i64>,
}

#[derive(Serialize)]
struct CaConfig {
    #[serde(rename = "NodeCertExpiry")]
    node_cert_expiry: Option<i64>,
    #[serde(rename = "ExternalCAs", skip_serializing_if = "Vec::is_empty")]
    external_cas: Vec<ExternalCa>,
    #[serde(rename = "ForceRotate", skip_serializing_if = "is_zero")]
    force_rotate: u64,
}

#[derive(Serialize)]
struct ExternalCa {
    #[serde(rename = "Protocol")]
    protocol: &'static str,
    #[serde(rename = "URL")]
    url: String,
    #[serde(rename = "Options", skip_serializing_if = "BTreeMap::is_empty")]
    options: BTreeMap<String, String>,
    #[serde(rename = "CACert")]
    ca_cert: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TaskDefaults {
    #[serde(skip_serializing_if = "Option::is_none")]
    log_driver: Option<Driver>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Encryption {
    auto_lock_managers: bool,
}

/// The cluster in Docker's shape.
pub fn inspected(cluster: &swarmkit::Cluster) -> Value {
    let ca = cluster.root_ca.as_ref();
    value(&Cluster {
        id: &cluster.id,
        meta: (&cluster.meta).into(),
        spec: spec(cluster.spec.clone().unwrap_or_default()),
        tls_info: TlsInfo {
            trust_root: ca
                .map(|ca| String::from_utf8_lossy(&ca.ca_cert).into_owned())
                .unwrap_or_default(),
            trust_root_digest: ca.map(|ca| ca.ca_cert_hash.clone()).unwrap_or_default(),
        },
        root_rotation_in_progress: ca.is_some_and(|ca| ca.root_rotation.is_some()),
        default_addr_pool: &cluster.default_address_pool,
        subnet_size: cluster.subnet_size,
        data_path_port: cluster.vxlanudp_port,
    })
}

fn spec(spec: swarmkit::ClusterSpec) -> Spec {
    let annotations = spec.annotations.unwrap_or_default();
    let raft = spec.raft.unwrap_or_default();
    let ca = spec.ca_config.unwrap_or_default();
    Spec {
        name: annotations.name,
        labels: annotations.labels,
        orchestration: Orchestration {
            task_history_retention_limit: spec
                .orchestration
                .unwrap_or_default()
                .task_history_retention_limit,
        },
        raft: Raft {
            snapshot_interval: raft.snapshot_interval,
            keep_old_snapshots: raft.keep_old_snapshots,
            log_entries_for_slow_followers: raft.log_entries_for_slow_followers,
            election_tick: raft.election_tick,
            heartbeat_tick: raft.heartbeat_tick,
        },
        dispatcher: Dispatcher {
            heartbeat_period: nanoseconds(&spec.dispatcher.unwrap_or_default().heartbeat_period),
        },
        ca_config: CaConfig {
            node_cert_expiry: nanoseconds(&ca.node_cert_expiry),
            external_cas: ca.external_cas.into_iter().map(external_ca).collect(),
            force_rotate: ca.force_rotate,
        },
        task_defaults: TaskDefaults {
            log_driver: spec
                .task_defaults
                .and_then(|defaults| defaults.log_driver)
                .as_ref()
                .map(Driver::from),
        },
        encryption_config: Encryption {
            auto_lock_managers: spec.encryption_config.unwrap_or_default().auto_lock_managers,
        },
    }
}

fn external_ca(ca: swarmkit::ExternalCa) -> ExternalCa {
    ExternalCa {
        protocol: "cfssl",
        url: ca.url,
        options: ca.options,
        ca_cert: String::from_utf8_lossy(&ca.ca_cert).into_owned(),
    }
}

fn is_zero(number: &u64) -> bool {
    *number == 0
}
