//! Raft messages between managers, over real TLS: our stream, SwarmKit's calls, snapshots in parts, votes, and the
//! signal to a member that was removed.

mod support;

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering::SeqCst},
};

use skep_api::{GrpcTransport, Health, RaftServices, health, raft_transport::OUTBOX_MESSAGES_MAX};
use skep_ca::{Role, SecurityConfig};
use skep_proto::{
    raftpb::{self, MessageType},
    skep::{RaftFrame, raft_stream_client::RaftStreamClient},
    swarmkit::{
        HealthCheckRequest, JoinRequest, LeaveRequest, ProcessRaftMessageRequest,
        ProcessRaftMessageResponse, RaftMember, ResolveAddressRequest, ResolveAddressResponse,
        StreamRaftMessageRequest, StreamRaftMessageResponse,
        health_client::HealthClient,
        raft_client::RaftClient,
        raft_membership_client::RaftMembershipClient,
        raft_server::{Raft, RaftServer},
    },
};
use skep_raft::{Joined, Membership, MembershipError, RaftId, Transport as _};
use support::{
    cluster::{Cluster, channel},
    eventually,
    manager::Manager,
    raft::{FakeNode, Notes, member, message},
};
use tonic::{Code, Request, Response, Status, Streaming, async_trait, service::Routes};

/// A manager of our own kind: the services of raft behind the door, and a node that takes notes.
struct Member {
    manager: Manager,
    node: FakeNode,
    transport: GrpcTransport,
    notes: Notes,
    health: Health,
    services: RaftServices,
}

impl Member {
    async fn start(home: &Cluster, raft_id: u64) -> Self {
        Self::start_as(home.node(&format!("node-{raft_id}"), Role::Manager), raft_id).await
    }

    async fn start_as(security: SecurityConfig, raft_id: u64) -> Self {
        let services = RaftServices::new();
        let health = Health::remote();
        let routes = Routes::new(services.raft())
            .add_service(services.raft_stream())
            .add_service(services.raft_membership())
            .add_service(health.service());
        let manager = Manager::start(security, routes).await;
        let node = FakeNode::new(raft_id);
        let transport = GrpcTransport::new(manager.pool.clone());
        let notes = Notes::default();
        transport.report_to(Arc::new(notes.clone()));
        services.serve_with(Arc::new(node.clone()), transport.clone());
        Self { manager, node, transport, notes, health, services }
    }

    fn member(&self) -> skep_raft::Member {
        member(self.node.own.0, &self.manager.addr)
    }

    fn knows(&self, membership: &Membership) {
        self.node.set_members(membership.clone());
        self.transport.members_changed(membership, self.node.own);
    }
}

/// Members who know each other.
async fn group(home: &Cluster, raft_ids: &[u64]) -> Vec<Member> {
    let mut group = Vec::new();
    for raft_id in raft_ids {
        group.push(Member::start(home, *raft_id).await);
    }
    let membership = Membership::new(group.iter().map(Member::member), []);
    for member in &group {
        member.knows(&membership);
    }
    group
}

fn snapshot(from: u64, to: u64, bytes: usize) -> raftpb::Message {
    let data: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
    let metadata = raftpb::SnapshotMetadata { index: Some(5), ..Default::default() };
    raftpb::Message {
        snapshot: Some(raftpb::Snapshot { data: Some(data.into()), metadata: Some(metadata) }),
        ..message(MessageType::MsgSnap, from, to, 5)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_arrive_in_order_over_one_stream() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    for index in 0..2000 {
        one.transport.send(&two.member(), message(MessageType::MsgApp, 1, 2, index));
    }
    eventually("all arrive", || two.node.taken().len() == 2000).await;
    assert_eq!(two.node.indexes(), (0..2000).collect::<Vec<_>>());
    assert!(two.node.taken().iter().all(|m| m.r#type() == MessageType::MsgApp));
    assert!(one.notes.has("2 reachable"));
    assert!(!one.notes.has("2 unreachable"));
    assert_eq!(two.manager.stats.counts().accepted, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_of_ten_mebibytes_arrives_byte_for_byte() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    let sent = snapshot(1, 2, 10 * 1024 * 1024);
    one.transport.send(&two.member(), sent.clone());
    eventually("it arrives", || two.node.taken().len() == 1).await;
    assert!(two.node.taken()[0] == sent);
    eventually("it is reported", || one.notes.has("2 snapshot true")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_snapshot_that_cannot_be_delivered_is_reported() {
    let home = Cluster::new("cluster-1");
    let one = Member::start(&home, 1).await;
    let gone = member(2, "127.0.0.1:1");
    one.transport.members_changed(&Membership::new([one.member(), gone.clone()], []), RaftId(1));
    one.transport.send(&gone, snapshot(1, 2, 10));
    eventually("it is reported", || one.notes.has("2 snapshot false")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_is_away_is_in_nobodys_way_and_is_found_again() {
    let home = Cluster::new("cluster-1");
    let members = group(&home, &[1, 2]).await;
    let (one, two) = (&members[0], &members[1]);
    let security = home.node("node-3", Role::Manager);
    // Takes connections and never says a word.
    let deaf = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bound");
    let away = member(3, &deaf.local_addr().expect("bound").to_string());
    one.knows(&Membership::new([one.member(), two.member(), away.clone()], []));
    for index in 0..2 * OUTBOX_MESSAGES_MAX as u64 {
        one.transport.send(&away, message(MessageType::MsgApp, 1, 3, index));
    }
    for index in 0..100 {
        one.transport.send(&two.member(), message(MessageType::MsgApp, 1, 2, index));
    }
    eventually("the other gets its own", || two.node.taken().len() == 100).await;
    eventually("the loss is reported", || one.notes.has("3 unreachable")).await;

    // It comes up elsewhere.
    let three = Member::start_as(security, 3).await;
    one.knows(&Membership::new([one.member(), two.member(), three.member()], []));
    eventually("it gets what is sent from then on", || {
        one.transport.send(&three.member(), message(MessageType::MsgHeartbeat, 1, 3, 0));
        three.node.taken().iter().any(|m| m.r#type() == MessageType::MsgHeartbeat)
    })
    .await;
    eventually("it is reported", || one.notes.has("3 reachable")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_removed_sender_is_told_so_on_every_way_and_nobody_else_is() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    let client = channel(&one.manager.security, &two.manager.addr);
    let mut calls = RaftClient::new(client.clone());
    let text = "raft: member was removed from the cluster";

    // A stranger is not told.
    let stranger = message(MessageType::MsgApp, 9, 2, 0);
    calls
        .process_raft_message(ProcessRaftMessageRequest { message: Some(stranger) })
        .await
        .expect("OK");

    two.node.set_members(Membership::new([two.member()], [RaftId(1)]));
    let from_removed = message(MessageType::MsgHeartbeat, 1, 2, 0);
    let unary = ProcessRaftMessageRequest { message: Some(from_removed.clone()) };
    let status = calls.process_raft_message(unary).await.expect_err("removed");
    assert_eq!((status.code(), status.message()), (Code::NotFound, text));
    let parts = vec![StreamRaftMessageRequest { message: Some(from_removed.clone()) }];
    let status = calls.stream_raft_message(tokio_stream::iter(parts)).await.expect_err("removed");
    assert_eq!((status.code(), status.message()), (Code::NotFound, text));
    let frames = vec![RaftFrame { messages: vec![from_removed.clone()], ack: 0 }];
    let acks = RaftStreamClient::new(client).exchange(tokio_stream::iter(frames)).await;
    let status = acks.expect("accepted").into_inner().message().await.expect_err("removed");
    assert_eq!((status.code(), status.message()), (Code::NotFound, text));

    assert!(!one.notes.has("removed"));
    one.transport.send(&two.member(), from_removed);
    eventually("the transport raises it", || one.notes.has("removed")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_no_peer_sends_are_dropped_with_ok() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let two = &group[1];
    let mut calls = RaftClient::new(channel(&group[0].manager.security, &two.manager.addr));
    for dropped in [
        message(MessageType::MsgProp, 1, 2, 0),
        message(MessageType::MsgHup, 1, 2, 0),
        message(MessageType::MsgStorageAppend, 1, 2, 0),
        message(MessageType::MsgApp, 1, 3, 0),
        raftpb::Message { r#type: Some(999), ..message(MessageType::MsgApp, 1, 2, 0) },
    ] {
        let kind = format!("{dropped:?}");
        let request = ProcessRaftMessageRequest { message: Some(dropped) };
        assert!(calls.process_raft_message(request).await.is_ok(), "{kind}");
    }
    assert_eq!(two.node.taken(), []);
    let none = calls.process_raft_message(ProcessRaftMessageRequest { message: None }).await;
    assert_eq!(none.expect_err("no message").code(), Code::InvalidArgument);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vote_is_for_members_who_can_be_called_back() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    let gone = member(3, "127.0.0.1:1");
    two.node.set_members(Membership::new([one.member(), two.member(), gone], []));
    let client = channel(&one.manager.security, &two.manager.addr);
    let mut calls = RaftClient::new(client.clone());
    for (from, taken) in [(1, 1), (3, 1), (9, 1), (1, 2)] {
        let vote = message(MessageType::MsgVote, from, 2, 0);
        let request = ProcessRaftMessageRequest { message: Some(vote) };
        calls.process_raft_message(request).await.expect("OK, whatever becomes of it");
        assert_eq!(two.node.taken().len(), taken, "after a vote for {from}");
    }

    // On our stream a vote waits aside, and what comes behind it does not.
    let frame = vec![
        message(MessageType::MsgPreVote, 3, 2, 7),
        message(MessageType::MsgPreVote, 1, 2, 8),
        message(MessageType::MsgHeartbeat, 1, 2, 9),
    ];
    let frames = vec![RaftFrame { messages: frame, ack: 1 }];
    let mut acks = RaftStreamClient::new(client)
        .exchange(tokio_stream::iter(frames))
        .await
        .expect("accepted")
        .into_inner();
    assert_eq!(acks.message().await.expect("an ack").map(|a| a.ack), Some(1));
    eventually("both arrive", || {
        let indexes = two.node.indexes();
        indexes.contains(&8) && indexes.contains(&9)
    })
    .await;
    assert!(!two.node.indexes().contains(&7));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_candidate_that_says_it_does_not_serve_gets_no_vote() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    one.health.set(health::RAFT, false);
    let mut calls = RaftClient::new(channel(&one.manager.security, &two.manager.addr));
    let vote = message(MessageType::MsgVote, 1, 2, 0);
    let request = ProcessRaftMessageRequest { message: Some(vote) };
    calls.process_raft_message(request).await.expect("OK");
    assert_eq!(two.node.taken(), []);
    assert!(one.transport.probe(&two.manager.addr).await.is_ok());
    let error = two.transport.probe(&one.manager.addr).await.expect_err("not serving");
    assert!(error.to_string().contains("NOT_SERVING"), "{error}");
    let error = two.transport.probe("127.0.0.1:1").await.expect_err("nobody");
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_knows_its_names_and_no_others() {
    let home = Cluster::new("cluster-1");
    let one = Member::start(&home, 1).await;
    let mut client = HealthClient::new(channel(&one.manager.security, &one.manager.addr));
    for name in ["Raft", ""] {
        let request = HealthCheckRequest { service: name.to_owned() };
        assert_eq!(client.check(request).await.expect("known").into_inner().status, 1, "{name}");
    }
    let request = HealthCheckRequest { service: "ControlAPI".to_owned() };
    assert_eq!(client.check(request).await.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn before_it_is_a_member_a_manager_is_healthy_and_takes_no_messages() {
    let home = Cluster::new("cluster-1");
    let services = RaftServices::new();
    let routes = Routes::new(services.raft())
        .add_service(services.raft_stream())
        .add_service(services.raft_membership())
        .add_service(Health::remote().service());
    let manager = Manager::start(home.node("node-1", Role::Manager), routes).await;
    let client = channel(&home.node("node-2", Role::Manager), &manager.addr);
    assert!(GrpcTransport::new(manager.pool.clone()).probe(&manager.addr).await.is_ok());
    let join = RaftMembershipClient::new(client.clone())
        .join(JoinRequest { addr: "10.0.0.1:2377".to_owned() })
        .await
        .expect_err("no member");
    assert_eq!(join.code(), Code::FailedPrecondition);
    assert_eq!(join.message(), "raft: node is not yet part of a raft cluster");
    let acks = RaftStreamClient::new(client).exchange(tokio_stream::empty()).await;
    assert_eq!(acks.expect_err("no member").code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_joiner_is_named_by_its_certificate_and_found_where_it_called_from() {
    let home = Cluster::new("cluster-1");
    let one = Member::start(&home, 1).await;
    let client = channel(&home.node("node-9", Role::Manager), &one.manager.addr);
    let mut membership = RaftMembershipClient::new(client);
    let members = vec![one.member(), member(9, "127.0.0.1:4242")];
    *one.node.join_answer.lock().expect("no panic") = Ok(Joined { raft_id: RaftId(9), members });

    let request = JoinRequest { addr: "0.0.0.0:4242".to_owned() };
    let answer = membership.join(request).await.expect("joined").into_inner();
    assert_eq!(answer.raft_id, 9);
    let listed: Vec<_> = answer.members.iter().map(|m| (m.raft_id, m.addr.as_str())).collect();
    assert_eq!(listed, [(1, one.manager.addr.as_str()), (9, "127.0.0.1:4242")]);
    assert!(answer.removed_members.is_empty());
    let joined = one.node.joined.lock().expect("no panic").clone();
    assert_eq!(joined, [("node-9".to_owned(), "127.0.0.1:4242".to_owned())]);

    let bad = membership.join(JoinRequest { addr: "nowhere".to_owned() }).await;
    let status = bad.expect_err("no address");
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().starts_with("invalid address nowhere"), "{status}");

    *one.node.join_answer.lock().expect("no panic") = Err(MembershipError::NotLeader);
    let status = membership
        .join(JoinRequest { addr: "10.0.0.1:1".to_owned() })
        .await
        .expect_err("no leader");
    assert_eq!(status.code(), Code::FailedPrecondition);
    assert!(status.message().contains("lost leader status"), "{status}");

    membership
        .leave(LeaveRequest { node: Some(RaftMember { raft_id: 5, ..Default::default() }) })
        .await
        .expect("left");
    assert_eq!(*one.node.left.lock().expect("no panic"), [RaftId(5)]);
    let nobody = membership.leave(LeaveRequest { node: None }).await.expect_err("nobody");
    assert_eq!(nobody.code(), Code::InvalidArgument);
}

/// A SwarmKit manager: takes a call for each message and knows nothing of our stream.
#[derive(Clone, Default)]
struct Stock {
    node: Option<FakeNode>,
    /// Older than `StreamRaftMessage`.
    old: bool,
    parts: Arc<AtomicUsize>,
    known: Option<String>,
}

#[async_trait]
impl Raft for Stock {
    async fn process_raft_message(
        &self,
        request: Request<ProcessRaftMessageRequest>,
    ) -> Result<Response<ProcessRaftMessageResponse>, Status> {
        use skep_api::RaftPort as _;
        let message = request.into_inner().message.expect("a message");
        let _ = self.node.as_ref().expect("a node").step(message);
        Ok(Response::new(ProcessRaftMessageResponse {}))
    }

    async fn stream_raft_message(
        &self,
        request: Request<Streaming<StreamRaftMessageRequest>>,
    ) -> Result<Response<StreamRaftMessageResponse>, Status> {
        use skep_api::RaftPort as _;
        if self.old {
            return Err(Status::unimplemented("unknown method StreamRaftMessage"));
        }
        let mut parts = request.into_inner();
        let mut assembly = skep_api::snapshot_parts::Assembly::default();
        while let Some(part) = parts.message().await? {
            self.parts.fetch_add(1, SeqCst);
            assembly.push(part)?;
        }
        let _ = self.node.as_ref().expect("a node").step(assembly.finish()?);
        Ok(Response::new(StreamRaftMessageResponse {}))
    }

    async fn resolve_address(
        &self,
        _: Request<ResolveAddressRequest>,
    ) -> Result<Response<ResolveAddressResponse>, Status> {
        let addr = self.known.clone().ok_or_else(|| Status::not_found("who?"))?;
        Ok(Response::new(ResolveAddressResponse { addr }))
    }
}

impl Stock {
    async fn start(self, home: &Cluster, node: &str) -> Manager {
        Manager::start(home.node(node, Role::Manager), Routes::new(RaftServer::new(self))).await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_swarmkit_manager_gets_a_call_for_each_message_and_misses_none() {
    let home = Cluster::new("cluster-1");
    for old in [false, true] {
        let node = FakeNode::new(2);
        let stock = Stock { node: Some(node.clone()), old, ..Default::default() };
        let parts = stock.parts.clone();
        let two = stock.start(&home, "stock-2").await;
        let one = Member::start(&home, 1).await;
        let to = member(2, &two.addr);
        one.knows(&Membership::new([one.member(), to.clone()], []));
        for index in 0..50 {
            one.transport.send(&to, message(MessageType::MsgApp, 1, 2, index));
        }
        eventually("all arrive", || node.taken().len() == 50).await;
        assert_eq!(node.indexes(), (0..50).collect::<Vec<_>>());
        assert!(one.notes.has("2 reachable"));
        assert_eq!(parts.load(SeqCst), if old { 0 } else { 50 });
        if !old {
            let sent = snapshot(1, 2, 10 * 1024 * 1024);
            one.transport.send(&to, sent.clone());
            eventually("the snapshot arrives", || node.taken().len() == 51).await;
            assert!(node.taken()[50] == sent);
            assert_eq!(parts.load(SeqCst), 53);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_address_of_an_unknown_member_is_asked_of_a_peer() {
    let home = Cluster::new("cluster-1");
    let three = Member::start(&home, 3).await;
    three.node.set_members(Membership::new([three.member(), member(1, "")], []));
    let node = FakeNode::new(2);
    let stock = Stock {
        node: Some(node.clone()),
        known: Some(three.manager.addr.clone()),
        ..Default::default()
    };
    let two = stock.start(&home, "stock-2").await;
    let one = Member::start(&home, 1).await;
    let to = member(2, &two.addr);
    one.knows(&Membership::new([one.member(), to.clone()], []));
    one.transport.send(&to, message(MessageType::MsgHeartbeat, 1, 2, 0));
    eventually("there is a peer to ask", || one.notes.has("2 reachable")).await;
    one.transport.send(&member(3, ""), message(MessageType::MsgHeartbeatResp, 1, 3, 0));
    eventually("it arrives", || three.node.taken().len() == 1).await;

    let mut calls = RaftClient::new(channel(&one.manager.security, &three.manager.addr));
    let known = calls.resolve_address(ResolveAddressRequest { raft_id: 3 }).await;
    assert_eq!(known.expect("known").into_inner().addr, three.manager.addr);
    let unknown = calls.resolve_address(ResolveAddressRequest { raft_id: 77 }).await;
    assert_eq!(unknown.expect_err("unknown").code(), Code::NotFound);
}

/// A manager that was away does not know that a peer has moved. Were its answers to go to the old address for ever, a leader that moved
/// could never tell it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_new_address_of_a_member_that_moved_is_asked_of_another() {
    let home = Cluster::new("cluster-1");
    let three = Member::start(&home, 3).await;
    three.node.set_members(Membership::new([three.member(), member(1, "")], []));
    let stock = Stock {
        node: Some(FakeNode::new(2)),
        known: Some(three.manager.addr.clone()),
        ..Default::default()
    };
    let two = stock.start(&home, "stock-2").await;
    let one = Member::start(&home, 1).await;
    let to = member(2, &two.addr);
    // Nobody listens on port 1.
    let moved = member(3, "127.0.0.1:1");
    one.knows(&Membership::new([one.member(), to.clone(), moved.clone()], []));
    one.transport.send(&to, message(MessageType::MsgHeartbeat, 1, 2, 0));
    eventually("there is a peer to ask", || one.notes.has("2 reachable")).await;
    eventually("it arrives", || {
        one.transport.send(&moved, message(MessageType::MsgHeartbeatResp, 1, 3, 0));
        !three.node.taken().is_empty()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_member_that_left_gets_what_was_sent_before_and_nothing_after() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    one.transport.send(&two.member(), message(MessageType::MsgApp, 1, 2, 1));
    one.transport.members_changed(&Membership::new([one.member()], [RaftId(2)]), RaftId(1));
    one.transport.send(&two.member(), message(MessageType::MsgApp, 1, 2, 2));
    eventually("the last one arrives", || two.node.taken().len() == 1).await;
    assert_eq!(two.node.indexes(), [1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_manager_that_stops_ends_the_streams_of_its_peers() {
    let home = Cluster::new("cluster-1");
    let group = group(&home, &[1, 2]).await;
    let (one, two) = (&group[0], &group[1]);
    one.transport.send(&two.member(), message(MessageType::MsgApp, 1, 2, 1));
    eventually("it arrives", || two.node.taken().len() == 1).await;
    let begun = std::time::Instant::now();
    two.services.stop();
    two.manager.stop.cancel();
    eventually("the connection is closed", || two.manager.stats.counts().open == 0).await;
    assert!(begun.elapsed() < skep_api::listener::SHUTDOWN_GRACE);
}
