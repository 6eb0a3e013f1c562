//! `skep network create`.

use skep_proto::swarmkit::{
    Annotations, CreateNetworkRequest, Driver, IpamOptions, NetworkSpec, network_spec::ConfigFrom,
};

use super::addresses::AddressOptions;
use crate::{commands::Session, errors::Failure, input};

/// Create a network. The managers give it a subnet of the swarm's address pools, unless --subnet names one.
#[derive(Debug, clap::Args)]
pub struct Create {
    #[command(flatten)]
    addresses: AddressOptions,
    /// Let containers that belong to no service attach
    #[arg(long)]
    attachable: bool,
    /// The network on each engine that the configuration comes from, made there with --config-only; for drivers of
    /// engines such as macvlan
    #[arg(long, value_name = "NETWORK")]
    config_from: Option<String>,
    /// Not here: a network that is only a configuration belongs to a single engine, and is made there
    #[arg(long)]
    config_only: bool,
    /// The driver that makes the network
    #[arg(short, long, value_name = "NAME", default_value = "overlay")]
    driver: String,
    /// Make this the network that published ports come in by
    #[arg(long)]
    ingress: bool,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// The driver that hands out addresses
    #[arg(long, value_name = "NAME", default_value = "default")]
    ipam_driver: String,
    /// An option of that driver
    #[arg(long, value_name = "KEY=VALUE")]
    ipam_opt: Vec<String>,
    /// Addresses of IPv4: a network has them unless all its subnets are of IPv6
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    ipv4: Option<bool>,
    /// Addresses of IPv6 as well
    #[arg(long)]
    ipv6: bool,
    /// Add a label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// An option of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Where the network is known: swarm, and nothing else here
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// The network's name
    name: String,
}

impl Create {
    /// Creates the network and prints its id.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let name = self.name.clone();
        let spec = self.spec()?;
        let request = session.connection.request(CreateNetworkRequest { spec: Some(spec) });
        let reply = session.connection.control().create_network(request).await;
        let doing = format!("create network {name}");
        let network = reply.map_err(Failure::call(doing.clone()))?.into_inner().network;
        let network = network.ok_or(Failure::Incomplete { doing, missing: "network" })?;
        session.output.line(network.id)
    }

    fn spec(self) -> Result<NetworkSpec, Failure> {
        self.belongs_to_a_swarm()?;
        let configs = self.addresses.configs().map_err(Failure::Usage)?;
        Ok(NetworkSpec {
            ipam: Some(IpamOptions {
                driver: Some(Driver {
                    name: self.ipam_driver,
                    options: input::pairs(&self.ipam_opt),
                }),
                configs,
            }),
            annotations: Some(Annotations {
                name: self.name,
                labels: input::pairs(&self.label),
                ..Annotations::default()
            }),
            driver_config: Some(Driver { name: self.driver, options: input::pairs(&self.opt) }),
            ipv6_enabled: self.ipv6,
            internal: self.internal,
            attachable: self.attachable,
            ingress: self.ingress,
            config_from: self.config_from.map(ConfigFrom::Network),
        })
    }

    /// Refuses what Docker knows of networks of a single engine.
    fn belongs_to_a_swarm(&self) -> Result<(), Failure> {
        let refused = |text: String| Err(Failure::Usage(text));
        if self.config_only {
            return refused(
                "--config-only: a network that is only a configuration belongs to a single engine: make it on each with \
                 'docker network create --config-only', and name it here with --config-from"
                    .into(),
            );
        }
        match self.scope.as_deref() {
            None | Some("swarm") => {}
            Some(scope) => {
                return refused(format!(
                    "--scope {scope}: the managers know networks of scope swarm; one of a single engine is made there, \
                     with 'docker network create'"
                ));
            }
        }
        if self.ipv4 == Some(false) {
            return refused(
                "--ipv4=false: leave it out, and name subnets of IPv6 only (--subnet)".into(),
            );
        }
        Ok(())
    }
}
