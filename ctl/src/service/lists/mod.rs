//! The parts of a spec that hold several values: environment, labels, mounts, ports and the like.
//!
//! `service create` names values to add, `service update` values to add and values to remove; here both are one change.
//! What is removed goes first, so that an option can replace a value by removing and adding it. Removing what is not there
//! does nothing, as in Docker.

mod capabilities;
mod keyed;
mod mounts;
mod of_create;
mod of_update;
mod references;
mod values;

use std::path::PathBuf;

use skep_proto::swarmkit::{
    ConfigReference, EndpointSpec, GenericResource, Mount, NetworkAttachmentConfig,
    PlacementPreference, PortConfig, SecretReference, ServiceSpec, container_spec::Ulimit,
};

pub use of_create::CreateLists;
pub use of_update::UpdateLists;

use self::keyed::{Change, key_of_pair};
use super::{options::container_of, ports::PortKey};
use crate::{connect::Connection, errors::Failure, input};

/// What is to change, list by list.
#[derive(Debug, Default)]
struct Lists {
    cap_add: Vec<String>,
    cap_drop: Vec<String>,
    config: Change<references::Given>,
    constraint: Change<String>,
    container_label: Change<String>,
    dns: Change<String>,
    dns_option: Change<String>,
    dns_search: Change<String>,
    env: Change<String>,
    generic_resource: Change<GenericResource>,
    group: Change<String>,
    host: Change<String>,
    label: Change<String>,
    mount: Change<Mount>,
    network: Change<NetworkAttachmentConfig>,
    placement_pref: Change<PlacementPreference, PlacementPreference>,
    publish: Change<PortConfig, PortKey>,
    secret: Change<references::Given>,
    sysctl: Change<String>,
    ulimit: Change<Ulimit>,
}

/// The variables that files name, in their order.
fn env_files(files: &[PathBuf]) -> Result<Vec<String>, Failure> {
    let mut variables = Vec::new();
    for file in files {
        let refused = |why: String| Failure::Invalid(format!("{}: {why}", file.display()));
        let bytes = input::file(file)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| refused("is no text".into()))?;
        variables.extend(values::env_file(text).map_err(refused)?);
    }
    Ok(variables)
}

impl Lists {
    /// Makes the changes. Secrets, configs and networks are looked up by their names.
    async fn apply(&self, connection: &Connection, spec: &mut ServiceSpec) -> Result<(), Failure> {
        let annotations = spec.annotations.get_or_insert_default();
        self.label.apply_to_map(&mut annotations.labels);
        self.apply_to_ports(&mut spec.endpoint);

        // Where old clients put a service's networks; the managers look there only while the task names none.
        let networks_of_service = spec.networks.clone();
        let task = spec.task.get_or_insert_default();
        if !self.constraint.is_empty() || !self.placement_pref.is_empty() {
            let placement = task.placement.get_or_insert_default();
            self.constraint.apply(&mut placement.constraints, |c| c.split_whitespace().collect());
            placement.preferences.retain(|own| !self.placement_pref.remove.contains(own));
            placement.preferences.extend(self.placement_pref.add.iter().cloned());
        }
        if !self.generic_resource.is_empty() {
            let resources = task.resources.get_or_insert_default();
            let reserved = resources.reservations.get_or_insert_default();
            self.generic_resource.apply(&mut reserved.generic, values::generic_kind);
        }
        if !self.network.is_empty() {
            if task.networks.is_empty() {
                task.networks = networks_of_service;
            }
            references::networks(connection, &self.network, &mut task.networks).await?;
        }

        let container = container_of(task)?;
        self.env.apply(&mut container.env, |variable| key_of_pair(variable));
        self.container_label.apply_to_map(&mut container.labels);
        self.sysctl.apply_to_map(&mut container.sysctls);
        self.group.apply(&mut container.groups, String::clone);
        self.host.apply(&mut container.hosts, String::clone);
        self.mount.apply(&mut container.mounts, |mount| mount.target.clone());
        self.ulimit.apply(&mut container.ulimits, |ulimit| ulimit.name.clone());
        if !(self.dns.is_empty() && self.dns_option.is_empty() && self.dns_search.is_empty()) {
            let dns = container.dns_config.get_or_insert_default();
            self.dns.apply(&mut dns.nameservers, String::clone);
            self.dns_option.apply(&mut dns.options, String::clone);
            self.dns_search.apply(&mut dns.search, String::clone);
        }
        capabilities::apply(
            &self.cap_add,
            &self.cap_drop,
            &mut container.capability_add,
            &mut container.capability_drop,
        );
        let secret_name = |s: &SecretReference| (s.secret_name.clone(), s.secret_id.clone());
        let config_name = |c: &ConfigReference| (c.config_name.clone(), c.config_id.clone());
        self.secret.remove_named(&mut container.secrets, secret_name);
        self.config.remove_named(&mut container.configs, config_name);
        references::secrets(connection, &self.secret.add, &mut container.secrets).await?;
        references::configs(connection, &self.config.add, &mut container.configs).await
    }

    fn apply_to_ports(&self, endpoint: &mut Option<EndpointSpec>) {
        if self.publish.is_empty() {
            return;
        }
        let ports = &mut endpoint.get_or_insert_with(EndpointSpec::default).ports;
        ports.retain(|port| !self.publish.remove.iter().any(|key| key.names(port)));
        for port in &self.publish.add {
            // The same container port published in the same way moves to its new number.
            let way = |p: &PortConfig| (p.target_port, p.protocol, p.publish_mode);
            match ports
                .iter_mut()
                .find(|own| way(own) == way(port) && own.published_port == port.published_port)
            {
                Some(own) => own.clone_from(port),
                None => ports.push(port.clone()),
            }
        }
    }
}
