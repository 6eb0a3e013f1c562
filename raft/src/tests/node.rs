//! Whole nodes: the task, the log writer and the handle, over a transport of channels.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;

use crate::{
    Config, Epoch, Member, MembershipError, NodeHandle, RaftId, Refusal, Role, Start, StartError,
    Status, StepError, StopReason, Ticket, Timing, start,
    testing::{Channels, MemStore, Recorder, Seen},
};

/// No test waits longer for a condition.
const LIMIT: Duration = Duration::from_secs(20);

struct Node {
    handle: NodeHandle,
    recorder: Recorder,
    store: MemStore,
}

fn config(seed: u64) -> Config {
    let timing = Timing { tick: Duration::from_millis(10), ..Timing::fast() };
    Config::new(timing, seed)
}

async fn begin(channels: &Channels, seed: u64, how: Start, store: MemStore) -> Node {
    let recorder = Recorder::default();
    let handle = start(config(seed), how, store.clone(), recorder.clone(), channels.wire());
    let handle = handle.await.unwrap();
    channels.connect(handle.clone());
    Node { handle, recorder, store }
}

async fn found(channels: &Channels) -> Node {
    let how = Start::Bootstrap { node_id: "node0".into(), addr: "host0:1".into() };
    let node = begin(channels, 1, how, MemStore::default()).await;
    node.until(|status| status.leads()).await;
    node
}

/// Three nodes, the first one leading.
async fn group(channels: &Channels) -> Vec<Node> {
    let mut nodes = vec![found(channels).await];
    for place in 1..3 {
        let (node_id, addr) = (format!("node{place}"), format!("host{place}:1"));
        let joined = nodes[0].handle.join(node_id.clone(), addr.clone()).await.unwrap();
        let own = Member { raft_id: joined.raft_id, node_id, addr };
        let how = Start::Join { own, members: joined.members };
        let node = begin(channels, 10 + place, how, MemStore::default()).await;
        node.until(|status| status.members.len() as u64 == place + 1).await;
        nodes.push(node);
    }
    nodes
}

impl Node {
    async fn until(&self, holds: impl Fn(&Status) -> bool) -> Arc<Status> {
        let waiting = async {
            loop {
                let status = self.handle.status();
                if holds(&status) {
                    return status;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(LIMIT, waiting).await.expect("the condition never came true")
    }

    fn propose(&self, ticket: u64, text: &str) -> Result<(), Refusal> {
        let epoch = self.handle.status().epoch.unwrap_or(Epoch(0));
        self.handle.propose(epoch, Ticket(ticket), Bytes::copy_from_slice(text.as_bytes()))
    }

    async fn applied(&self, text: &str) {
        self.until(|_| self.recorder.entries().iter().any(|entry| entry == text)).await;
    }
}

#[tokio::test]
async fn three_nodes_form_a_group_and_replicate() {
    let nodes = group(&Channels::default()).await;
    nodes[0].propose(1, "hello").unwrap();
    for node in &nodes {
        node.applied("hello").await;
    }
    assert!(nodes[0].recorder.seen().contains(&Seen::Committed(Ticket(1))));
    assert_eq!(nodes[1].propose(2, "no"), Err(Refusal::NotLeader));
}
