//! Raft nodes that take notes: what reached them, and what the transport reported.

use std::sync::{Arc, Mutex};

use futures::{FutureExt as _, future::BoxFuture};
use skep_api::{RaftPort, raft_transport::Reports};
use skep_proto::raftpb::{self, MessageType};
use skep_raft::{Joined, Member, Membership, MembershipError, RaftId, StepError};

#[derive(Clone)]
pub struct FakeNode {
    pub own: RaftId,
    members: Arc<Mutex<Arc<Membership>>>,
    taken: Arc<Mutex<Vec<raftpb::Message>>>,
    pub join_answer: Arc<Mutex<Result<Joined, MembershipError>>>,
    pub joined: Arc<Mutex<Vec<(String, String)>>>,
    pub left: Arc<Mutex<Vec<RaftId>>>,
}

impl FakeNode {
    pub fn new(own: u64) -> Self {
        let nobody = Joined { raft_id: RaftId(7), members: Vec::new() };
        Self {
            own: RaftId(own),
            members: Arc::default(),
            taken: Arc::default(),
            join_answer: Arc::new(Mutex::new(Ok(nobody))),
            joined: Arc::default(),
            left: Arc::default(),
        }
    }

    pub fn set_members(&self, members: Membership) {
        *self.members.lock().expect("no panic") = Arc::new(members);
    }

    pub fn taken(&self) -> Vec<raftpb::Message> {
        self.taken.lock().expect("no panic").clone()
    }

    pub fn count(&self) -> usize {
        self.taken.lock().expect("no panic").len()
    }

    pub fn indexes(&self) -> Vec<u64> {
        self.taken().iter().map(raftpb::Message::index).collect()
    }
}

impl RaftPort for FakeNode {
    fn group(&self) -> (RaftId, Arc<Membership>) {
        (self.own, self.members.lock().expect("no panic").clone())
    }

    fn step(&self, message: raftpb::Message) -> Result<(), StepError> {
        self.taken.lock().expect("no panic").push(message);
        Ok(())
    }

    fn join(
        &self,
        node_id: String,
        addr: String,
    ) -> BoxFuture<'static, Result<Joined, MembershipError>> {
        self.joined.lock().expect("no panic").push((node_id, addr));
        let answer = self.join_answer.lock().expect("no panic").clone();
        async move { answer }.boxed()
    }

    fn remove(&self, raft_id: RaftId) -> BoxFuture<'static, Result<(), MembershipError>> {
        self.left.lock().expect("no panic").push(raft_id);
        async { Ok(()) }.boxed()
    }
}

/// What a transport reported, as text.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Vec<String>>>);

impl Notes {
    pub fn all(&self) -> Vec<String> {
        self.0.lock().expect("no panic").clone()
    }

    pub fn has(&self, note: &str) -> bool {
        self.all().iter().any(|n| n == note)
    }

    fn add(&self, note: String) {
        self.0.lock().expect("no panic").push(note);
    }
}

impl Reports for Notes {
    fn reachable(&self, peer: RaftId) {
        self.add(format!("{peer} reachable"));
    }

    fn unreachable(&self, peer: RaftId) {
        self.add(format!("{peer} unreachable"));
    }

    fn snapshot(&self, peer: RaftId, delivered: bool) {
        self.add(format!("{peer} snapshot {delivered}"));
    }

    fn removed(&self) {
        self.add("removed".to_owned());
    }
}

pub fn member(raft_id: u64, addr: &str) -> Member {
    Member { raft_id: RaftId(raft_id), node_id: format!("node-{raft_id}"), addr: addr.to_owned() }
}

pub fn message(kind: MessageType, from: u64, to: u64, index: u64) -> raftpb::Message {
    raftpb::Message {
        r#type: Some(kind.into()),
        from: Some(from),
        to: Some(to),
        term: Some(3),
        index: Some(index),
        ..Default::default()
    }
}
