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
    Config { snapshot_entries: 40, keep_entries: 5, ..Config::new(timing, seed) }
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

#[tokio::test]
async fn what_a_stale_epoch_or_a_large_entry_builds_on_is_refused_at_once() {
    let node = found(&Channels::default()).await;
    let epoch = node.handle.status().epoch.unwrap();
    let large = Bytes::from(vec![0; crate::PROPOSAL_BYTES_MAX + 1]);
    let refused = node.handle.propose(epoch, Ticket(1), large);
    assert!(matches!(refused, Err(Refusal::TooLarge { .. })));
    let after = node.handle.propose(epoch, Ticket(2), Bytes::from_static(b"after"));
    assert_eq!(after, Err(Refusal::StaleEpoch));
    node.until(|status| status.epoch.is_some_and(|it| it != epoch)).await;
    node.propose(3, "again").unwrap();
    node.applied("again").await;
    assert_eq!(node.recorder.entries(), ["again"]);
}

#[tokio::test]
async fn a_queue_that_is_full_refuses_and_what_was_taken_is_a_prefix() {
    let node = found(&Channels::default()).await;
    let epoch = node.handle.status().epoch.unwrap();
    // The task has no chance to run in between: one thread, and nothing here waits.
    let propose = |ticket| node.handle.propose(epoch, Ticket(ticket), Bytes::from_static(b"x"));
    let taken = (1..).take_while(|ticket| propose(*ticket).is_ok()).count();
    assert_eq!(propose(0), Err(Refusal::StaleEpoch), "everything after the first refusal");
    node.until(|status| status.epoch.is_some_and(|it| it != epoch)).await;
    assert_eq!(node.recorder.entries().len(), taken);
}

#[tokio::test]
async fn barriers_work_everywhere() {
    let nodes = group(&Channels::default()).await;
    nodes[0].propose(1, "a").unwrap();
    nodes[0].applied("a").await;
    for node in &nodes {
        node.handle.read_barrier().await.unwrap();
        assert_eq!(node.recorder.entries(), ["a"]);
    }
}

#[tokio::test]
async fn leadership_moves_on_request_and_before_a_stop() {
    let nodes = group(&Channels::default()).await;
    let to = nodes[1].handle.own();
    assert_eq!(nodes[0].handle.transfer(Some(to)).await, Ok(to));
    nodes[1].until(|status| status.leads()).await;
    nodes[1].propose(1, "before the stop").unwrap();
    let term = nodes[1].handle.status().term;
    assert!(matches!(nodes[1].handle.stop(true).await, StopReason::Asked));
    // The write was taken, so it was let commit; and the next leader did not have to wait for a silence.
    assert!(nodes[1].recorder.seen().contains(&Seen::Committed(Ticket(1))));
    let status = nodes[0].until(|status| status.leader.is_some_and(|it| it != to)).await;
    assert_eq!(status.term, term + 1);
    assert!(matches!(nodes[1].propose(2, "x"), Err(Refusal::ShuttingDown | Refusal::NotLeader)));
}

#[tokio::test]
async fn a_removed_node_ends_and_is_told_so() {
    let channels = Channels::default();
    let nodes = group(&channels).await;
    let id = nodes[2].handle.own();
    nodes[0].handle.remove(id).await.unwrap();
    let reason = tokio::time::timeout(LIMIT, nodes[2].handle.stopped()).await.unwrap();
    assert!(matches!(reason, StopReason::Removed));
    let message = skep_proto::raftpb::Message { from: Some(id.0), ..Default::default() };
    assert_eq!(nodes[0].handle.step(message), Err(StepError::Removed));
    assert_eq!(StepError::Removed.to_string(), "raft: member was removed from the cluster");
    assert_eq!(nodes[0].handle.remove(id).await, Err(MembershipError::Unknown(id)));
}

#[tokio::test]
async fn a_peers_word_that_it_was_removed_ends_a_node() {
    let node = found(&Channels::default()).await;
    node.handle.report_removed();
    assert!(matches!(node.handle.stopped().await, StopReason::Removed));
}

#[tokio::test]
async fn who_does_not_answer_the_dial_back_is_not_admitted() {
    let node = found(&Channels::default()).await;
    let outcome = node.handle.join("node1".into(), "unhealthy:1".into()).await;
    assert!(matches!(outcome, Err(MembershipError::Unhealthy { .. })), "{outcome:?}");
    assert_eq!(node.handle.status().members.len(), 1);
    let own = node.handle.own();
    assert!(matches!(node.handle.check_removal(own), Err(MembershipError::QuorumLoss { .. })));
}

#[tokio::test]
async fn a_failed_disk_stops_the_node_and_answers_everybody() {
    let node = found(&Channels::default()).await;
    node.store.fail();
    node.propose(1, "lost").unwrap();
    let reason = node.handle.stopped().await;
    assert!(matches!(reason, StopReason::Storage(_)), "{reason:?}");
    assert!(reason.to_string().contains("no space left on device"));
    assert!(node.recorder.entries().is_empty());
    assert_eq!(node.recorder.seen().last(), Some(&Seen::Following), "the outcome is not known");
    assert!(node.handle.read_barrier().await.is_err());
    assert_eq!(node.propose(2, "x"), Err(Refusal::ShuttingDown));
}

#[tokio::test]
async fn a_state_machine_that_refuses_an_entry_stops_the_node() {
    let node = found(&Channels::default()).await;
    node.recorder.fail();
    node.propose(1, "poison").unwrap();
    let reason = node.handle.stopped().await;
    assert!(matches!(&reason, StopReason::StateMachine { detail, .. } if detail.contains("told")));
}

#[tokio::test]
async fn a_node_that_was_stopped_comes_back_with_everything() {
    let channels = Channels::default();
    let node = found(&channels).await;
    node.propose(1, "a").unwrap();
    node.applied("a").await;
    let own = node.handle.own();
    node.handle.stop(false).await;
    let again = begin(&channels, 1, Start::Restart, node.store.clone()).await;
    again.until(|status| status.leads()).await;
    assert_eq!((again.handle.own(), again.recorder.entries()), (own, vec!["a".to_owned()]));
}

#[tokio::test]
async fn a_node_without_a_log_says_so() {
    let channels = Channels::default();
    let (store, machine) = (MemStore::default(), Recorder::default());
    let outcome = start(config(1), Start::Restart, store, machine, channels.wire()).await;
    assert!(matches!(outcome.err(), Some(StartError::Empty)));
}

#[tokio::test]
async fn a_follower_that_was_away_is_brought_up_by_snapshot_through_the_log_writer() {
    let channels = Channels::default();
    let mut nodes = group(&channels).await;
    let away = nodes.pop().unwrap();
    let own = away.handle.own();
    away.handle.stop(false).await;
    channels.disconnect(own);
    // Its silence has to be noticed, or the log would be kept for it.
    nodes[0].until(|status| !status.reachable(own)).await;
    for ticket in 0..80 {
        nodes[0].propose(ticket, &format!("entry {ticket}")).unwrap();
        nodes[0].until(|_| nodes[0].recorder.entries().len() as u64 == ticket + 1).await;
    }
    nodes[0].until(|status| status.snapshot_index > 0).await;
    let back = begin(&channels, 99, Start::Restart, away.store.clone()).await;
    back.until(|_| back.recorder.entries().len() == 80).await;
    assert!(back.recorder.seen().iter().any(|seen| matches!(seen, Seen::Restored(_))));
    assert_eq!(back.handle.status().role, Role::Follower);
    assert_ne!(back.handle.own(), RaftId(0));
}

#[tokio::test]
async fn the_size_of_a_snapshot_is_told_with_the_snapshot() {
    let channels = Channels::default();
    let node = found(&channels).await;
    // Enough for one snapshot; nothing is written after it that could carry the size along.
    for ticket in 0..39 {
        node.propose(ticket, &format!("entry {ticket}")).unwrap();
        node.applied(&format!("entry {ticket}")).await;
    }
    let status = node.until(|status| status.snapshot_index > 0).await;
    assert!(status.sizes.snapshot_bytes > 0);
}

#[tokio::test]
async fn a_node_has_not_stopped_while_its_snapshot_is_written() {
    let channels = Channels::default();
    let node = found(&channels).await;
    let release = node.store.hold_stage();
    node.propose(1, "entry").unwrap();
    node.applied("entry").await;
    node.handle.take_snapshot().await;
    // It is taken in before the node is asked to stop.
    node.handle.read_barrier().await.unwrap();
    let handle = node.handle.clone();
    let stopping = tokio::spawn(async move { handle.stop(false).await });
    node.until(|_| node.propose(2, "late") == Err(Refusal::ShuttingDown)).await;
    assert!(!node.store.has_staged());
    drop(release);
    stopping.await.unwrap();
    assert!(node.store.has_staged());
}
