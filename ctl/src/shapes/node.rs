//! A node as `docker node inspect` shows it.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use serde_json::Value;
use skep_proto::swarmkit;

use super::{Meta, value, words};

#[derive(Serialize)]
struct Node<'n> {
    #[serde(rename = "ID")]
    id: &'n str,
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Spec")]
    spec: Spec,
    #[serde(rename = "Description")]
    description: Description,
    #[serde(rename = "Status")]
    status: Status,
    #[serde(rename = "ManagerStatus", skip_serializing_if = "Option::is_none")]
    manager_status: Option<ManagerStatus>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Spec {
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    labels: BTreeMap<String, String>,
    role: &'static str,
    availability: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Description {
    hostname: String,
    platform: Platform,
    resources: Resources,
    engine: Engine,
    #[serde(rename = "TLSInfo", skip_serializing_if = "Option::is_none")]
    tls_info: Option<TlsInfo>,
}

#[derive(Serialize)]
struct Platform {
    #[serde(rename = "Architecture")]
    architecture: String,
    #[serde(rename = "OS")]
    os: String,
}

#[derive(Serialize)]
struct Resources {
    #[serde(rename = "NanoCPUs")]
    nano_cpus: i64,
    #[serde(rename = "MemoryBytes")]
    memory_bytes: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Engine {
    engine_version: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    plugins: Vec<Plugin>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Plugin {
    r#type: String,
    name: String,
}

/// Which root a node trusts, and who issued its certificate.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct TlsInfo {
    trust_root: String,
    cert_issuer_subject: String,
    cert_issuer_public_key: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Status {
    state: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    message: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    addr: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ManagerStatus {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    leader: bool,
    reachability: &'static str,
    addr: String,
}

/// The node in Docker's shape.
pub fn inspected(node: &swarmkit::Node) -> Value {
    let spec = node.spec.clone().unwrap_or_default();
    let status = node.status.clone().unwrap_or_default();
    let annotations = spec.annotations.clone().unwrap_or_default();
    value(&Node {
        id: &node.id,
        meta: (&node.meta).into(),
        spec: Spec {
            name: annotations.name,
            labels: annotations.labels,
            role: words::role(spec.desired_role()),
            availability: words::availability(node),
        },
        description: node.description.as_ref().map(Description::from).unwrap_or_default(),
        status: Status {
            state: words::node_state(node),
            message: status.message,
            addr: status.addr,
        },
        manager_status: node.manager_status.as_ref().map(|m| ManagerStatus {
            leader: m.leader,
            reachability: words::reachability(node),
            addr: m.addr.clone(),
        }),
    })
}

impl Default for Description {
    fn default() -> Description {
        Description::from(&swarmkit::NodeDescription::default())
    }
}

impl From<&swarmkit::NodeDescription> for Description {
    fn from(description: &swarmkit::NodeDescription) -> Description {
        let platform = description.platform.clone().unwrap_or_default();
        let resources = description.resources.clone().unwrap_or_default();
        let engine = description.engine.clone().unwrap_or_default();
        let plugin = |p: swarmkit::PluginDescription| Plugin { r#type: p.r#type, name: p.name };
        Description {
            hostname: description.hostname.clone(),
            platform: Platform { architecture: platform.architecture, os: platform.os },
            resources: Resources {
                nano_cpus: resources.nano_cpus,
                memory_bytes: resources.memory_bytes,
            },
            engine: Engine {
                engine_version: engine.engine_version,
                labels: engine.labels,
                plugins: engine.plugins.into_iter().map(plugin).collect(),
            },
            tls_info: description.tls_info.as_ref().map(TlsInfo::from),
        }
    }
}

impl From<&swarmkit::NodeTlsInfo> for TlsInfo {
    fn from(tls: &swarmkit::NodeTlsInfo) -> TlsInfo {
        TlsInfo {
            trust_root: String::from_utf8_lossy(&tls.trust_root).into_owned(),
            cert_issuer_subject: BASE64_STANDARD.encode(&tls.cert_issuer_subject),
            cert_issuer_public_key: BASE64_STANDARD.encode(&tls.cert_issuer_public_key),
        }
    }
}
