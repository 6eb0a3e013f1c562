//! A network as `docker network inspect` shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use skep_proto::swarmkit::{self, network_spec};

use super::{Meta, value};

#[derive(Serialize)]
struct Network<'n> {
    #[serde(rename = "Name")]
    name: &'n str,
    #[serde(rename = "Id")]
    id: &'n str,
    // Listings and field lists use the spelling of every other object.
    #[serde(rename = "ID")]
    same_id: &'n str,
    #[serde(rename = "Created", skip_serializing_if = "Option::is_none")]
    created: Option<String>,
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Scope")]
    scope: &'static str,
    #[serde(rename = "Driver")]
    driver: String,
    #[serde(rename = "EnableIPv4")]
    enable_ipv4: bool,
    #[serde(rename = "EnableIPv6")]
    enable_ipv6: bool,
    #[serde(rename = "IPAM")]
    ipam: Ipam,
    #[serde(rename = "Internal")]
    internal: bool,
    #[serde(rename = "Attachable")]
    attachable: bool,
    #[serde(rename = "Ingress")]
    ingress: bool,
    #[serde(rename = "ConfigFrom")]
    config_from: ConfigFrom,
    #[serde(rename = "ConfigOnly")]
    config_only: bool,
    // Of one engine; the managers' word for who holds addresses stands under "Usage".
    #[serde(rename = "Containers")]
    containers: BTreeMap<String, String>,
    #[serde(rename = "Options")]
    options: BTreeMap<String, String>,
    #[serde(rename = "Labels")]
    labels: BTreeMap<String, String>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ConfigFrom {
    network: String,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Ipam {
    driver: String,
    options: BTreeMap<String, String>,
    config: Vec<Subnet>,
}

#[derive(Serialize)]
struct Subnet {
    #[serde(rename = "Subnet", skip_serializing_if = "String::is_empty")]
    subnet: String,
    #[serde(rename = "IPRange", skip_serializing_if = "String::is_empty")]
    range: String,
    #[serde(rename = "Gateway", skip_serializing_if = "String::is_empty")]
    gateway: String,
    #[serde(rename = "AuxiliaryAddresses", skip_serializing_if = "BTreeMap::is_empty")]
    auxiliary: BTreeMap<String, String>,
}

/// The network in Docker's shape.
pub fn inspected(network: &swarmkit::Network) -> Value {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    // What was decided, if it has been, else what was asked for.
    let driver = network.driver_state.clone().or(spec.driver_config).unwrap_or_default();
    let ipam = network.ipam.clone().or(spec.ipam).unwrap_or_default();
    let enable_ipv4 = has_ipv4(&ipam);
    let ipam_driver = ipam.driver.unwrap_or_default();
    value(&Network {
        name: &annotations.name,
        id: &network.id,
        same_id: &network.id,
        created: network.meta.and_then(|meta| meta.created_at).map(|at| at.to_string()),
        meta: (&network.meta).into(),
        scope: "swarm",
        driver: driver.name,
        enable_ipv4,
        enable_ipv6: spec.ipv6_enabled,
        ipam: Ipam {
            driver: if ipam_driver.name.is_empty() { "default".into() } else { ipam_driver.name },
            options: ipam_driver.options,
            config: ipam.configs.into_iter().map(subnet).collect(),
        },
        internal: spec.internal,
        attachable: spec.attachable,
        ingress: spec.ingress,
        config_from: ConfigFrom {
            network: match spec.config_from {
                Some(network_spec::ConfigFrom::Network(name)) => name,
                None => String::new(),
            },
        },
        config_only: false,
        containers: BTreeMap::new(),
        options: driver.options,
        labels: annotations.labels,
    })
}

/// Whether it has subnets of IPv4; the one of the pools, where none is named, is one in any swarm that was founded as usual.
pub fn has_ipv4(ipam: &swarmkit::IpamOptions) -> bool {
    let is_ipv4 = |config: &swarmkit::IpamConfig| !config.subnet.contains(':');
    ipam.configs.is_empty() || ipam.configs.iter().any(is_ipv4)
}

fn subnet(config: swarmkit::IpamConfig) -> Subnet {
    Subnet {
        subnet: config.subnet,
        range: config.range,
        gateway: config.gateway,
        auxiliary: config.reserved,
    }
}
