//! `skep network inspect`: as JSON in Docker's shape with how much is in use, or for people.

use serde_json::Value;
use skep_proto::{skep::NetworkUsage, swarmkit::Network};

use super::{pretty, usage};
use crate::{
    commands::Session,
    errors::Failure,
    resolve::resolve,
    stored::{self, Shown as _},
};

/// Print networks in full, with how many of their addresses are in use.
#[derive(Debug, clap::Args)]
pub struct Inspection {
    /// Print what matters to people, in lines
    #[arg(long, conflicts_with = "format")]
    pretty: bool,
    /// Say who holds which address
    #[arg(short, long)]
    verbose: bool,
    #[command(flatten)]
    inspect: stored::Inspect,
}

impl Inspection {
    /// Prints the named networks. What is found is printed also when others are not.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for name in &self.inspect.names {
            match resolve::<Network>(&session.connection, name).await {
                Ok(network) => found.push(network),
                Err(failure) => failures.push(failure),
            }
        }
        let usages = match found.is_empty() {
            true => None,
            false => {
                let ids = found.iter().map(|network| network.id.clone()).collect();
                usage::of(&session.connection, ids, self.verbose).await?
            }
        };
        let usage = |network: &Network| usages.as_ref().and_then(|all| all.get(&network.id));
        if self.pretty {
            for (number, network) in found.iter().enumerate() {
                if number > 0 {
                    session.output.line("")?;
                }
                let lines = pretty::lines(network, usage(network));
                lines.iter().try_for_each(|line| session.output.line(line))?;
            }
        } else {
            let values = found.iter().map(|network| self.value(network, usage(network)));
            session.output.inspect(&values.collect::<Vec<_>>(), &self.inspect.options)?;
        }
        stored::all_done(failures)
    }

    fn value(&self, network: &Network, usage: Option<&NetworkUsage>) -> Value {
        let mut value = network.inspected();
        value["Usage"] = usage.map_or(Value::Null, |usage| usage::value(usage, self.verbose));
        value
    }
}
