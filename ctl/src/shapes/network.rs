//! A network as `docker network inspect` shows it.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use skep_proto::swarmkit;

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
    #[serde(flatten)]
    meta: Meta,
    #[serde(rename = "Scope")]
    scope: &'static str,
    #[serde(rename = "Driver")]
    driver: String,
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
    #[serde(rename = "Options")]
    options: BTreeMap<String, String>,
    #[serde(rename = "Labels")]
    labels: BTreeMap<String, String>,
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
}

/// The network in Docker's shape.
pub fn inspected(network: &swarmkit::Network) -> Value {
    let spec = network.spec.clone().unwrap_or_default();
    let annotations = spec.annotations.unwrap_or_default();
    // What was decided, if it has been, else what was asked for.
    let driver = network.driver_state.clone().or(spec.driver_config).unwrap_or_default();
    let ipam = network.ipam.clone().or(spec.ipam).unwrap_or_default();
    let ipam_driver = ipam.driver.unwrap_or_default();
    value(&Network {
        name: &annotations.name,
        id: &network.id,
        same_id: &network.id,
        meta: (&network.meta).into(),
        scope: "swarm",
        driver: driver.name,
        enable_ipv6: spec.ipv6_enabled,
        ipam: Ipam {
            driver: if ipam_driver.name.is_empty() { "default".into() } else { ipam_driver.name },
            options: ipam_driver.options,
            config: ipam.configs.into_iter().map(subnet).collect(),
        },
        internal: spec.internal,
        attachable: spec.attachable,
        ingress: spec.ingress,
        options: driver.options,
        labels: annotations.labels,
    })
}

fn subnet(config: swarmkit::IpamConfig) -> Subnet {
    Subnet { subnet: config.subnet, range: config.range, gateway: config.gateway }
}
