//! The remote listener under connections that are slow, wrong, or there when it stops.

mod support;

use http_body_util::Full;
use skep_ca::Role;
use support::{
    caller::{call, request},
    cluster::{Cluster, channel},
    eventually,
    manager::Manager,
    script::{Script, frame},
    within,
};
use tokio::{io::AsyncWriteExt as _, net::TcpStream};
use tonic::{Code, body::Body};
use tower::ServiceExt as _;

const HEARTBEAT: &str = "/docker.swarmkit.v1.Dispatcher/Heartbeat";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_that_say_nothing_are_in_nobodys_way() {
    let home = Cluster::new("cluster-1");
    let manager = Manager::start(home.node("manager-1", Role::Manager), Script::default()).await;
    let mut silent = Vec::new();
    // More than there are turns for handshakes.
    for _ in 0..600 {
        silent.push(TcpStream::connect(&manager.addr).await.expect("connected"));
    }
    let worker = channel(&home.node("worker-1", Role::Worker), &manager.addr);
    let answer = within("an answer", call(&worker, HEARTBEAT, &[])).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert!(manager.stats.counts().open > 1);
    drop(silent);
    eventually("they are gone", || manager.stats.counts().open == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_is_no_handshake() {
    let home = Cluster::new("cluster-1");
    let manager = Manager::start(home.node("manager-1", Role::Manager), Script::default()).await;
    let mut stream = TcpStream::connect(&manager.addr).await.expect("connected");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.expect("written");
    eventually("it is counted", || manager.stats.counts().handshakes_failed == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_stops_lets_the_calls_under_way_end_and_takes_no_more() {
    let home = Cluster::new("cluster-1");
    let script = Script::default();
    let manager = Manager::start(home.node("manager-1", Role::Manager), script.clone()).await;
    let worker = channel(&home.node("worker-1", Role::Worker), &manager.addr);
    let (sender, asked) = support::caller::streaming(
        "/docker.swarmkit.v1.LogBroker/PublishLogs",
        &[("x-script", "echo")],
    );
    let response = worker.clone().oneshot(asked).await.expect("headers");
    manager.stop.cancel();
    eventually("the port is closed", || std::net::TcpStream::connect(&manager.addr).is_err()).await;
    sender.send(frame(b"last words")).await.expect("still taken");
    drop(sender);
    let answer = within("the end", support::caller::read(response)).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!(answer.data, frame(b"last words"));
    eventually("the connection is closed", || manager.stats.counts().open == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_does_not_end_is_cut_off_after_the_grace() {
    let home = Cluster::new("cluster-1");
    let script = Script::default();
    let manager = Manager::start(home.node("manager-1", Role::Manager), script.clone()).await;
    let worker = channel(&home.node("worker-1", Role::Worker), &manager.addr);
    let body = Body::new(Full::new(frame(b"")));
    let asked =
        request("/docker.swarmkit.v1.Dispatcher/Assignments", &[("x-script", "hang")], body);
    let _response = worker.oneshot(asked).await.expect("headers");
    manager.stop.cancel();
    eventually("it is cut off", || script.cancelled() == 1).await;
    eventually("the connection is closed", || manager.stats.counts().open == 0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn headers_without_end_are_refused() {
    let home = Cluster::new("cluster-1");
    let script = Script::default();
    let manager = Manager::start(home.node("manager-1", Role::Manager), script.clone()).await;
    let worker = channel(&home.node("worker-1", Role::Worker), &manager.addr);
    let long = "x".repeat(200 * 1024);
    let answer = within("an answer", call(&worker, HEARTBEAT, &[("x-long", &long)])).await;
    assert_ne!(answer.code(), Code::Ok);
    assert_eq!(script.calls(), 0);
}
