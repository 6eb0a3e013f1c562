//! Prometheus' page, made when it is asked for.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use super::clients::Reach;

/// Connections at once; Prometheus needs one.
const CONNECTIONS_MAX: usize = 16;
/// How long a client may take over its request's head.
const HEAD_TIME_MAX: Duration = Duration::from_secs(10);

/// Serves the page for as long as the process runs.
pub async fn serve(listener: TcpListener, reach: Arc<Reach>, leader_changes: Arc<AtomicU64>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = room.clone().acquire_owned().await else { return };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!("the metrics' page cannot take a connection: {error}");
                continue;
            }
        };
        let (reach, leader_changes) = (reach.clone(), leader_changes.clone());
        tokio::spawn(async move {
            let _permit = permit;
            let service = service_fn(move |request: Request<Incoming>| {
                let page = answer(&request, &reach, &leader_changes);
                async move { Ok::<_, Infallible>(page) }
            });
            // A client that breaks off is its own affair.
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME_MAX)
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

fn answer<B>(request: &Request<B>, reach: &Reach, changes: &AtomicU64) -> Response<Full<Bytes>> {
    let (status, body) = match (request.method(), request.uri().path()) {
        (&Method::GET, "/metrics") => (StatusCode::OK, render(reach, changes)),
        (_, "/metrics") => (StatusCode::METHOD_NOT_ALLOWED, "use GET\n".to_owned()),
        _ => (StatusCode::NOT_FOUND, "metrics are at /metrics\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}

fn render(reach: &Reach, changes: &AtomicU64) -> String {
    let mut registry = Registry::with_prefix("orderer");
    let mut gauge = |name, help: &str, value: u64| {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    };
    let shared = &reach.desk.shared;
    let status = reach.desk.links.node().map(|node| node.status()).unwrap_or_default();
    gauge("cluster_size", "Members of the raft group", status.members.len() as u64);
    gauge("is_leader", "Whether this orderer leads", u64::from(status.leads()));
    gauge(
        "committed_block_number",
        "The last block in this orderer's ledger",
        reach.reader.height().saturating_sub(1),
    );
    gauge(
        "snapshot_block_number",
        "The last block that the newest snapshot includes",
        shared.snapshot_block().unwrap_or(0),
    );
    let counts = shared.look(|core| core.counts());
    let mut counter = |name, help: &str, value: u64| {
        registry.register(name, help, ConstCounter::new(value));
    };
    counter(
        "leader_changes",
        "Leaders that this orderer has seen",
        changes.load(Ordering::Relaxed),
    );
    counter("proposal_failures", "Blocks that raft refused", counts.failures);
    counter("normal_proposals", "Blocks of envelopes that this orderer proposed", counts.normal);
    counter(
        "config_proposals",
        "Blocks of configuration that this orderer proposed",
        counts.config,
    );
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = encode(&mut page, &registry);
    page
}
