//! `skep network`.

use clap::Subcommand;
use serde_json::{Value, json};
use skep_proto::swarmkit::{
    Annotations, CreateNetworkRequest, Driver, IpamConfig, IpamOptions, Network, NetworkSpec,
    ipam_config::AddressFamily,
};

use crate::{
    commands::Session,
    errors::Failure,
    input,
    objects::Stored as _,
    output::{Column, column},
    shapes,
    stored::{self, Shown},
};

/// The commands of `skep network`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Store a network
    Create(Create),
    /// List networks
    #[command(alias = "list")]
    Ls(stored::List),
    /// Print networks in full
    Inspect(stored::Inspect),
    /// Remove networks
    #[command(alias = "remove")]
    Rm(stored::Remove),
}

/// Store a network. It is stored for now; a later release connects services with it.
#[derive(Debug, clap::Args)]
pub struct Create {
    /// Let containers that belong to no service attach
    #[arg(long)]
    attachable: bool,
    /// The driver that makes the network
    #[arg(short, long, value_name = "NAME", default_value = "overlay")]
    driver: String,
    /// The gateway of each subnet, in the same order
    #[arg(long, value_name = "ADDR")]
    gateway: Vec<String>,
    /// Make this the network of published ports
    #[arg(long)]
    ingress: bool,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// The part of each subnet that containers get addresses from, in the same order
    #[arg(long, value_name = "CIDR")]
    ip_range: Vec<String>,
    /// The driver that hands out addresses
    #[arg(long, value_name = "NAME", default_value = "default")]
    ipam_driver: String,
    /// An option of that driver
    #[arg(long, value_name = "KEY=VALUE")]
    ipam_opt: Vec<String>,
    /// Addresses of IPv6 as well
    #[arg(long)]
    ipv6: bool,
    /// Add a label
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// An option of the driver
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Subnets of the network
    #[arg(long, value_name = "CIDR")]
    subnet: Vec<String>,
    /// The network's name
    name: String,
}

/// Runs a command of `skep network`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Create(create) => create.run(session).await,
        Command::Ls(list) => stored::list::<Network>(list, session).await,
        Command::Inspect(inspect) => stored::inspect::<Network>(inspect, session).await,
        Command::Rm(remove) => stored::remove::<Network>(&remove.names, false, session).await,
    }
}

impl Create {
    async fn run(self, mut session: Session) -> Result<(), Failure> {
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
        if self.gateway.len() > self.subnet.len() || self.ip_range.len() > self.subnet.len() {
            let text = "each --gateway and each --ip-range belongs to a --subnet: there are fewer";
            return Err(Failure::Usage(text.into()));
        }
        let config = |(number, subnet): (usize, &String)| IpamConfig {
            family: if subnet.contains(':') { AddressFamily::Ipv6 } else { AddressFamily::Ipv4 }
                .into(),
            subnet: subnet.clone(),
            range: self.ip_range.get(number).cloned().unwrap_or_default(),
            gateway: self.gateway.get(number).cloned().unwrap_or_default(),
            ..IpamConfig::default()
        };
        Ok(NetworkSpec {
            ipam: Some(IpamOptions {
                driver: Some(Driver {
                    name: self.ipam_driver,
                    options: input::pairs(&self.ipam_opt),
                }),
                configs: self.subnet.iter().enumerate().map(config).collect(),
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
            config_from: None,
        })
    }
}

impl Shown for Network {
    const COLUMNS: &'static [Column] = &[
        column("ID", "NETWORK ID"),
        column("Name", "NAME"),
        column("Driver", "DRIVER"),
        column("Scope", "SCOPE"),
    ];

    fn row(&self) -> Value {
        let asked = self.spec.as_ref().and_then(|s| s.driver_config.as_ref());
        let driver = self.driver_state.as_ref().or(asked);
        json!({
            "ID": self.id,
            "Name": self.name(),
            "Driver": driver.map_or("", |d| &d.name),
            "Scope": "swarm",
        })
    }

    fn inspected(&self) -> Value {
        shapes::network::inspected(self)
    }
}
