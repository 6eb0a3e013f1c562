//! Three raft nodes with their logs on disk, and between them nothing but what this crate makes: listeners, doors,
//! services and transports on loopback.

mod support;

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicU64, Ordering::SeqCst},
};

use bytes::Bytes;
use prost::Message as _;
use skep_api::{ChannelPool, GrpcTransport, Health, RaftServices};
use skep_ca::Role;
use skep_proto::swarmkit::{JoinRequest, raft_membership_client::RaftMembershipClient};
use skep_raft::{
    ApplyError, Committed, Config, DataKey, Epoch, Keyring, Member, Membership, NodeHandle, RaftId,
    Refusal, RestoreError, SnapshotWriter, Start, StateMachine, Ticket, Timing,
    storage::{FileLog, FileLogConfig, RealDisk},
};
use support::{
    cluster::{Cluster, channel},
    eventually,
    manager::Manager,
    within,
};
use tonic::service::Routes;

/// A list of entries.
#[derive(Clone, Default)]
struct List(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    entries: Vec<Bytes>,
    epoch: Option<Epoch>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(bytes = "bytes", repeated, tag = "1")]
    entries: Vec<Bytes>,
    #[prost(bytes = "bytes", repeated, tag = "2")]
    members: Vec<Bytes>,
    #[prost(uint64, repeated, tag = "3")]
    removed: Vec<u64>,
}

impl List {
    fn len(&self) -> usize {
        self.0.lock().expect("no panic").entries.len()
    }

    fn entries(&self) -> Vec<Bytes> {
        self.0.lock().expect("no panic").entries.clone()
    }

    fn epoch(&self) -> Option<Epoch> {
        self.0.lock().expect("no panic").epoch
    }
}

impl StateMachine for List {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        let mut inner = self.0.lock().expect("no panic");
        inner.entries.extend(entries.into_iter().map(|entry| entry.data));
        Ok(())
    }

    fn refused(&mut self, _: Ticket, _: Refusal) {}

    fn leading(&mut self, epoch: Epoch, _: u64) {
        self.0.lock().expect("no panic").epoch = Some(epoch);
    }

    fn following(&mut self) {
        self.0.lock().expect("no panic").epoch = None;
    }

    fn snapshot(&self) -> SnapshotWriter {
        let entries = self.entries();
        Box::new(move |members| {
            let image = Image {
                entries,
                members: members.members().map(|m| m.encode().into()).collect(),
                removed: members.removed().map(|id| id.0).collect(),
            };
            Ok(image.encode_to_vec().into())
        })
    }

    fn restore(&mut self, _: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let image = Image::decode(data).map_err(RestoreError::new)?;
        let members = image.members.iter().filter_map(|bytes| Member::decode(bytes));
        let members = Membership::new(members, image.removed.iter().map(|id| RaftId(*id)));
        self.0.lock().expect("no panic").entries = image.entries;
        Ok(members)
    }
}

/// A whole manager, as far as raft is concerned.
struct Node {
    manager: Manager,
    handle: NodeHandle,
    list: List,
    _folder: tempfile::TempDir,
}

static SEED: AtomicU64 = AtomicU64::new(1);

/// A manager that answers health checks and is no member yet.
async fn listen(home: &Cluster, name: &str) -> (Manager, RaftServices) {
    let services = RaftServices::new();
    let routes = Routes::new(services.raft())
        .add_service(services.raft_stream())
        .add_service(services.raft_membership())
        .add_service(Health::remote().service());
    (Manager::start(home.node(name, Role::Manager), routes).await, services)
}

async fn run(manager: Manager, services: RaftServices, start: Start) -> Node {
    let folder = tempfile::tempdir().expect("a folder");
    let disk = Arc::new(RealDisk::open(folder.path().join("raft")).expect("a disk"));
    let keys = Keyring { current: DataKey::new([7; 32]), older: Vec::new() };
    let log = FileLog::new(disk, &keys, FileLogConfig::default());
    let list = List::default();
    let transport = GrpcTransport::new(ChannelPool::new(Arc::new(manager.security.clone())));
    let mut config = Config::new(Timing::fast(), SEED.fetch_add(1, SeqCst));
    config.snapshot_entries = 500;
    config.keep_entries = 50;
    let handle = skep_raft::start(config, start, log, list.clone(), Arc::new(transport.clone()))
        .await
        .expect("started");
    transport.report_to(Arc::new(handle.clone()));
    services.serve_with(Arc::new(handle.clone()), transport);
    Node { manager, handle, list, _folder: folder }
}

async fn found(home: &Cluster) -> Node {
    let (manager, services) = listen(home, "node-1").await;
    let start = Start::Bootstrap { node_id: "node-1".to_owned(), addr: manager.addr.clone() };
    let node = run(manager, services, start).await;
    eventually("the founder leads", || node.handle.status().leads()).await;
    node
}

/// Joins as a stranger does: by a call to the leader, which dials back.
async fn join(home: &Cluster, name: &str, leader: &Node) -> Node {
    let (manager, services) = listen(home, name).await;
    let client = channel(&manager.security, &leader.manager.addr);
    let request = JoinRequest { addr: manager.addr.clone() };
    let answer = within("joining", RaftMembershipClient::new(client).join(request))
        .await
        .expect("joined")
        .into_inner();
    let members: Vec<_> = answer
        .members
        .into_iter()
        .map(|m| Member { raft_id: RaftId(m.raft_id), node_id: m.node_id, addr: m.addr })
        .collect();
    let own = Member {
        raft_id: RaftId(answer.raft_id),
        node_id: name.to_owned(),
        addr: manager.addr.clone(),
    };
    run(manager, services, Start::Join { own, members }).await
}

/// Proposes on whoever leads, and waits until everybody has applied it.
async fn write(nodes: &[&Node], entries: usize, bytes: usize) {
    let before = nodes.iter().map(|node| node.list.len()).max().unwrap_or_default();
    let leading = || nodes.iter().find_map(|node| Some((*node, node.list.epoch()?)));
    eventually("somebody leads", || leading().is_some()).await;
    let (leader, epoch) = leading().expect("somebody leads");
    for number in 0..entries {
        let mut data = vec![0; bytes.max(8)];
        data[..8].copy_from_slice(&((before + number) as u64).to_be_bytes());
        let ticket = Ticket((before + number) as u64 + 1);
        leader.handle.propose(epoch, ticket, data.into()).expect("taken");
    }
    eventually("everybody has it", || nodes.iter().all(|node| node.list.len() == before + entries))
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_managers_found_join_replicate_and_outlive_their_leader() {
    let home = Cluster::new("cluster-1");
    let one = found(&home).await;
    write(&[&one], 1000, 100).await;
    // Behind what the log keeps: it begins with a snapshot, of which it takes several parts to send.
    write(&[&one], 600, 16 * 1024).await;
    let two = join(&home, "node-2", &one).await;
    let three = join(&home, "node-3", &one).await;
    eventually("both catch up", || [&two, &three].iter().all(|node| node.list.len() == 1600)).await;
    write(&[&one, &two, &three], 2000, 100).await;
    assert!(one.list.entries() == two.list.entries());
    assert!(one.list.entries() == three.list.entries());
    for node in [&one, &two, &three] {
        assert_eq!(node.handle.status().members.len(), 3);
    }

    // The leader vanishes; votes need a dial-back to each candidate.
    let gone = one.handle.status().own;
    one.manager.stop.cancel();
    one.handle.stop(false).await;
    write(&[&two, &three], 500, 100).await;
    let leader = if two.handle.status().leads() { &two } else { &three };
    assert_ne!(leader.handle.status().own, gone);
    assert!(two.list.entries() == three.list.entries());
    two.handle.stop(false).await;
    three.handle.stop(false).await;
}
