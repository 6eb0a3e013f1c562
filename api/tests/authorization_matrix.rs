//! Every method of the wire against every kind of caller. The service behind the door answers `OK` to anything, so what
//! is tested is the door.

mod support;

use skep_api::routes::{Exposure, Listener, route};
use skep_ca::Role;
use skep_proto::access::{METHODS, Method};
use support::{
    caller::{Answer, call},
    cluster::{Cluster, channel},
    manager::Manager,
    script::Script,
    within,
};
use tonic::{Code, transport::Channel};

/// What the door should do with a call.
#[derive(Debug, PartialEq, Eq)]
enum Expected {
    /// It reaches the service, as this caller: kind and node.
    Served(&'static str, &'static str),
    /// `PERMISSION_DENIED` with a text that contains this.
    Denied(&'static str),
    /// `UNIMPLEMENTED`.
    Unknown,
    /// There is no connection at all.
    NoConnection,
}

use Expected::{Denied, NoConnection, Served};

struct Case {
    name: &'static str,
    channel: Channel,
    headers: &'static [(&'static str, &'static str)],
    expected: fn(&Method) -> Expected,
}

/// The forwarding metadata of a caller, as a manager writes it.
macro_rules! forwarded {
    ($node:literal, $cluster:literal $(, $unit:literal)*) => {
        &[
            ("forwarded_cert", "true"),
            ("forwarded_cert_cn", $node),
            ("forwarded_cert_org", $cluster),
            $(("forwarded_cert_ou", $unit),)*
            ("remote_addr", "192.0.2.1:9"),
        ]
    };
}

fn cases(home: &Cluster, manager: &Manager) -> Vec<Case> {
    let foreign = Cluster::new("cluster-1");
    let addr = &*manager.addr;
    let worker = || channel(&home.node("worker-1", Role::Worker), addr);
    let other_manager = || channel(&home.node("manager-2", Role::Manager), addr);
    manager.blacklist.remove("removed-worker");
    manager.blacklist.remove("removed-manager");
    manager.blacklist.demote("former-manager");
    let case = |name, channel, headers, expected| Case { name, channel, headers, expected };
    vec![
        case("no certificate", home.without_certificate(addr), &[], |m| match m.access.insecure {
            true => Served("anonymous", ""),
            false => Denied("no client certificates in request"),
        }),
        case("worker", worker(), &[], |m| match m.access.worker || m.access.insecure {
            true => Served("certificate", "worker-1"),
            false => Denied("unauthorized peer role: remote certificate not part of OUs"),
        }),
        case("manager", other_manager(), &[], |_| Served("certificate", "manager-2")),
        case(
            "removed worker",
            channel(&home.node("removed-worker", Role::Worker), addr),
            &[],
            |m| match (m.access.insecure, m.access.worker) {
                (true, _) => Served("anonymous", ""),
                (_, true) => Denied("node removed-worker was removed from swarm"),
                (_, false) => Denied("remote certificate not part of OUs"),
            },
        ),
        case(
            "removed manager",
            channel(&home.node("removed-manager", Role::Manager), addr),
            &[],
            |m| match m.access.insecure {
                true => Served("anonymous", ""),
                false => Denied("node removed-manager was removed from swarm"),
            },
        ),
        case(
            "another cluster of the same CA",
            channel(&home.of_other_organization("manager-3", Role::Manager), addr),
            &[],
            |m| match m.access.insecure {
                true => Served("anonymous", ""),
                false => Denied("remote certificate not part of organization: cluster-1"),
            },
        ),
        // Its client takes our certificate for a foreign one, just as we take its.
        case("foreign CA", channel(&foreign.node("manager-4", Role::Manager), addr), &[], |_| {
            NoConnection
        }),
        case(
            "expired certificate",
            channel(&home.expired("manager-5", Role::Manager), addr),
            &[],
            |_| NoConnection,
        ),
        case(
            "worker, passed on by a manager",
            other_manager(),
            forwarded!("worker-1", "cluster-1", "swarm-worker"),
            |m| match m.access.worker || m.access.insecure {
                true => Served("forwarded by manager-2", "worker-1"),
                false => Denied("unauthorized forwarded role, expecting: [swarm-manager]"),
            },
        ),
        case(
            "manager, passed on by a manager",
            other_manager(),
            forwarded!("manager-6", "cluster-1", "blue", "swarm-manager"),
            |_| Served("forwarded by manager-2", "manager-6"),
        ),
        case(
            "former manager",
            channel(&home.node("former-manager", Role::Manager), addr),
            &[],
            |m| match is_for_current_managers(m) {
                true => Denied("unauthorized peer role: node former-manager is not a manager"),
                false => Served("certificate", "former-manager"),
            },
        ),
        case(
            "former manager, passed on by a manager",
            other_manager(),
            forwarded!("former-manager", "cluster-1", "swarm-manager"),
            |m| match is_for_current_managers(m) {
                true => Denied("node former-manager is not a manager any more"),
                false => Served("forwarded by manager-2", "former-manager"),
            },
        ),
        case(
            "worker, passed on by a former manager",
            channel(&home.node("former-manager", Role::Manager), addr),
            forwarded!("worker-1", "cluster-1", "swarm-worker"),
            |m| match (m.access.insecure, route(m.path).expect("a route").is_of_raft()) {
                (true, _) => Served("anonymous", ""),
                (_, false) => Denied("unauthorized forwarder role: node former-manager is not"),
                (_, true) => Denied("unauthorized forwarded role, expecting: [swarm-manager]"),
            },
        ),
        case("nobody, passed on by a manager", other_manager(), forwarded!("", ""), |m| {
            match m.access.insecure {
                true => Served("anonymous", ""),
                false => Denied("missing information in forwarded request"),
            }
        }),
        case(
            "removed worker, passed on by a manager",
            other_manager(),
            forwarded!("removed-worker", "cluster-1", "swarm-worker"),
            |m| match (m.access.insecure, m.access.worker) {
                (true, _) => Served("anonymous", ""),
                (_, true) => Denied("node removed-worker was removed from swarm"),
                (_, false) => Denied("unauthorized forwarded role"),
            },
        ),
        case(
            "worker of another cluster, passed on by a manager",
            other_manager(),
            forwarded!("worker-1", "cluster-2", "swarm-worker"),
            |m| match (m.access.insecure, m.access.worker) {
                (true, _) => Served("anonymous", ""),
                (_, true) => Denied("organization mismatch, expecting: cluster-1"),
                (_, false) => Denied("unauthorized forwarded role"),
            },
        ),
        case(
            "forged by a worker",
            worker(),
            forwarded!("manager-2", "cluster-1", "swarm-manager"),
            |m| match m.access.insecure {
                true => Served("anonymous", ""),
                false => Denied("unauthorized forwarder role: remote certificate not part of OUs"),
            },
        ),
        case(
            "forged by nobody",
            home.without_certificate(addr),
            forwarded!("manager-2", "cluster-1", "swarm-manager"),
            |m| match m.access.insecure {
                true => Served("anonymous", ""),
                false => Denied("unauthorized forwarder role: no client certificates in request"),
            },
        ),
        case(
            "forged by a removed manager",
            channel(&home.node("removed-manager", Role::Manager), addr),
            forwarded!("manager-2", "cluster-1", "swarm-manager"),
            |m| match m.access.insecure {
                true => Served("anonymous", ""),
                false => Denied("unauthorized forwarder role: node removed-manager was removed"),
            },
        ),
        // SwarmKit believes one value, and only `true`; otherwise the caller's own certificate counts.
        case(
            "half a forgery by a worker",
            worker(),
            &[
                ("forwarded_cert", "1"),
                ("forwarded_cert_cn", "manager-2"),
                ("forwarded_cert_ou", "swarm-manager"),
            ],
            |m| match m.access.worker || m.access.insecure {
                true => Served("certificate", "worker-1"),
                false => Denied("unauthorized peer role"),
            },
        ),
    ]
}

/// Whether workers may not call it, and the raft group does not judge by itself who may.
fn is_for_current_managers(method: &Method) -> bool {
    !method.access.worker
        && !method.access.insecure
        && !route(method.path).expect("a route").is_of_raft()
}

fn outcome(answer: &Answer) -> String {
    match answer.code() {
        Code::Ok => format!("served as {} {:?}", answer.header("x-kind"), answer.header("x-node")),
        code => format!("{code:?} {}", answer.status.message()),
    }
}

fn as_expected(answer: &Answer, expected: &Expected) -> bool {
    match expected {
        Served(kind, node) => {
            answer.code() == Code::Ok
                && answer.header("x-kind") == *kind
                && answer.header("x-node") == *node
        }
        Denied(text) => {
            answer.code() == Code::PermissionDenied
                && answer.status.message().starts_with("Permission denied: ")
                && answer.status.message().contains(text)
        }
        Expected::Unknown => answer.code() == Code::Unimplemented,
        NoConnection => !answer.headers.contains_key("x-kind") && answer.code() != Code::Ok,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_method_is_open_to_those_that_its_roles_name_and_to_nobody_else() {
    let home = Cluster::new("cluster-1");
    let manager = Manager::start(home.node("manager-1", Role::Manager), Script::default()).await;
    let mut wrong = Vec::new();
    let mut tried = 0;
    for case in cases(&home, &manager) {
        for method in METHODS {
            let here = route(method.path).expect("a route").on(Listener::Remote);
            let expected = match (case.expected)(method) {
                NoConnection => NoConnection,
                _ if here == Exposure::Absent => Expected::Unknown,
                expected => expected,
            };
            let answer = within(case.name, call(&case.channel, method.path, case.headers)).await;
            tried += 1;
            if !as_expected(&answer, &expected) {
                let got = outcome(&answer);
                wrong.push(format!("{} {}: {got}, not {expected:?}", case.name, method.path));
            }
            let told: Vec<_> = answer
                .seen()
                .into_iter()
                .filter(|line| line.starts_with("forwarded_") || line.starts_with("remote_addr"))
                .collect();
            if !told.is_empty() {
                wrong.push(format!("{} {}: the service saw {told:?}", case.name, method.path));
            }
            if expected == NoConnection {
                break;
            }
        }
    }
    assert!(wrong.is_empty(), "{} of {tried} calls:\n{}", wrong.len(), wrong.join("\n"));
    assert!(tried > 1000, "{tried}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_no_method_is_unimplemented_for_everybody() {
    let home = Cluster::new("cluster-1");
    let script = Script::default();
    let manager = Manager::start(home.node("manager-1", Role::Manager), script.clone()).await;
    let other = channel(&home.node("manager-2", Role::Manager), &manager.addr);
    let nobody = home.without_certificate(&manager.addr);
    for channel in [other, nobody] {
        for path in [
            "/",
            "/docker.swarmkit.v1.Control",
            "/docker.swarmkit.v1.Control/",
            "/docker.swarmkit.v1.Control/DropEverything",
            "/docker.swarmkit.v1.Control/ListNodes/",
            "//docker.swarmkit.v1.Control/ListNodes",
            "/grpc.health.v1.Health/Check",
        ] {
            let answer = within(path, call(&channel, path, &[])).await;
            assert_eq!(answer.code(), Code::Unimplemented, "{path}");
        }
    }
    assert_eq!(script.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_a_forwarded_caller_is_the_one_that_the_first_manager_saw() {
    let home = Cluster::new("cluster-1");
    let manager = Manager::start(home.node("manager-1", Role::Manager), Script::default()).await;
    let other = channel(&home.node("manager-2", Role::Manager), &manager.addr);
    let heartbeat = "/docker.swarmkit.v1.Dispatcher/Heartbeat";
    let forwarded: &[_] = forwarded!("worker-1", "cluster-1", "swarm-worker");
    assert_eq!(call(&other, heartbeat, forwarded).await.header("x-remote"), "192.0.2.1:9");
    let direct = call(&other, heartbeat, &[("remote_addr", "192.0.2.1:9")]).await;
    assert!(direct.header("x-remote").starts_with("127.0.0.1:"), "{}", direct.header("x-remote"));
    let nobody = "/docker.swarmkit.v1.NodeCA/IssueNodeCertificate";
    let blank: &[_] = forwarded!("", "");
    let answer = call(&other, nobody, blank).await;
    assert_eq!((answer.header("x-kind"), answer.header("x-remote")), ("anonymous", "192.0.2.1:9"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failed_handshake_is_counted() {
    let home = Cluster::new("cluster-1");
    let manager = Manager::start(home.node("manager-1", Role::Manager), Script::default()).await;
    let expired = channel(&home.expired("manager-5", Role::Manager), &manager.addr);
    let answer = within("refusal", call(&expired, "/docker.swarmkit.v1.Health/Check", &[])).await;
    assert_ne!(answer.code(), Code::Ok);
    support::eventually("a failed handshake", || manager.stats.counts().handshakes_failed >= 1)
        .await;
}
