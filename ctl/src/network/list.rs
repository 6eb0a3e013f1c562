//! `skep network ls`.

use std::collections::BTreeSet;

use serde_json::Value;
use skep_proto::swarmkit::Network;

use super::{driver, is_predefined, usage};
use crate::{
    commands::Session,
    errors::Failure,
    objects::Stored as _,
    output::{Format, ListOptions, short_id},
    stored::{self, Shown as _},
};

/// List networks.
#[derive(Debug, clap::Args)]
pub struct List {
    /// Show only what matches: id=PREFIX, name=PREFIX, label=KEY[=VALUE], driver=NAME, scope=swarm, type=custom|builtin,
    /// dangling=true|false
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Print IDs in full
    #[arg(long)]
    no_trunc: bool,
    #[command(flatten)]
    options: ListOptions,
}

/// Filters that are applied here, not by the managers. Values of one key are alternatives.
#[derive(Debug, Default, PartialEq, Eq)]
struct Own {
    drivers: Vec<String>,
    scopes: Vec<String>,
    builtin: BTreeSet<bool>,
    dangling: BTreeSet<bool>,
}

impl List {
    /// Prints a row for each network.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let (own, others) = own_filters(&self.filter)?;
        let selection = stored::selection(&others).map_err(|_| unknown(&others))?;
        let networks = Network::list(&session.connection, selection).await;
        let mut networks = networks.map_err(Failure::call("list networks"))?;
        networks.retain(|network| own.admits(network));
        if !own.dangling.is_empty() {
            let used = usage::in_use(&session.connection).await?;
            networks.retain(|network| own.dangling.contains(&!used.contains(&network.id)));
        }
        networks.sort_by(|a, b| (a.name(), &a.id).cmp(&(b.name(), &b.id)));
        let cut = self.options.format == Format::Table && !self.options.quiet && !self.no_trunc;
        let rows: Vec<Value> = networks
            .iter()
            .map(|network| {
                let mut row = network.row();
                if cut {
                    row["ID"] = short_id(&network.id).into();
                }
                row
            })
            .collect();
        session.output.list(Network::COLUMNS, &rows, &self.options)
    }
}

impl Own {
    fn admits(&self, network: &Network) -> bool {
        let one_of = |wishes: &[String], own: &str| {
            wishes.is_empty() || wishes.iter().any(|wish| wish == own)
        };
        one_of(&self.drivers, driver(network))
            && one_of(&self.scopes, "swarm")
            && (self.builtin.is_empty() || self.builtin.contains(&is_predefined(network)))
    }
}

/// The filters that are applied here, and the others.
fn own_filters(filters: &[String]) -> Result<(Own, Vec<String>), Failure> {
    let (mut own, mut others) = (Own::default(), Vec::new());
    for filter in filters {
        let one_of = |choices: &str| Failure::Usage(format!("--filter {filter}: write {choices}"));
        match filter.split_once('=') {
            Some(("driver", name)) => own.drivers.push(name.to_owned()),
            Some(("scope", scope @ ("swarm" | "global" | "local"))) => {
                own.scopes.push(scope.to_owned());
            }
            Some(("scope", _)) => return Err(one_of("scope=swarm, scope=global or scope=local")),
            Some(("type", "builtin")) => drop(own.builtin.insert(true)),
            Some(("type", "custom")) => drop(own.builtin.insert(false)),
            Some(("type", _)) => return Err(one_of("type=custom or type=builtin")),
            Some(("dangling", "true" | "1")) => drop(own.dangling.insert(true)),
            Some(("dangling", "false" | "0")) => drop(own.dangling.insert(false)),
            Some(("dangling", _)) => return Err(one_of("dangling=true or dangling=false")),
            _ => others.push(filter.clone()),
        }
    }
    Ok((own, others))
}

fn unknown(filters: &[String]) -> Failure {
    let known =
        |filter: &&String| matches!(filter.split_once('='), Some(("id" | "name" | "label", _)));
    let filter = filters.iter().find(|filter| !known(filter)).map_or("", String::as_str);
    Failure::Usage(format!(
        "--filter {filter}: write KEY=VALUE; the keys are id, name, label, driver, scope, type and dangling"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_told_apart() {
        let filters = |texts: &[&str]| {
            own_filters(&texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>())
        };
        let (own, others) =
            filters(&["driver=overlay", "name=a", "type=custom", "scope=swarm"]).unwrap();
        assert_eq!(others, ["name=a"]);
        assert_eq!((own.drivers.len(), own.scopes.len()), (1, 1));
        assert_eq!(own.builtin, [false].into());
        for text in ["type=new", "scope=galaxy", "dangling=perhaps"] {
            assert!(filters(&[text]).is_err(), "{text}");
        }
    }
}
