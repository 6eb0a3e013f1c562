//! The dispatcher whole, over a real store and in a time of its own: what nodes see, and what is recorded of them.

use std::time::Duration;

use futures::StreamExt;
use skep_api::{Caller, caller::CallerKind};
use skep_proto::swarmkit::{
    Annotations, AssignmentsRequest, Cluster, ClusterSpec, EncryptionKey, HeartbeatRequest, Node,
    NodeDescription, SessionMessage, SessionRequest, Task, TaskState, TaskStatus, TasksRequest,
    UpdateTaskStatusRequest, assignment::Item, dispatcher_server::Dispatcher, node_status::State,
    update_task_status_request::TaskStatusUpdate,
};
use skep_store::solo::{Solo, lead_alone};
use tokio::{task::JoinHandle, time::sleep};
use tonic::{Code, Request};

use super::*;
use crate::test_group::TestGroup;

/// A dispatcher that runs, with a cluster object and some nodes.
struct Running {
    dispatcher: DispatcherService,
    store: Store,
    group: Arc<TestGroup>,
    task: JoinHandle<()>,
    _solo: Solo,
}

impl Running {
    async fn with(nodes: &[(&str, State)]) -> Running {
        let store = Store::system();
        let solo = lead_alone(&store);
        let key = |t| EncryptionKey { lamport_time: t, ..Default::default() };
        let annotations = Some(Annotations { name: "default".into(), ..Default::default() });
        let cluster = Cluster {
            id: "cluster".into(),
            spec: Some(ClusterSpec { annotations, ..Default::default() }),
            network_bootstrap_keys: vec![key(1), key(2), key(3)],
            ..Default::default()
        };
        store.update(|tx| tx.create(cluster)).await.unwrap();
        let objects: Vec<Node> = nodes.iter().map(|(id, state)| node(id, *state)).collect();
        for result in store.batch(objects, |tx, node| tx.create(node)).await {
            result.unwrap();
        }
        let group = Arc::new(TestGroup::of(&["manager1", "manager2"]));
        let dispatcher = DispatcherService::new(DispatcherConfig {
            store: store.clone(),
            group: group.clone(),
            node_id: "manager1".parse().unwrap(),
            seed: 1,
            metrics: DispatcherMetrics::default(),
        });
        let task = tokio::spawn(run(dispatcher.clone()));
        let running = Running { dispatcher, store, group, task, _solo: solo };
        until(|| running.dispatcher.leadership().is_ok()).await;
        running
    }

    async fn session(&self, node: &str) -> Result<Messages, Status> {
        self.session_with(node, "").await
    }

    async fn session_with(&self, node: &str, session_id: &str) -> Result<Messages, Status> {
        let hostname = format!("host-{node}");
        let description = Some(NodeDescription { hostname, ..Default::default() });
        let request = SessionRequest { description, session_id: session_id.into() };
        let stream = self.dispatcher.session(from(node, request)).await?.into_inner();
        Ok(Messages { stream })
    }

    async fn beat(&self, node: &str, session_id: &str) -> Result<Duration, Status> {
        let request = HeartbeatRequest { session_id: session_id.into() };
        let answer = self.dispatcher.heartbeat(from(node, request)).await?.into_inner();
        Ok(answer.period.unwrap().try_into().unwrap())
    }

    fn stored(&self, node: &str) -> (State, String) {
        let view = self.store.view();
        let status = view.get_text::<Node>(node).unwrap().status.clone().unwrap();
        (status.state(), status.message)
    }

    async fn change(&self, node: &str, change: impl FnOnce(&mut Node)) {
        let id = node.parse().unwrap();
        self.store.update(|tx| tx.modify::<Node>(&id, change)).await.unwrap();
    }
}

struct Messages {
    stream: super::streams::Messages<SessionMessage>,
}

impl Messages {
    async fn next(&mut self) -> Result<SessionMessage, Status> {
        self.stream.next().await.unwrap_or_else(|| Err(Status::internal("the stream has ended")))
    }

    async fn silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.next()).await.is_err()
    }
}

fn node(id: &str, state: State) -> Node {
    let mut node = Node { id: id.into(), ..Default::default() };
    node.status.get_or_insert_default().state = state.into();
    node
}

fn from<T>(node: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller {
        node_id: node.into(),
        cluster_id: "cluster".into(),
        units: Arc::new([]),
        remote_addr: "192.0.2.7:4711".into(),
        kind: CallerKind::Certificate,
    });
    request
}

/// Waits for a condition; time passes at once when nothing else is to do.
async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come true");
}

fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn refusal<T>(result: Result<T, Status>) -> (Code, String) {
    let status = result.err().expect("refused");
    (status.code(), status.message().to_owned())
}

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

fn task(id: &str, node: &str, state: TaskState) -> Task {
    let status = Some(TaskStatus { state: state.into(), ..Default::default() });
    Task { id: id.into(), node_id: node.into(), status, ..Default::default() }
}

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
async fn reports_are_believed_of_a_nodes_own_tasks_only_and_never_lead_back() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session_id = running.session("w").await.unwrap().next().await.unwrap().session_id;
    for t in [task("a", "w", TaskState::Ready), task("b", "other", TaskState::Ready)] {
        running.store.update(|tx| tx.create(t)).await.unwrap();
    }
    let report_number = |task: &str, state: i32| {
        let status = Some(TaskStatus { state, ..Default::default() });
        let updates = vec![TaskStatusUpdate { task_id: task.into(), status }];
        let session_id = session_id.clone();
        running
            .dispatcher
            .update_task_status(from("w", UpdateTaskStatusRequest { session_id, updates }))
    };
    let report = |task: &str, state: TaskState| report_number(task, state.into());
    let foreign = "cannot update a task not assigned this node".to_owned();
    let refused = refusal(report("b", TaskState::Running).await);
    assert_eq!(refused, (Code::PermissionDenied, foreign));
    // A state that is none would stand for ever: nothing is further along.
    let refused = refusal(report_number("a", i32::MAX).await);
    let text = "task a: 2147483647 is not a state of a task".to_owned();
    assert_eq!(refused, (Code::InvalidArgument, text));
    report("missing", TaskState::Running).await.unwrap();
    report("a", TaskState::Running).await.unwrap();
    let stored = || running.store.view().get_text::<Task>("a").unwrap().status.clone().unwrap();
    until(|| stored().state() == TaskState::Running).await;
    assert_eq!(stored().applied_by, "manager1");
    assert!(stored().applied_at.is_some());
    report("a", TaskState::Starting).await.unwrap();
    sleep(seconds(1)).await;
    assert_eq!(stored().state(), TaskState::Running);
}

#[tokio::test(start_paused = true)]
async fn tasks_of_a_node_that_is_down_for_a_day_are_given_up() {
    let running = Running::with(&[("w", State::Down)]).await;
    running.store.update(|tx| tx.create(task("a", "w", TaskState::Running))).await.unwrap();
    let state = || {
        let view = running.store.view();
        view.get_text::<Task>("a").unwrap().status.clone().unwrap().state()
    };
    tokio::time::advance(seconds(24 * 3600 - 10)).await;
    sleep(seconds(1)).await;
    assert_eq!(state(), TaskState::Running);
    sleep(seconds(20)).await;
    assert_eq!(state(), TaskState::Orphaned);
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

#[tokio::test(start_paused = true)]
async fn states_that_a_task_passes_through_become_one_write() {
    let running = Running::with(&[("w", State::Unknown)]).await;
    let session_id = running.session("w").await.unwrap().next().await.unwrap().session_id;
    running.store.update(|tx| tx.create(task("a", "w", TaskState::Assigned))).await.unwrap();
    let stored = || {
        let view = running.store.view();
        view.get_text::<Task>("a").unwrap().status.clone().unwrap().state()
    };
    let report = async |state: TaskState| {
        let status = Some(TaskStatus { state: state.into(), ..Default::default() });
        let updates = vec![TaskStatusUpdate { task_id: "a".into(), status }];
        let request = UpdateTaskStatusRequest { session_id: session_id.clone(), updates };
        running.dispatcher.update_task_status(from("w", request)).await.unwrap();
    };
    sleep(seconds(1)).await;
    let before = running.store.view().version();
    for state in [TaskState::Accepted, TaskState::Preparing, TaskState::Starting] {
        report(state).await;
        sleep(Duration::from_millis(20)).await;
        assert_eq!(stored(), TaskState::Assigned);
    }
    sleep(Duration::from_millis(50)).await;
    assert_eq!(stored(), TaskState::Starting);
    sleep(seconds(1)).await;
    report(TaskState::Running).await;
    sleep(Duration::from_millis(5)).await;
    assert_eq!(stored(), TaskState::Running, "at once");
    assert_eq!(running.store.view().version() - before, 2);
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
            super::fan_out::pass_on(&leadership, event);
        }
        let each = start.elapsed() / CHANGES as u32;
        println!("{nodes} sessions: {each:?} for each change");
        let touched: usize = followers.iter().map(|follower| follower.take().tasks.len()).sum();
        assert_eq!(touched, CHANGES);
    }
}
