//! What nodes are told to run, and when.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use skep_proto::swarmkit::{
    AssignmentsMessage, AssignmentsRequest, Driver, Network, NetworkAttachment,
    NetworkAttachmentSpec, Task, TaskSpec, TaskState, TasksRequest, assignment::Item,
    dispatcher_server::Dispatcher, node_status::State, task_spec::Runtime,
};
use tokio::time::{Instant, sleep};
use tonic::Code;

use super::{
    super::timing::{BALANCER_TAKEN_UP, BALANCER_WAIT_MAX},
    Running, from, seconds, task,
};

#[tokio::test(start_paused = true)]
async fn assignments_begin_with_all_there_is_and_follow_what_changes() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session = running.session("w").await.unwrap().next().await.unwrap().session_id;
    let request = AssignmentsRequest { session_id: session.clone() };
    let mut stream =
        running.dispatcher.assignments(from("w", request.clone())).await.unwrap().into_inner();
    let first = stream.next().await.unwrap().unwrap();
    assert_eq!((first.applies_to.as_str(), first.results_in.as_str()), ("", "1"));
    assert_eq!((first.r#type, first.changes.len()), (0, 0), "complete and empty");
    for t in [task("a", "w", TaskState::Assigned), task("b", "other", TaskState::Assigned)] {
        running.store.update(|tx| tx.create(t)).await.unwrap();
    }
    let second = stream.next().await.unwrap().unwrap();
    assert_eq!((second.r#type, second.applies_to.as_str()), (1, "1"), "incremental");
    assert_eq!(second.results_in, "2");
    let Some(Item::Task(seen)) = second.changes[0].assignment.clone().unwrap().item else {
        panic!("no task")
    };
    assert_eq!((second.changes.len(), seen.id.as_str()), (1, "a"));
    running.task.abort();
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::Aborted);

    let stale = Running::with(&[("w", State::Unknown)]).await;
    let session_id = stale.session("w").await.unwrap().next().await.unwrap().session_id;
    stale.group.set_leads(false);
    let request = AssignmentsRequest { session_id };
    let mut stream = stale.dispatcher.assignments(from("w", request)).await.unwrap().into_inner();
    assert!(stream.next().await.unwrap().is_err(), "nothing from a manager that may be behind");
}

#[tokio::test(start_paused = true)]
async fn a_lone_change_is_sent_at_once_and_a_wave_in_one_message() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session_id = running.session("w").await.unwrap().next().await.unwrap().session_id;
    let request = AssignmentsRequest { session_id };
    let mut stream = running.dispatcher.assignments(from("w", request)).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    sleep(seconds(1)).await;
    let start = tokio::time::Instant::now();
    let create =
        |id: String| running.store.update(move |tx| tx.create(task(&id, "w", TaskState::Assigned)));
    create("lone".into()).await.unwrap();
    let message = stream.next().await.unwrap().unwrap();
    assert_eq!((message.changes.len(), start.elapsed()), (1, Duration::ZERO));
    for n in 0..100 {
        create(format!("t{n}")).await.unwrap();
    }
    let message = stream.next().await.unwrap().unwrap();
    assert_eq!(message.changes.len(), 100);
    assert!(start.elapsed() < Duration::from_millis(20), "{:?}", start.elapsed());

    // What the node reports is not sent back to it.
    let id = "t0".parse().unwrap();
    let running_state = |task: &mut Task| {
        task.status.get_or_insert_default().state = TaskState::Running.into();
    };
    running.store.update(|tx| tx.modify::<Task>(&id, running_state)).await.unwrap();
    // Shorter than what a session lasts without a heartbeat.
    assert!(tokio::time::timeout(seconds(5), stream.next()).await.is_err());

    // A second stream of the session takes the place of the first.
    let session_id = running.dispatcher.leadership().unwrap().sessions.of(&"w".parse().unwrap());
    let request = AssignmentsRequest { session_id: session_id.unwrap().id.to_string() };
    let mut again = running.dispatcher.assignments(from("w", request)).await.unwrap().into_inner();
    assert_eq!(again.next().await.unwrap().unwrap().changes.len(), 101);
    assert_eq!(stream.next().await.unwrap().unwrap_err().code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn an_agent_of_old_gets_its_tasks_whole_each_time() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session_id = running.session("w").await.unwrap().next().await.unwrap().session_id;
    let request = TasksRequest { session_id };
    let mut stream = running.dispatcher.tasks(from("w", request)).await.unwrap().into_inner();
    assert_eq!(stream.next().await.unwrap().unwrap().tasks, []);
    for (id, node) in [("a", "w"), ("b", "other"), ("c", "w")] {
        let task = task(id, node, TaskState::Assigned);
        running.store.update(|tx| tx.create(task)).await.unwrap();
    }
    let mut names = Vec::new();
    while names.len() < 2 {
        let tasks = stream.next().await.unwrap().unwrap().tasks;
        names = tasks.into_iter().map(|task| task.id).collect();
    }
    assert_eq!(names, ["a", "c"]);
}

/// Prints what it costs to put a change of a task down for its node, with few sessions and with many.
#[tokio::test]
#[ignore = "measures: cargo test --release -p skepd --lib -- --ignored --nocapture cost_of_a_change"]
async fn cost_of_a_change_of_a_task() {
    const CHANGES: usize = 20_000;
    for nodes in [10, 1_000, 10_000] {
        let names: Vec<String> = (0..nodes).map(|i| format!("w{i}")).collect();
        let objects: Vec<_> = names.iter().map(|name| (name.as_str(), State::Ready)).collect();
        let running = Running::with(&objects).await;
        for chunk in names.chunks(1_000) {
            let sessions = chunk.iter().map(|name| running.session(name));
            assert!(futures::future::join_all(sessions).await.iter().all(Result::is_ok));
        }
        let leadership = running.dispatcher.leadership().unwrap();
        let followers: Vec<_> = names
            .iter()
            .map(|name| leadership.sessions.of(&name.parse().unwrap()).unwrap().follow())
            .collect();
        let events: Vec<skep_store::Event> = (0..CHANGES)
            .map(|n| {
                let new = task(&format!("t{n}"), &names[n % nodes], TaskState::Assigned);
                let old = Task { node_id: String::new(), ..new.clone() };
                skep_store::Event::Task(skep_store::Change {
                    id: new.id.parse().unwrap(),
                    old: Some(Arc::new(old)),
                    new: Some(Arc::new(new)),
                })
            })
            .collect();
        let start = std::time::Instant::now();
        for event in &events {
            super::super::fan_out::pass_on(&leadership, event);
        }
        let each = start.elapsed() / CHANGES as u32;
        println!("{nodes} sessions: {each:?} for each change");
        let touched: usize = followers.iter().map(|follower| follower.take().tasks.len()).sum();
        assert_eq!(touched, CHANGES);
    }
}

/// A container that somebody attaches to an overlay network on node "w".
fn single_container(id: &str, network: &Network) -> Task {
    let runtime = Some(Runtime::Attachment(NetworkAttachmentSpec::default()));
    let spec = TaskSpec { runtime, ..Default::default() };
    Task {
        spec: Some(spec.into()),
        networks: vec![in_network(network)],
        ..task(id, "w", TaskState::Assigned)
    }
}

fn in_network(network: &Network) -> NetworkAttachment {
    NetworkAttachment { network: Some(network.clone().into()), ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn a_single_container_waits_until_its_node_knows_its_load_balancer() {
    let driver_state = Some(Driver { name: "overlay".into(), ..Default::default() });
    let network = Network { id: "net".into(), driver_state, ..Default::default() };
    let running = Running::with(&[("w", State::Unknown)]).await;
    let mut session = running.session("w").await.unwrap();
    let session_id = session.next().await.unwrap().session_id;
    let request = AssignmentsRequest { session_id };
    let mut stream = running.dispatcher.assignments(from("w", request)).await.unwrap().into_inner();
    stream.next().await.unwrap().unwrap();
    let ids = |message: AssignmentsMessage| -> Vec<String> {
        let items = message.changes.into_iter().map(|c| c.assignment.unwrap().item.unwrap());
        let tasks = items.filter_map(|item| match item {
            Item::Task(task) => Some(task.id),
            _ => None,
        });
        tasks.collect()
    };

    // The tasks of services wait on the node, where they are wanted at once.
    let of_service = Task {
        networks: vec![in_network(&network)],
        ..task("of-service", "w", TaskState::Assigned)
    };
    let single = single_container("single", &network);
    for task in [single, of_service] {
        running.store.update(|tx| tx.create(task)).await.unwrap();
    }
    let start = Instant::now();
    assert_eq!(ids(stream.next().await.unwrap().unwrap()), ["of-service"]);
    assert!(start.elapsed() < BALANCER_TAKEN_UP);

    // It is there a while after the node was told of its load balancer.
    running.change("w", |node| node.attachments = vec![in_network(&network)]).await;
    assert_eq!(session.next().await.unwrap().node.unwrap().attachments.len(), 1);
    let told = Instant::now();
    assert_eq!(ids(stream.next().await.unwrap().unwrap()), ["single"]);
    assert!(told.elapsed() >= BALANCER_TAKEN_UP && told.elapsed() < 2 * BALANCER_TAKEN_UP);

    // The node knows now, also when something else changes.
    running.change("w", |node| node.role = 1).await;
    session.next().await.unwrap();
    let start = Instant::now();
    running.store.update(|tx| tx.create(single_container("second", &network))).await.unwrap();
    assert_eq!(ids(stream.next().await.unwrap().unwrap()), ["second"]);
    assert!(start.elapsed() < BALANCER_TAKEN_UP);

    // One that is gone before the node heard of it is never spoken of.
    let elsewhere = Network { id: "elsewhere".into(), ..network.clone() };
    let gone = single_container("gone", &elsewhere);
    running.store.update(|tx| tx.create(gone)).await.unwrap();
    sleep(BALANCER_TAKEN_UP).await;
    running.store.update(|tx| tx.remove::<Task>(&"gone".parse().unwrap())).await.unwrap();

    // Where the node gets none, nobody waits for ever.
    let full = Network { id: "full".into(), ..network.clone() };
    let start = Instant::now();
    running.store.update(|tx| tx.create(single_container("hopeless", &full))).await.unwrap();
    assert_eq!(ids(stream.next().await.unwrap().unwrap()), ["hopeless"]);
    assert!(start.elapsed() >= BALANCER_WAIT_MAX && start.elapsed() < 2 * BALANCER_WAIT_MAX);
}
