//! `skep network prune`.

use std::time::SystemTime;

use skep_proto::swarmkit::{Network, RemoveNetworkRequest};

use super::{is_predefined, labels, usage};
use crate::{
    commands::Session,
    errors::{Failure, one_line},
    input,
    objects::{Selection, Stored as _},
    service::logs::since::{self, Since},
    stored,
};

/// Remove the networks that no service, task or container uses. The ingress network and those that every engine has stay.
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Only those that match: until=TIME (created before it), label=KEY[=VALUE], label!=KEY[=VALUE]
    #[arg(long, value_name = "FILTER", value_parser = filter)]
    filter: Vec<Filter>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

/// A condition on the networks that are removed. All of them must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Filter {
    Until(Since),
    Label { is: bool, key: String, value: Option<String> },
}

impl Prune {
    /// Says which networks would go, asks, and prints the names of those that went.
    pub async fn run(self, mut session: Session) -> Result<(), Failure> {
        let Session { connection, output } = &mut session;
        // The list comes first: what is created after it is not looked at.
        let networks = Network::list(connection, Selection::default()).await;
        let mut networks = networks.map_err(Failure::call("list networks"))?;
        let used = usage::in_use(connection).await?;
        let now = SystemTime::now();
        networks.retain(|network| {
            let ingress = network.spec.as_ref().is_some_and(|spec| spec.ingress);
            !ingress
                && !is_predefined(network)
                && !used.contains(&network.id)
                && self.filter.iter().all(|filter| filter.admits(network, now))
        });
        networks.sort_by(|a, b| (a.name(), &a.id).cmp(&(b.name(), &b.id)));
        if networks.is_empty() {
            return Ok(());
        }
        if !self.force {
            eprintln!(
                "WARNING! This will remove the networks that no service, task or container uses:"
            );
            networks.iter().for_each(|network| eprintln!("  {}", one_line(network.name())));
            if !input::confirmed("Are you sure you want to continue? [y/N] ")? {
                return Err(Failure::Invalid("nothing was removed: it was not confirmed".into()));
            }
        }
        let mut failures = Vec::new();
        let mut removed = 0;
        for network in &networks {
            let request = RemoveNetworkRequest {
                network_id: network.id.clone(),
                ..RemoveNetworkRequest::default()
            };
            match connection.control().remove_network(connection.request(request)).await {
                Ok(_) => {
                    if removed == 0 {
                        output.line("Deleted Networks:")?;
                    }
                    removed += 1;
                    output.line(network.name())?;
                }
                Err(status) => {
                    let doing = format!("remove network {}", network.name());
                    failures.push(Failure::call(doing)(status));
                }
            }
        }
        stored::all_done(failures)
    }
}

impl Filter {
    fn admits(&self, network: &Network, now: SystemTime) -> bool {
        match self {
            Filter::Until(until) => {
                let until = until.timestamp(now);
                let created = network.meta.as_ref().and_then(|meta| meta.created_at);
                created.is_some_and(|at| (at.seconds, at.nanos) < (until.seconds, until.nanos))
            }
            Filter::Label { is, key, value } => {
                let labels = labels(network);
                let own = labels.get(key);
                *is == own.is_some_and(|own| value.as_ref().is_none_or(|value| value == own))
            }
        }
    }
}

fn filter(text: &str) -> Result<Filter, String> {
    let label = |is: bool, text: &str| {
        let (key, value) = match text.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (text, None),
        };
        Filter::Label { is, key: key.to_owned(), value }
    };
    match text.split_once('=') {
        Some(("until", time)) => since::parse(time).map(Filter::Until),
        Some(("label", rest)) => Ok(label(true, rest)),
        Some(("label!", rest)) => Ok(label(false, rest)),
        _ => Err("write until=TIME, label=KEY[=VALUE] or label!=KEY[=VALUE]".into()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use skep_proto::{
        prost_types::Timestamp,
        swarmkit::{Annotations, Meta, NetworkSpec},
    };

    use super::*;

    #[test]
    fn filters_choose_by_age_and_label() {
        let annotations = Annotations {
            labels: [("tier".to_owned(), "db".to_owned())].into(),
            ..Annotations::default()
        };
        let created_at = Some(Timestamp { seconds: 1_000, nanos: 0 });
        let network = Network {
            meta: Some(Meta { created_at, ..Meta::default() }),
            spec: Some(NetworkSpec { annotations: Some(annotations), ..NetworkSpec::default() }),
            ..Network::default()
        };
        let now = UNIX_EPOCH + Duration::from_secs(1_600);
        for (text, expected) in [
            ("until=5m", true),
            ("until=11m", false),
            ("until=1970-01-01T00:20:00Z", true),
            ("label=tier", true),
            ("label=tier=db", true),
            ("label=tier=web", false),
            ("label!=tier=web", true),
            ("label!=tier", false),
            ("label!=other", true),
        ] {
            assert_eq!(filter(text).unwrap().admits(&network, now), expected, "{text}");
        }
        for text in ["until", "until=yesterday", "name=a", "label"] {
            assert!(filter(text).is_err(), "{text}");
        }
    }
}
