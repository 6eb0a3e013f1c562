//! Sessions: who gets one, what its node hears, and how it ends.

use futures::StreamExt as _;
use skep_proto::swarmkit::{Cluster, Node, node_status::State};
use tokio::time::sleep;
use tonic::Code;

use super::{Running, refusal, seconds, until};

#[tokio::test(start_paused = true)]
async fn a_node_that_registers_is_ready_before_it_hears_anything() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let mut messages = running.session("w").await.unwrap();
    let first = messages.next().await.unwrap();
    let seen = first.node.unwrap();
    let status = seen.status.unwrap();
    assert_eq!((status.state(), status.addr.as_str()), (State::Ready, "192.0.2.7"));
    assert_eq!(seen.description.unwrap().hostname, "host-w");
    assert_eq!(first.session_id.len(), 25);
    assert_eq!(first.managers.len(), 2);
    assert_eq!(first.network_bootstrap_keys.len(), 3);
    assert!(messages.silent_for(seconds(5)).await, "nothing else has changed");
}

#[tokio::test(start_paused = true)]
async fn every_change_that_concerns_a_node_makes_a_full_message() {
    let running = Running::with(&[("w", State::Unknown), ("other", State::Unknown)]).await;
    let mut messages = running.session("w").await.unwrap();
    messages.next().await.unwrap();
    running.change("other", |node| node.role = 1).await;
    assert!(messages.silent_for(seconds(1)).await, "another node's change");
    running.change("w", |node| node.role = 1).await;
    let message = messages.next().await.unwrap();
    assert_eq!((message.node.unwrap().role, message.managers.len()), (1, 2));
    running.group.join(3, "manager3");
    assert_eq!(messages.next().await.unwrap().managers.len(), 3);
    let id = "cluster".parse().unwrap();
    let root = |c: &mut Cluster| c.root_ca.get_or_insert_default().ca_cert = "new root".into();
    running.store.update(|tx| tx.modify::<Cluster>(&id, root)).await.unwrap();
    let message = messages.next().await.unwrap();
    assert_eq!(message.root_ca, "new root");
    assert!(message.node.is_some() && message.network_bootstrap_keys.len() == 3);
}

#[tokio::test(start_paused = true)]
async fn heartbeats_keep_a_node_and_their_absence_loses_it() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let mut messages = running.session("w").await.unwrap();
    let session = messages.next().await.unwrap().session_id;
    for _ in 0..20 {
        let period = running.beat("w", &session).await.unwrap();
        assert!(period >= seconds(4) && period <= seconds(6), "{period:?}");
        sleep(period).await;
    }
    assert_eq!(running.stored("w").0, State::Ready);
    sleep(seconds(17)).await;
    assert_eq!(running.stored("w"), (State::Down, "heartbeat failure".into()));
    let not_registered = (Code::NotFound, "node not registered".to_owned());
    let told: Vec<_> = messages.stream.collect().await;
    assert_eq!(refusal(told.into_iter().next_back().unwrap()), not_registered);
    assert_eq!(refusal(running.beat("w", &session).await), not_registered);
    running.session("w").await.unwrap();
    assert_eq!(running.stored("w"), (State::Ready, String::new()));
}

#[tokio::test(start_paused = true)]
async fn nodes_that_do_not_come_to_a_new_leader_are_unknown_and_then_down() {
    let nodes = [("back", State::Ready), ("gone", State::Ready), ("down", State::Down)];
    let running = Running::with(&nodes).await;
    let version = |id: &str| {
        let view = running.store.view();
        view.get_text::<Node>(id).unwrap().meta
    };
    let before = version("back");
    let mut messages = running.session("back").await.unwrap();
    let session = messages.next().await.unwrap().session_id;
    assert_ne!(version("back"), before, "it had no description");
    sleep(seconds(3)).await;
    let unknown = "Node moved to \"unknown\" state due to leadership change in cluster";
    assert_eq!(running.stored("gone"), (State::Unknown, unknown.into()));
    assert_eq!(running.stored("back").0, State::Ready);
    assert_eq!(running.stored("down").0, State::Down);
    for _ in 0..8 {
        sleep(running.beat("back", &session).await.unwrap()).await;
    }
    let never = "heartbeat failure for node in \"unknown\" state";
    assert_eq!(running.stored("gone"), (State::Down, never.into()));
    assert_eq!(running.stored("back").0, State::Ready);
}

#[tokio::test(start_paused = true)]
async fn a_node_that_comes_back_unchanged_costs_no_write_but_a_proof_of_leadership() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    running.session("w").await.unwrap();
    let (before, barriers) = (running.store.view().version(), running.group.barriers());
    running.session("w").await.unwrap();
    assert_eq!(running.store.view().version(), before);
    assert_eq!(running.group.barriers(), barriers + 1);
    running.group.set_leads(false);
    assert_eq!(running.session("w").await.err().unwrap().code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn a_later_session_ends_the_earlier_one_and_a_known_one_is_resumed() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let mut first = running.session("w").await.unwrap();
    let id = first.next().await.unwrap().session_id;
    let mut resumed = running.session_with("w", &id).await.unwrap();
    assert_eq!(resumed.next().await.unwrap().session_id, id);
    let mut second = running.session("w").await.unwrap();
    assert_ne!(second.next().await.unwrap().session_id, id);
    let invalid = (Code::InvalidArgument, "session invalid".to_owned());
    assert_eq!(refusal(first.next().await), invalid);
    assert_eq!(refusal(running.beat("w", &id).await), invalid);
}

#[tokio::test(start_paused = true)]
async fn who_may_not_register_is_told_why() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let not_found = (Code::Unknown, "node not found".to_owned());
    assert_eq!(refusal(running.session("stranger").await), not_found);
    for _ in 0..3 {
        running.session("w").await.unwrap();
    }
    let text = "node w exceeded rate limit count of registrations".to_owned();
    assert_eq!(refusal(running.session("w").await), (Code::Unavailable, text));
    sleep(seconds(8)).await;
    running.session("w").await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_removed_node_is_out_at_once() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let mut messages = running.session("w").await.unwrap();
    let session = messages.next().await.unwrap().session_id;
    let id = "w".parse().unwrap();
    running.store.update(|tx| tx.remove::<Node>(&id)).await.unwrap();
    let not_registered = (Code::NotFound, "node not registered".to_owned());
    assert_eq!(refusal(messages.next().await), not_registered);
    until(|| running.dispatcher.session_count() == 0).await;
    assert_eq!(refusal(running.beat("w", &session).await), not_registered);
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_stops_sends_its_nodes_away() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let mut messages = running.session("w").await.unwrap();
    let session = messages.next().await.unwrap().session_id;
    running.task.abort();
    assert_eq!(messages.next().await.unwrap().managers.len(), 2, "a last word");
    let sent_away = (Code::Aborted, "node must disconnect".to_owned());
    assert_eq!(refusal(messages.next().await), sent_away);
    until(|| running.task.is_finished()).await;
    assert_eq!(running.stored("w").0, State::Ready, "nothing is written");
    let stopped = (Code::Aborted, "dispatcher is stopped".to_owned());
    assert_eq!(refusal(running.beat("w", &session).await), stopped);
    assert_eq!(refusal(running.session("w").await), stopped);
}

#[tokio::test(start_paused = true)]
async fn many_nodes_that_come_at_once_share_their_writes() {
    let names: Vec<String> = (0..2_000).map(|i| format!("w{i}")).collect();
    let nodes: Vec<_> = names.iter().map(|name| (name.as_str(), State::Ready)).collect();
    let running = Running::with(&nodes).await;
    let before = running.store.view().version();
    let sessions = futures::future::join_all(names.iter().map(|name| running.session(name))).await;
    assert!(sessions.iter().all(Result::is_ok));
    assert_eq!(running.dispatcher.session_count(), 2_000);
    let entries = running.store.view().version() - before;
    assert!(entries <= 15, "{entries} log entries");
}
