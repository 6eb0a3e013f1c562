//! A follower passes calls on to the leader: two managers on loopback, with TLS between them and a caller before them.

mod support;

use std::time::{Duration, Instant};

use http_body_util::{BodyExt as _, Full};
use skep_api::{Leader, door};
use skep_ca::{PeerName, Role, connect};
use support::{
    LIMIT,
    caller::{call, read, request, send, streaming},
    cluster::{Cluster, channel},
    eventually,
    manager::Manager,
    script::{Script, frame},
    within,
};
use tonic::{Code, body::Body, transport::Channel};
use tower::ServiceExt as _;

const HEARTBEAT: &str = "/docker.swarmkit.v1.Dispatcher/Heartbeat";
const ISSUE: &str = "/docker.swarmkit.v1.NodeCA/IssueNodeCertificate";
const SESSION: &str = "/docker.swarmkit.v1.Dispatcher/Session";
const ASSIGNMENTS: &str = "/docker.swarmkit.v1.Dispatcher/Assignments";
const PUBLISH_LOGS: &str = "/docker.swarmkit.v1.LogBroker/PublishLogs";
const CREATE_SERVICE: &str = "/docker.swarmkit.v1.Control/CreateService";
const LIST_NODES: &str = "/docker.swarmkit.v1.Control/ListNodes";

/// A leader, a follower that knows it, and what the services of each one do.
struct Pair {
    home: Cluster,
    leader: Manager,
    leading: Script,
    follower: Manager,
    following: Script,
}

impl Pair {
    async fn start() -> Self {
        let home = Cluster::new("cluster-1");
        let (leading, following) = (Script::default(), Script::default());
        let leader = Manager::start(home.node("leader-1", Role::Manager), leading.clone()).await;
        let follower =
            Manager::start(home.node("follower-1", Role::Manager), following.clone()).await;
        follower.leader.set_remote(&leader.addr);
        Self { home, leader, leading, follower, following }
    }

    fn worker(&self) -> Channel {
        channel(&self.home.node("worker-1", Role::Worker), &self.follower.addr)
    }

    fn socket(&self) -> Channel {
        connect::unix(&self.follower.socket)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workers_call_reaches_the_leader_as_the_workers_own() {
    let pair = Pair::start().await;
    let answer = call(&pair.worker(), HEARTBEAT, &[("x-trace", "17")]).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!(answer.header("x-kind"), "forwarded by follower-1");
    assert_eq!(answer.header("x-node"), "worker-1");
    assert_eq!(answer.header("x-units"), "swarm-worker");
    assert!(answer.header("x-remote").starts_with("127.0.0.1:"));
    let redirect = format!("redirect: {}", answer.header("x-remote"));
    let seen = answer.seen();
    assert!(seen.contains(&"x-trace: 17".to_owned()), "{seen:?}");
    assert!(seen.contains(&redirect), "{seen:?}");
    assert_eq!((pair.leading.calls(), pair.following.calls()), (1, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_without_a_certificate_is_nobody_to_the_leader_and_not_the_follower() {
    let pair = Pair::start().await;
    let nobody = pair.home.without_certificate(&pair.follower.addr);
    let answer = call(&nobody, ISSUE, &[]).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!((answer.header("x-kind"), answer.header("x-node")), ("anonymous", ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_socket_speaks_to_the_leader_as_the_manager_itself() {
    let pair = Pair::start().await;
    let forged = [("forwarded_cert", "true"), ("forwarded_cert_cn", "somebody")];
    let answer = call(&pair.socket(), CREATE_SERVICE, &forged).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!(answer.header("x-kind"), "certificate");
    assert_eq!(answer.header("x-node"), "follower-1");
    let seen = answer.seen();
    assert!(seen.contains(&"redirect: 10.9.8.7:2377".to_owned()), "{seen:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_control_api_of_the_remote_listener_is_not_passed_on() {
    let pair = Pair::start().await;
    let manager = channel(&pair.home.node("manager-9", Role::Manager), &pair.follower.addr);
    let answer = call(&manager, LIST_NODES, &[]).await;
    assert_eq!(answer.header("x-node"), "manager-9");
    assert_eq!((pair.leading.calls(), pair.following.calls()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_worker_is_refused_through_a_follower_too() {
    let pair = Pair::start().await;
    pair.leader.blacklist.remove("worker-1");
    let answer = call(&pair.worker(), HEARTBEAT, &[]).await;
    assert_eq!(answer.code(), Code::PermissionDenied);
    assert_eq!(answer.status.message(), "Permission denied: node worker-1 was removed from swarm");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_error_comes_back_with_its_code_text_and_metadata() {
    let pair = Pair::start().await;
    let answer = call(&pair.worker(), HEARTBEAT, &[("x-script", "fail")]).await;
    assert_eq!(answer.code(), Code::FailedPrecondition);
    assert_eq!(answer.status.message(), "not today");
    assert_eq!(answer.header("x-why"), "because");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_pass_in_both_directions_one_by_one_and_trailers_after_them() {
    let pair = Pair::start().await;
    // The wire has no method that streams both ways and belongs to the leader; to the door it makes no difference.
    let (sender, request) = streaming(PUBLISH_LOGS, &[("x-script", "echo")]);
    let response = within("headers", pair.worker().oneshot(request)).await.expect("an answer");
    let mut body = response.into_body();
    for number in 0..5u8 {
        let message = frame(&vec![number; 100_000]);
        sender.send(message.clone()).await.expect("taken");
        let mut back = Vec::new();
        while back.len() < message.len() {
            let frame = within("a frame", body.frame()).await.expect("more").expect("no error");
            back.extend_from_slice(&frame.into_data().expect("data"));
        }
        assert!(back == message, "message {number} came back changed");
    }
    drop(sender);
    let end = within("trailers", body.frame()).await.expect("trailers").expect("no error");
    let trailers = end.into_trailers().expect("trailers");
    assert_eq!(trailers["grpc-status"], "0");
    assert_eq!(trailers["x-trailer"], "the end");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_may_be_larger_than_any_request() {
    let pair = Pair::start().await;
    let message = frame(&vec![7; 20 * 1024 * 1024]);
    let body = Body::new(Full::new(message.clone()));
    let request = request(PUBLISH_LOGS, &[("x-script", "echo")], body);
    let answer = within("the echo", send(&pair.worker(), request)).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert!(answer.data == message);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_request_that_the_leader_would_not_take_is_refused_at_once() {
    let pair = Pair::start().await;
    let body = Body::new(Full::new(frame(&vec![7; door::MAX_UNARY_BYTES])));
    let answer = send(&pair.worker(), request(HEARTBEAT, &[], body)).await;
    assert_eq!(answer.code(), Code::ResourceExhausted);
    let body = Body::new(Full::new(frame(&vec![7; door::MAX_UNARY_BYTES - 5])));
    let answer = send(&pair.worker(), request(HEARTBEAT, &[], body)).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!(pair.leading.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_caller_that_goes_away_ends_the_call_at_the_leader() {
    let pair = Pair::start().await;
    let worker = pair.worker();
    let asked = request(ASSIGNMENTS, &[("x-script", "hang")], Body::new(Full::new(frame(b""))));
    let response = worker.clone().oneshot(asked).await.expect("headers");
    drop(response);
    eventually("the stream ends", || pair.leading.cancelled() == 1).await;

    let asked = request(HEARTBEAT, &[("x-script", "silent")], Body::new(Full::new(frame(b""))));
    let waiting = tokio::spawn(worker.oneshot(asked));
    eventually("the call arrives", || pair.leading.calls() == 2).await;
    waiting.abort();
    eventually("the call ends", || pair.leading.cancelled() == 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_breaks_a_stream_ends_it_for_the_caller_with_a_status() {
    let pair = Pair::start().await;
    let asked = request(ASSIGNMENTS, &[("x-script", "break")], Body::new(Full::new(frame(b""))));
    let response = pair.worker().oneshot(asked).await.expect("headers");
    let answer = within("the end", read(response)).await;
    assert_eq!(answer.code(), Code::Unavailable, "{}", answer.status);
    assert!(answer.status.message().starts_with("connection error: "), "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_follower_that_stops_sends_the_callers_of_streams_elsewhere_at_once() {
    let pair = Pair::start().await;
    let asked = request(ASSIGNMENTS, &[("x-script", "hang")], Body::new(Full::new(frame(b""))));
    let response = pair.worker().oneshot(asked).await.expect("headers");
    let begun = Instant::now();
    pair.follower.stop.cancel();
    let answer = within("the end", read(response)).await;
    assert_eq!(answer.code(), Code::Unavailable, "{}", answer.status);
    assert!(answer.status.message().contains("stopping"), "{}", answer.status);
    assert!(begun.elapsed() < skep_api::listener::SHUTDOWN_GRACE);
    eventually("the stream ends at the leader", || pair.leading.cancelled() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_callers_deadline_holds_at_the_follower_and_is_passed_on() {
    let pair = Pair::start().await;
    let begun = Instant::now();
    let answer = call(&pair.worker(), HEARTBEAT, &[("grpc-timeout", "20S")]).await;
    let passed =
        answer.seen().into_iter().find_map(|l| l.strip_prefix("grpc-timeout: ").map(str::to_owned));
    let passed = passed.expect("a timeout");
    assert!(passed.starts_with("19") && passed.ends_with('u'), "{passed}");
    assert!(begun.elapsed() < LIMIT);

    // The channel gives up at the deadline as well, with a code of its own; the socket shows what we answer.
    let headers = [("x-script", "silent"), ("grpc-timeout", "200m")];
    let answer = within("an answer", call(&pair.worker(), HEARTBEAT, &headers)).await;
    assert!(matches!(answer.code(), Code::DeadlineExceeded | Code::Cancelled), "{}", answer.status);
    eventually("the call ends at the leader", || pair.leading.cancelled() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_waits_for_a_leader_to_be_elected() {
    let pair = Pair::start().await;
    pair.follower.leader.set(Leader::Unknown { for_ticks: 1 });
    let worker = pair.worker();
    let waiting = tokio::spawn(async move { call(&worker, HEARTBEAT, &[]).await });
    // The call is inside once its connection is open; it may not end before there is a leader.
    eventually("the connection", || pair.follower.stats.counts().open == 1).await;
    assert!(!waiting.is_finished());
    pair.follower.leader.set_remote(&pair.leader.addr);
    let answer = within("the answer", waiting).await.expect("no panic");
    assert_eq!((answer.code(), pair.leading.calls()), (Code::Ok, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waited_is_answered_here_when_this_manager_is_elected() {
    let pair = Pair::start().await;
    pair.follower.leader.set(Leader::Unknown { for_ticks: 1 });
    let worker = pair.worker();
    let waiting = tokio::spawn(async move { call(&worker, HEARTBEAT, &[]).await });
    eventually("the connection", || pair.follower.stats.counts().open == 1).await;
    pair.follower.leader.set(Leader::Local);
    let answer = within("the answer", waiting).await.expect("no panic");
    assert_eq!(answer.header("x-kind"), "certificate");
    assert_eq!((pair.leading.calls(), pair.following.calls()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_quorum_the_answer_is_immediate_and_says_what_to_do() {
    let pair = Pair::start().await;
    pair.follower.leader.set(Leader::Unknown { for_ticks: 11 });
    for channel in [pair.worker(), pair.socket()] {
        let answer = within("an answer", call(&channel, HEARTBEAT, &[])).await;
        assert_eq!(answer.code(), Code::Unavailable);
        assert_eq!(
            answer.status.message(),
            "The swarm does not have a leader. It's possible that too few managers are online. \
             Make sure more than half of the managers are online."
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_was_passed_on_is_not_passed_on_again() {
    let pair = Pair::start().await;
    let headers = [("redirect", "10.0.0.1:1"), ("redirect", "10.0.0.2:2")];
    let answer = call(&pair.worker(), HEARTBEAT, &headers).await;
    assert_eq!(answer.code(), Code::ResourceExhausted);
    assert_eq!(
        answer.status.message(),
        "more than one redirect to leader from: [10.0.0.1:1 10.0.0.2:2]"
    );
    assert_eq!(pair.leading.calls(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_passes_a_call_on_for_another_keeps_the_callers_identity() {
    let pair = Pair::start().await;
    let stock = channel(&pair.home.node("stock-1", Role::Manager), &pair.follower.addr);
    // A SwarmKit follower that is behind about who leads, and writes no `redirect`.
    let headers = [
        ("forwarded_cert", "true"),
        ("forwarded_cert_cn", "worker-5"),
        ("forwarded_cert_org", "cluster-1"),
        ("forwarded_cert_ou", "swarm-worker"),
        ("remote_addr", "192.0.2.9:9"),
    ];
    let answer = call(&stock, HEARTBEAT, &headers).await;
    assert_eq!(answer.header("x-node"), "worker-5");
    assert_eq!(answer.header("x-units"), "swarm-worker");
    assert_eq!(answer.header("x-remote"), "192.0.2.9:9");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_is_made_again_when_the_one_asked_does_not_lead_any_more() {
    let pair = Pair::start().await;
    // The follower's leader has become a follower itself, of the one that leads now.
    let third = Script::default();
    let new = Manager::start(pair.home.node("leader-2", Role::Manager), third.clone()).await;
    pair.leader.leader.set_remote(&new.addr);
    let worker = pair.worker();
    let waiting = tokio::spawn(async move {
        call(&worker, "/docker.swarmkit.v1.ResourceAllocator/AttachNetwork", &[]).await
    });
    eventually("the old leader is asked", || pair.leader.stats.counts().open == 1).await;
    pair.follower.leader.set_remote(&new.addr);
    let answer = within("the answer", waiting).await.expect("no panic");
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!(answer.header("x-kind"), "forwarded by follower-1");
    assert_eq!((pair.leading.calls(), third.calls()), (0, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_unary_call_is_made_again_when_the_leader_could_not_be_reached() {
    let pair = Pair::start().await;
    let gone = unused_addr().await;
    pair.follower.leader.set_remote(&gone);
    let worker = pair.worker();
    let waiting = tokio::spawn(async move {
        call(&worker, "/docker.swarmkit.v1.ResourceAllocator/AttachNetwork", &[]).await
    });
    eventually("the connection", || pair.follower.stats.counts().open == 1).await;
    pair.follower.leader.set_remote(&pair.leader.addr);
    let answer = within("the answer", waiting).await.expect("no panic");
    assert_eq!((answer.code(), pair.leading.calls()), (Code::Ok, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_cannot_be_reached_until_the_deadline_is_unavailable() {
    let pair = Pair::start().await;
    pair.follower.leader.set_remote(&unused_addr().await);
    // Without waiting: the next attempt would be after the deadline.
    let headers = [("grpc-timeout", "400m")];
    let answer = within("an answer", call(&pair.worker(), HEARTBEAT, &headers)).await;
    assert_eq!(answer.code(), Code::Unavailable, "{}", answer.status);
    assert!(answer.status.message().contains("connection error: "), "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_may_have_been_carried_out_is_made_again_only_if_that_does_no_harm() {
    for (path, repeated) in [(CREATE_SERVICE, false), (LIST_NODES, true)] {
        let pair = Pair::start().await;
        let breaking = Breaking::start(&pair.home).await;
        pair.follower.leader.set_remote(&breaking.addr);
        let socket = pair.socket();
        let waiting = tokio::spawn(async move { call(&socket, path, &[]).await });
        breaking.broken().await;
        pair.follower.leader.set_remote(&pair.leader.addr);
        let answer = within("the answer", waiting).await.expect("no panic");
        if repeated {
            assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
            assert_eq!(pair.leading.calls(), 1);
        } else {
            assert_eq!(answer.code(), Code::Unavailable, "{}", answer.status);
            assert!(answer.status.message().contains("may or may not"), "{}", answer.status);
            assert_eq!(pair.leading.calls(), 0);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_opened_at_the_next_leader_when_the_last_one_is_gone() {
    let pair = Pair::start().await;
    pair.follower.leader.set_remote(&unused_addr().await);
    let worker = pair.worker();
    let waiting = tokio::spawn(async move { call(&worker, SESSION, &[]).await });
    pair.follower.leader.set_remote(&pair.leader.addr);
    let answer = within("the answer", waiting).await.expect("no panic");
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
    assert_eq!(pair.leading.calls(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_is_not_opened_again_for_long() {
    let pair = Pair::start().await;
    pair.follower.leader.set_remote(&unused_addr().await);
    let start = std::time::Instant::now();
    let answer = within("an answer", call(&pair.worker(), ASSIGNMENTS, &[])).await;
    assert_eq!(answer.code(), Code::Unavailable, "{}", answer.status);
    assert!(start.elapsed() < 2 * skep_api::door::STREAM_PATIENCE, "{:?}", start.elapsed());
}

/// An address that nobody listens on.
async fn unused_addr() -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    listener.local_addr().expect("bound").to_string()
}

/// A leader that takes a call and then closes the connection without an answer.
struct Breaking {
    addr: String,
    broken: tokio::sync::watch::Receiver<bool>,
}

impl Breaking {
    async fn start(home: &Cluster) -> Self {
        use tokio::io::AsyncReadExt as _;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
        let addr = listener.local_addr().expect("bound").to_string();
        let acceptor =
            tokio_rustls::TlsAcceptor::from(home.node("breaking", Role::Manager).server_config());
        let (sender, broken) = tokio::sync::watch::channel(false);
        tokio::spawn(async move {
            let (stream, _) = listener.accept().await.expect("a connection");
            let stream = acceptor.accept(stream).await.expect("a handshake");
            let mut connection = h2::server::handshake(stream).await.expect("HTTP/2");
            let (mut request, _answer) =
                connection.accept().await.expect("a call").expect("a call");
            // The connection has to be driven for the body to arrive.
            let reading = async { drop(request.body_mut().data().await) };
            tokio::select! {
                () = reading => {}
                _ = connection.accept() => {}
            }
            drop(connection);
            sender.send_replace(true);
            // The listener stays, so that the next attempt connects and gets nothing.
            let mut rest = listener.accept().await.expect("a connection").0;
            drop(rest.read(&mut [0; 1]).await);
        });
        Self { addr, broken }
    }

    async fn broken(&self) {
        let mut broken = self.broken.clone();
        within("the break", broken.wait_for(|broken| *broken)).await.expect("alive");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_calls_wait_for_a_slow_leader_without_waiting_for_each_other() {
    let pair = Pair::start().await;
    let worker = pair.worker();
    let mut hanging = Vec::new();
    for _ in 0..10 {
        let asked = request(ASSIGNMENTS, &[("x-script", "hang")], Body::new(Full::new(frame(b""))));
        hanging.push(worker.clone().oneshot(asked).await.expect("headers"));
    }
    let begun = Instant::now();
    let answer = call(&worker, HEARTBEAT, &[]).await;
    assert_eq!(answer.code(), Code::Ok);
    assert!(begun.elapsed() < Duration::from_secs(10));
    drop(hanging);
    eventually("all end", || pair.leading.cancelled() == 10).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_is_called_by_its_name_and_by_nothing_else() {
    // A worker's certificate does not carry the name: a follower must not take a worker for the leader.
    let pair = Pair::start().await;
    let worker = Manager::start(pair.home.node("worker-2", Role::Worker), Script::default()).await;
    pair.follower.leader.set_remote(&worker.addr);
    let answer = within("an answer", call(&pair.worker(), ASSIGNMENTS, &[])).await;
    assert_eq!(answer.code(), Code::Unavailable, "{}", answer.status);
    assert_eq!(PeerName::Manager.server_name().to_str(), "swarm-manager");
}
