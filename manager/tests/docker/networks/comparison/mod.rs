//! The same networks and services on a stock manager and on ours: what workers are told must be the same, field by field,
//! and in value where nothing is drawn at random.

mod described;
mod script;
mod side;

use std::collections::BTreeMap;

use described::{Allowed, differences, unused};
use side::Side;
use skep_ca::connect;
use skep_proto::swarmkit::SessionMessage;
use skep_testkit::skepd_process::Skepd;

use crate::support::{PLAIN, docker, swarm_of};

/// Differences that are known and wanted.
const ALLOWED: &[Allowed] = &[
    Allowed {
        path: "network.spec.ipam.configs",
        reason: "a stock manager writes the gateway that it chose into the spec; specs are their authors' here",
    },
    Allowed {
        path: "service rr/service.endpoint",
        reason: "a stock manager has none until the first update; then it is the same",
    },
    Allowed {
        path: "service reserving",
        reason: "addresses that are reserved are given to nobody",
    },
    Allowed {
        path: "attachment <network reserving>.addresses",
        reason: "addresses that are reserved are given to nobody",
    },
    Allowed {
        path: "refused/a name that is taken",
        reason: "AlreadyExists rather than Unknown: programs can tell it from a failure",
    },
    Allowed {
        path: "refused/a predefined name",
        reason: "PermissionDenied, as Docker's own API says, rather than Unknown",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn a_stock_manager_would_have_given_the_same() {
    let Some(swarm) = swarm_of(1, &[PLAIN; 3]).await else { return };
    let (leader, worker) = (swarm.engine(0), swarm.engine(1));
    let advertise = leader.addr().to_string();
    let drained = ["swarm", "init", "--advertise-addr", &advertise, "--availability", "drain"];
    docker(leader, &drained).unwrap();
    let token = docker(leader, &["swarm", "join-token", "--quiet", "worker"]).unwrap();
    let remote = format!("{advertise}:2377");
    docker(worker, &["swarm", "join", "--token", token.trim(), &remote]).unwrap();
    let manager: &Skepd = &swarm.cluster.managers[0];
    swarm.join(swarm.engine(2), manager).await;

    let stock = connect::unix_tls(&leader.control_socket());
    let mut stock = Side::new(stock, remote, worker);
    let mut ours = Side::new(manager.channel(), manager.addr().to_string(), swarm.engine(2));
    // They do not meet, so they may run side by side.
    tokio::join!(script::run(&mut stock), script::run(&mut ours));
    let sessions = (stock.session().await, ours.session().await);
    compare_keys(&sessions.0, &sessions.1);
    let (stock, ours) = (stock.finish().await, ours.finish().await);
    let found = differences(&stock, &ours, ALLOWED);
    assert!(found.is_empty(), "{} differences:\n{}", found.len(), found.join("\n"));
    assert_eq!(unused(&stock, &ours, ALLOWED), [""; 0], "these do not differ any more");
}

/// Three keys of a kind, each newer than the one before, as engines need them; what they are is drawn at random.
fn compare_keys(stock: &SessionMessage, ours: &SessionMessage) {
    let shape = |session: &SessionMessage| {
        let mut kinds: BTreeMap<String, Vec<_>> = BTreeMap::new();
        for key in &session.network_bootstrap_keys {
            let of_kind = kinds.entry(key.subsystem.clone()).or_default();
            of_kind.push((key.algorithm, key.key.len(), key.lamport_time));
        }
        kinds
    };
    for (name, session) in [("stock", stock), ("ours", ours)] {
        let kinds = shape(session);
        let names: Vec<&str> = kinds.keys().map(String::as_str).collect();
        assert_eq!(names, ["networking:gossip", "networking:ipsec"], "{name}");
        for (kind, keys) in &kinds {
            assert_eq!(keys.len(), 3, "{name}: {kind}");
            assert!(keys.is_sorted_by(|a, b| a.2 < b.2), "{name}: {kind}: {keys:?}");
        }
    }
    let without_time = |session: &SessionMessage| -> Vec<_> {
        let keys = session.network_bootstrap_keys.iter();
        let mut keys: Vec<_> =
            keys.map(|k| (k.subsystem.clone(), k.algorithm, k.key.len())).collect();
        keys.sort();
        keys
    };
    assert_eq!(without_time(stock), without_time(ours));
}
