//! `skep network`: what connects the containers of services, on whichever nodes they are.
//!
//! `addresses` turns the options of a new network into subnets, `usage` asks the managers who uses what.

mod addresses;
mod check;
mod create;
mod inspect;
mod list;
mod pretty;
mod prune;
mod usage;

use std::collections::BTreeMap;

use clap::Subcommand;
use serde_json::{Value, json};
use skep_proto::swarmkit::Network;

use crate::{
    commands::Session,
    errors::Failure,
    objects::Stored as _,
    output::{Column, column},
    shapes,
    stored::{self, Shown},
};

/// The label on the networks that every engine makes by itself.
const PREDEFINED_LABEL: &str = "com.docker.swarm.predefined";

/// The commands of `skep network`.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look whether addresses, subnets and ports that were given out agree
    Check(check::Check),
    /// Create a network
    Create(Box<create::Create>),
    /// Print networks in full, with how many of their addresses are in use
    Inspect(inspect::Inspection),
    /// List networks
    #[command(alias = "list")]
    Ls(list::List),
    /// Remove the networks that nothing uses
    Prune(prune::Prune),
    /// Remove networks
    #[command(alias = "remove")]
    Rm(Removal),
}

/// Remove networks.
#[derive(Debug, clap::Args)]
pub struct Removal {
    /// A network that is not there is no failure
    #[arg(short, long)]
    force: bool,
    #[command(flatten)]
    remove: stored::Remove,
}

/// Runs a command of `skep network`.
pub async fn run(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Check(check) => check.run(session).await,
        Command::Create(create) => create.run(session).await,
        Command::Inspect(inspect) => inspect.run(session).await,
        Command::Ls(list) => list.run(session).await,
        Command::Prune(prune) => prune.run(session).await,
        Command::Rm(remove) => remove.run(session).await,
    }
}

impl Removal {
    async fn run(self, session: Session) -> Result<(), Failure> {
        let removed = stored::remove::<Network>(&self.remove.names, false, session).await;
        match removed {
            Err(failure) if self.force => failure.without_missing(),
            removed => removed,
        }
    }
}

/// The name of the driver: what was decided, if it has been, else what was asked for, else the default.
fn driver(network: &Network) -> &str {
    let asked = network.spec.as_ref().and_then(|spec| spec.driver_config.as_ref());
    let driver = network.driver_state.as_ref().or(asked).map_or("", |driver| &driver.name);
    if driver.is_empty() { "overlay" } else { driver }
}

fn labels(network: &Network) -> BTreeMap<String, String> {
    let annotations = network.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
    annotations.map(|annotations| annotations.labels.clone()).unwrap_or_default()
}

/// Whether every engine makes it by itself.
fn is_predefined(network: &Network) -> bool {
    labels(network).contains_key(PREDEFINED_LABEL)
}

impl Shown for Network {
    const COLUMNS: &'static [Column] = &[
        column("ID", "NETWORK ID"),
        column("Name", "NAME"),
        column("Driver", "DRIVER"),
        column("Scope", "SCOPE"),
    ];

    fn row(&self) -> Value {
        let spec = self.spec.clone().unwrap_or_default();
        let created = self.meta.as_ref().and_then(|meta| meta.created_at.as_ref());
        let labels = labels(self).into_iter().map(|(key, value)| format!("{key}={value}"));
        json!({
            "ID": self.id,
            "Name": self.name(),
            "Driver": driver(self),
            "Scope": "swarm",
            "Attachable": spec.attachable,
            "Ingress": spec.ingress,
            "Internal": spec.internal,
            "IPv4": shapes::network::has_ipv4(&self.ipam.clone().or(spec.ipam).unwrap_or_default()),
            "IPv6": spec.ipv6_enabled,
            "CreatedAt": created.map(ToString::to_string).unwrap_or_default(),
            "Labels": labels.collect::<Vec<_>>().join(","),
        })
    }

    fn inspected(&self) -> Value {
        shapes::network::inspected(self)
    }
}
