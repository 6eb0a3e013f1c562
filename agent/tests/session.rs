//! An agent in front of a dispatcher, over real messages.

mod fake_dispatcher;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use fake_dispatcher::{FakeDispatcher, PERIOD, message};
use skep_agent::{Agent, AgentConfig, AgentState, Assignments, Executor, IdentityEvents, Reporter};
use skep_proto::swarmkit::{
    Assignment, AssignmentChange, AssignmentsMessage, EncryptionKey, Node, NodeDescription,
    NodeRole, NodeTlsInfo, SessionMessage, Task, TaskState, TaskStatus, assignment::Item,
    assignments_message::Type,
};
use tokio::{
    sync::watch,
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

/// Runs nothing, like the executor that it wraps, under a name that can change; takes down what it is told.
#[derive(Default)]
struct Recorder {
    hostname: Mutex<String>,
    told: Mutex<Vec<String>>,
    nothing: skep_agent::executor::None,
}

impl Recorder {
    fn tell(&self, what: String) {
        self.told.lock().unwrap().push(what);
    }

    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.told.lock().unwrap())
    }
}

impl Executor for Recorder {
    fn describe(&self) -> NodeDescription {
        let hostname = self.hostname.lock().unwrap().clone();
        NodeDescription { hostname, ..Default::default() }
    }

    fn configure(&self, node: &Node) {
        self.tell(format!("node role {}", node.role));
    }

    fn set_network_keys(&self, keys: &[EncryptionKey]) {
        let times: Vec<_> = keys.iter().map(|key| key.lamport_time).collect();
        self.tell(format!("keys {times:?}"));
    }

    fn assign(&self, assignments: Assignments, reporter: &Reporter) {
        match &assignments {
            Assignments::Complete(changes) => self.tell(format!("complete {}", changes.len())),
            Assignments::Incremental(changes) => self.tell(format!("changed {}", changes.len())),
        }
        self.nothing.assign(assignments, reporter);
    }
}

impl IdentityEvents for Recorder {
    fn tls_info(&self) -> Option<NodeTlsInfo> {
        Some(NodeTlsInfo { trust_root: "trusted".into(), ..Default::default() })
    }

    fn root_changed(&self, root: Bytes) {
        self.tell(format!("root {}", String::from_utf8_lossy(&root)));
    }

    fn role_wanted(&self, role: NodeRole) {
        self.tell(format!("role {role:?}"));
    }

    fn rotation_wanted(&self) {
        self.tell("rotate".into());
    }
}

struct Running {
    dispatcher: FakeDispatcher,
    recorder: Arc<Recorder>,
    state: watch::Receiver<AgentState>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

fn start() -> Running {
    let (dispatcher, pipe) = fake_dispatcher::start();
    let recorder = Arc::new(Recorder::default());
    let agent = Agent::new(AgentConfig {
        executor: recorder.clone(),
        identity: recorder.clone(),
        connector: Arc::new(pipe),
        remembered: None,
        seed: 1,
    });
    let (state, stop) = (agent.watch(), CancellationToken::new());
    let stopped = stop.clone();
    let task = tokio::spawn(async move { agent.run(stopped).await });
    Running { dispatcher, recorder, state, stop, task }
}

/// Time for everything that is under way to arrive; it passes at once when nothing is.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

fn set(number: u64, applies_to: &str, complete: bool, tasks: &[&str]) -> AssignmentsMessage {
    let change = |id: &&str| {
        let status = Some(TaskStatus { state: TaskState::Assigned.into(), ..Default::default() });
        let task = Task { id: (*id).into(), status, ..Default::default() };
        let assignment = Some(Assignment { item: Some(Item::Task(task)) });
        AssignmentChange { assignment, ..Default::default() }
    };
    AssignmentsMessage {
        r#type: if complete { Type::Complete } else { Type::Incremental }.into(),
        applies_to: applies_to.into(),
        results_in: number.to_string(),
        changes: tasks.iter().map(change).collect(),
    }
}

#[tokio::test(start_paused = true)]
async fn it_registers_beats_at_the_period_it_is_given_and_stops_when_told() {
    let mut running = start();
    let (request, _session) = running.dispatcher.register("s1").await;
    assert_eq!(request.session_id, "");
    assert_eq!(request.description.unwrap().tls_info.unwrap().trust_root, "trusted");
    let (first, session) = running.dispatcher.beat().await;
    assert_eq!(session, "s1");
    for n in 1..=5 {
        let (at, _) = running.dispatcher.beat().await;
        let expected = first + n * PERIOD;
        assert!(at >= expected && at < expected + Duration::from_millis(100), "{n}");
    }
    assert_eq!(running.dispatcher.managers_told().len(), 1);
    let state = running.state.borrow().clone();
    assert_eq!((state.session_id.as_deref(), state.last_error), (Some("s1"), None));
    assert_eq!(state.node.unwrap().id, "n");
    running.stop.cancel();
    running.task.await.unwrap();
    assert_eq!(running.state.borrow().session_id, None);
}

#[tokio::test(start_paused = true)]
async fn it_passes_on_what_changed_in_the_session_messages() {
    let mut running = start();
    let (_, session) = running.dispatcher.register("s1").await;
    settle().await;
    assert_eq!(running.recorder.told(), ["root root", "role Worker", "node role 0"]);
    let key = |t| EncryptionKey { lamport_time: t, ..Default::default() };
    let mut next = SessionMessage {
        network_bootstrap_keys: vec![key(7), key(5), key(6)],
        root_ca: "second root".into(),
        ..message("s1")
    };
    next.node.as_mut().unwrap().spec.as_mut().unwrap().desired_role = NodeRole::Manager.into();
    session.send(Ok(next.clone())).await.unwrap();
    session.send(Ok(next)).await.unwrap();
    settle().await;
    let told = running.recorder.told();
    assert_eq!(told, ["root second root", "role Manager", "keys [5, 6, 7]", "node role 0"]);
}

#[tokio::test(start_paused = true)]
async fn a_broken_session_is_replaced_by_a_new_one() {
    let mut running = start();
    let (_, session) = running.dispatcher.register("s1").await;
    session.send(Err(Status::aborted("node must disconnect"))).await.unwrap();
    let broken = Instant::now();
    let (request, _second) = running.dispatcher.register("s2").await;
    assert!(broken.elapsed() < Duration::from_millis(150), "{:?}", broken.elapsed());
    assert_eq!(request.session_id, "", "the old session is not resumed");
    settle().await;
    assert_eq!(running.state.borrow().session_id.as_deref(), Some("s2"));

    running.dispatcher.refuse_beats();
    running.dispatcher.beat().await;
    let (_, _third) = running.dispatcher.register("s3").await;
}

#[tokio::test(start_paused = true)]
async fn a_dispatcher_that_does_not_answer_is_given_up_after_five_seconds() {
    let mut running = start();
    running.dispatcher.fall_silent();
    let (first, _) = running.dispatcher.next().await;
    let (second, _) = running.dispatcher.next().await;
    let waited = second - first;
    let expected = Duration::from_secs(5);
    assert!(waited >= expected && waited < expected + Duration::from_millis(200), "{waited:?}");
    let error = running.state.borrow().last_error.clone();
    assert_eq!(error.as_deref(), Some("the manager did not answer Session within 5 s"));
    for _ in 0..8 {
        running.dispatcher.next().await;
    }
    let (before, _) = running.dispatcher.next().await;
    let (after, _) = running.dispatcher.next().await;
    assert!(after - before <= Duration::from_secs(13), "a timeout and the longest pause");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_describes_itself_anew_keeps_its_session() {
    let mut running = start();
    let (_, _session) = running.dispatcher.register("s1").await;
    settle().await;
    *running.recorder.hostname.lock().unwrap() = "renamed".into();
    let changed = Instant::now();
    let (request, _session) = running.dispatcher.register("s1").await;
    assert!(changed.elapsed() <= Duration::from_secs(21), "{:?}", changed.elapsed());
    assert_eq!(request.session_id, "s1");
    assert_eq!(request.description.unwrap().hostname, "renamed");
}

#[tokio::test(start_paused = true)]
async fn tasks_are_refused_and_said_so_again_in_a_new_session() {
    let mut running = start();
    let (_, session) = running.dispatcher.register("s1").await;
    let (request, assignments) = running.dispatcher.open().await;
    assert_eq!(request.session_id, "s1");
    assignments.send(Ok(set(1, "", true, &["a", "b"]))).await.unwrap();
    let reported = |r: skep_proto::swarmkit::UpdateTaskStatusRequest| -> Vec<_> {
        let one = |u: skep_proto::swarmkit::update_task_status_request::TaskStatusUpdate| {
            (u.task_id, u.status.unwrap().state())
        };
        r.updates.into_iter().map(one).collect()
    };
    let rejected = |id: &str| (id.to_owned(), TaskState::Rejected);
    let first = reported(running.dispatcher.report().await);
    assert_eq!(first, [rejected("a"), rejected("b")]);
    assignments.send(Ok(set(2, "1", false, &["c"]))).await.unwrap();
    assert_eq!(reported(running.dispatcher.report().await), [rejected("c")]);

    session.send(Err(Status::aborted("node must disconnect"))).await.unwrap();
    let (_, _session) = running.dispatcher.register("s2").await;
    let again = running.dispatcher.report().await;
    assert_eq!(again.session_id, "s2");
    assert_eq!(reported(again), [rejected("a"), rejected("b"), rejected("c")]);
}

#[tokio::test(start_paused = true)]
async fn a_gap_in_the_assignments_is_closed_by_a_complete_set() {
    let mut running = start();
    let (_, _session) = running.dispatcher.register("s1").await;
    let (_, first) = running.dispatcher.open().await;
    settle().await;
    running.recorder.told();
    first.send(Ok(set(1, "", true, &[]))).await.unwrap();
    first.send(Ok(set(2, "1", false, &["a"]))).await.unwrap();
    first.send(Ok(set(4, "3", false, &["b"]))).await.unwrap();
    let (request, second) = running.dispatcher.open().await;
    assert_eq!(request.session_id, "s1", "the session goes on");
    second.send(Ok(set(1, "", true, &["a", "b"]))).await.unwrap();
    second.send(Ok(set(2, "1", true, &["b"]))).await.unwrap();
    settle().await;
    let told = running.recorder.told();
    assert_eq!(told, ["complete 0", "changed 1", "complete 2", "complete 1"]);
}
