//! `skep service inspect`: as JSON in Docker's shape, or for people.

use std::collections::BTreeMap;

use skep_proto::swarmkit::{Network, Service};

use super::pretty;
use crate::{
    commands::Session,
    errors::Failure,
    objects::{Selection, Stored as _},
    resolve::resolve,
    stored,
};

/// Print services in full.
#[derive(Debug, clap::Args)]
pub struct Inspection {
    /// Print what matters to people, in lines
    #[arg(long, conflicts_with = "format")]
    pretty: bool,
    #[command(flatten)]
    inspect: stored::Inspect,
}

impl Inspection {
    /// Prints the named services. What is found is printed also when others are not.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        if self.pretty {
            return pretty(&self.inspect.names, session).await;
        }
        stored::inspect::<Service>(self.inspect, session).await
    }
}

async fn pretty(names: &[String], mut session: Session) -> Result<(), Failure> {
    let networks = Network::list(&session.connection, Selection::default()).await;
    let networks: BTreeMap<String, String> = networks
        .map_err(Failure::call("list networks"))?
        .into_iter()
        .map(|network| (network.id.clone(), network.name().to_owned()))
        .collect();
    let mut failures = Vec::new();
    let mut first = true;
    for name in names {
        match resolve::<Service>(&session.connection, name).await {
            Ok(service) => {
                if !std::mem::take(&mut first) {
                    session.output.line("")?;
                }
                let lines = pretty::lines(&service, &networks);
                lines.iter().try_for_each(|line| session.output.line(line))?;
            }
            Err(failure) => failures.push(failure),
        }
    }
    stored::all_done(failures)
}
