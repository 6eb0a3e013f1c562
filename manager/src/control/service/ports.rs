//! Clashes of published ports between services.

use std::collections::HashMap;

use skep_proto::swarmkit::{PortConfig, Service, ServiceSpec, port_config::PublishMode};
use skep_store::{Object, Tables};

use super::super::errors::ControlError;

/// The ports that the spec publishes are free: an ingress port is bound on every node, so no other service may have it in
/// either mode. A host port is bound only where a task runs, so it clashes with ingress ports alone.
pub(super) fn free(tables: &Tables, spec: &ServiceSpec, id: &str) -> Result<(), ControlError> {
    let asked: HashMap<(i32, u32), PublishMode> = spec
        .endpoint
        .iter()
        .flat_map(|endpoint| &endpoint.ports)
        .filter(|port| port.published_port != 0)
        .map(|port| (key(port), port.publish_mode()))
        .collect();
    if asked.is_empty() {
        return Ok(());
    }
    for other in tables.all::<Service>().filter(|other| other.id != id) {
        for port in published(other) {
            let how = match (asked.get(&key(port)), port.publish_mode()) {
                (None, _) | (Some(PublishMode::Host), PublishMode::Host) => continue,
                (_, PublishMode::Ingress) => "as an ingress port",
                (_, PublishMode::Host) => "as a host-published port",
            };
            return Err(ControlError::argument(format!(
                "port '{}' is already in use by service '{}' ({}) {how}",
                port.published_port,
                other.name().unwrap_or_default(),
                other.id
            )));
        }
    }
    Ok(())
}

fn key(port: &PortConfig) -> (i32, u32) {
    (port.protocol, port.published_port)
}

/// What a service asked for, and what it was given where it left the choice.
fn published(service: &Service) -> impl Iterator<Item = &PortConfig> {
    let asked =
        service.spec.iter().flat_map(|spec| &spec.endpoint).flat_map(|endpoint| &endpoint.ports);
    let given = service.endpoint.iter().flat_map(|endpoint| &endpoint.ports);
    asked.chain(given).filter(|port| port.published_port != 0)
}
