//! Prometheus metrics of one daemon, gathered when they are asked for: nothing is counted twice and an idle daemon
//! spends nothing. Names that SwarmKit has are SwarmKit's; ours begin with `skep_`.

use std::{convert::Infallible, fmt::Write as _};

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::{body::Bytes, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{family::Family, gauge::Gauge, info::Info},
    registry::Registry,
};
use skep_proto::swarmkit::{Config, Network, Node, Secret, Service, Task, TaskState, node_status};
use skep_store::Tables;
use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::daemon::{Daemon, State};

/// Connections at once; Prometheus needs one.
const CONNECTIONS_MAX: usize = 16;
/// How long a client may take over its request's head, so that idle connections do not take the places of others.
const HEADER_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByState {
    state: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ByPeer {
    node_id: String,
}

/// Serves `/metrics` until `shutdown`.
pub async fn serve(listener: TcpListener, daemon: Daemon, shutdown: CancellationToken) {
    let room = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    warn!(%error, "the metrics endpoint cannot take a connection");
                    continue;
                }
            },
            () = shutdown.cancelled() => return,
        };
        let daemon = daemon.clone();
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request| {
                let response = answer(&request, &daemon);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME_MAX)
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                // A client that breaks off is its own affair.
                _ = connection => {}
                () = shutdown.cancelled() => {}
            }
        });
    }
}

fn answer<B>(request: &Request<B>, daemon: &Daemon) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, render(daemon)),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = header::HeaderValue::from_static(
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    );
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

/// Everything as text.
pub fn render(daemon: &Daemon) -> String {
    let mut registry = Registry::default();
    register(&mut registry, daemon);
    let mut text = String::new();
    if encode(&mut text, &registry).is_err() {
        // Writing to a string does not fail; what is left is a fault worth seeing in the monitoring.
        let _ = writeln!(text, "# metrics could not be encoded");
    }
    text
}

fn gauge(registry: &mut Registry, name: &str, help: &str, value: u64) {
    let gauge = Gauge::<i64>::default();
    gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
    registry.register(name, help, gauge);
}

fn register(registry: &mut Registry, daemon: &Daemon) {
    let state = daemon.state();
    let states = Family::<ByState, Gauge>::default();
    for name in ["inactive", "pending", "active", "locked", "error"] {
        let labels = ByState { state: name.to_owned() };
        states.get_or_create(&labels).set(i64::from(name == state.name()));
    }
    registry.register("skep_daemon_state", "1 for the state that the daemon is in", states);
    let State::Active(node) = state else { return };

    let identity = node.identity();
    let info = vec![
        ("swarm_id", identity.cluster_id.to_string()),
        ("node_id", identity.node_id.to_string()),
    ];
    registry.register("swarm_node", "The node that this is", Info::new(info));
    let not_after = node.certificate_not_after();
    gauge(
        registry,
        "skep_node_certificate_not_after_seconds",
        "When the node's certificate ends, in seconds since 1970",
        not_after,
    );
    let manager = node.manager();
    gauge(
        registry,
        "swarm_node_manager",
        "1 while the node is a manager",
        u64::from(manager.is_some()),
    );
    let Some(manager) = manager else { return };
    raft(registry, &manager.raft_status());
    objects(registry, &manager.view());
    let shared = manager.shared();
    shared.dispatcher.metrics().register(registry);
    let sessions = shared.dispatcher.session_count() as u64;
    gauge(registry, "skep_dispatcher_sessions", "Nodes in session with this manager", sessions);
    let findings = shared.findings.count();
    let help = "Networks, addresses and ports that did not agree when this manager began to lead";
    gauge(registry, "skep_allocator_findings", help, findings);
    let readers = shared.logs.subscription_count() as u64;
    gauge(registry, "skep_log_subscriptions", "Clients that read logs of tasks", readers);
}

fn raft(registry: &mut Registry, status: &skep_proto::skep::GetRaftStatusResponse) {
    let leads = u64::from(status.serving_writes);
    gauge(registry, "swarm_manager_leader", "1 while this manager leads", leads);
    let rows: [(&str, &str, u64); 9] = [
        ("skep_raft_term", "Raft's term", status.term),
        ("skep_raft_commit_index", "Highest committed entry", status.commit_index),
        ("skep_raft_applied_index", "Highest applied entry", status.applied_index),
        ("skep_raft_last_index", "Last entry of the log", status.last_index),
        ("skep_raft_snapshot_index", "What the newest snapshot includes", status.snapshot_index),
        ("skep_raft_log_bytes", "Size of the log on disk", status.log_bytes),
        ("skep_raft_snapshot_bytes", "Size of the newest snapshot on disk", status.snapshot_bytes),
        ("skep_raft_members", "Members of the raft group", status.members.len() as u64),
        (
            "skep_raft_has_leader",
            "1 while this manager knows a leader",
            u64::from(status.leader_raft_id != 0),
        ),
    ];
    for (name, help, value) in rows {
        gauge(registry, name, help, value);
    }
    let reachable = Family::<ByPeer, Gauge>::default();
    let lag = Family::<ByPeer, Gauge>::default();
    for member in &status.members {
        let labels = ByPeer { node_id: member.node_id.clone() };
        reachable.get_or_create(&labels).set(i64::from(member.reachable));
        if status.serving_writes {
            lag.get_or_create(&labels).set(i64::try_from(member.lag_entries).unwrap_or(i64::MAX));
        }
    }
    registry.register(
        "skep_raft_peer_reachable",
        "1 while messages to the member get through",
        reachable,
    );
    registry.register(
        "skep_raft_peer_lag_entries",
        "Entries that the member lacks; only on the leader",
        lag,
    );
}

fn objects(registry: &mut Registry, tables: &Tables) {
    let nodes = Family::<ByState, Gauge>::default();
    for state in ["unknown", "down", "ready", "disconnected"] {
        nodes.get_or_create(&ByState { state: state.to_owned() }).set(0);
    }
    for node in tables.all::<Node>() {
        let state = node.status.as_ref().map(|status| status.state()).unwrap_or_default();
        let state = match state {
            node_status::State::Unknown => "unknown",
            node_status::State::Down => "down",
            node_status::State::Ready => "ready",
            node_status::State::Disconnected => "disconnected",
        };
        nodes.get_or_create(&ByState { state: state.to_owned() }).inc();
    }
    registry.register("swarm_manager_nodes", "Nodes by state", nodes);

    let tasks = Family::<ByState, Gauge>::default();
    for task in tables.all::<Task>() {
        let state = task.status.as_ref().map_or(TaskState::New, |status| status.state());
        let state = state.as_str_name().to_lowercase();
        tasks.get_or_create(&ByState { state }).inc();
    }
    registry.register("swarm_manager_tasks_total", "Tasks by state", tasks);

    let rows = [
        ("swarm_manager_services_total", "Services", tables.count::<Service>()),
        ("swarm_manager_networks_total", "Networks", tables.count::<Network>()),
        ("swarm_manager_secrets_total", "Secrets", tables.count::<Secret>()),
        ("swarm_manager_configs_total", "Configs", tables.count::<Config>()),
    ];
    for (name, help, count) in rows {
        gauge(registry, name, help, count as u64);
    }
}
