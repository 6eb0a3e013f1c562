//! Simulated nodes under the assignments that managers send, in the time of the test.

use std::{sync::Arc, time::Duration};

use futures::StreamExt as _;
use parking_lot::Mutex;
use skep_ca::Clock;
use skep_proto::swarmkit::{
    Annotations, Assignment, AssignmentChange, ContainerSpec, LogSelector, LogSubscriptionOptions,
    NodeDescription, Secret, SecretReference, Task, TaskSpec,
    TaskState::{self, *},
    TaskStatus,
    assignment::Item,
    assignment_change::AssignmentAction,
    task_spec::Runtime,
    update_task_status_request::TaskStatusUpdate,
};
use tokio::time::Instant;

use super::*;
use crate::{Assignments, Executor as _, Reporter};

/// Keeps what tasks enter, with the seconds since the start.
struct Diary {
    start: Instant,
    lines: Mutex<Vec<String>>,
    rules: Invariants,
}

impl Witness for Diary {
    fn registered(&self, node: &SimulatedNode, session_id: &str) {
        self.rules.registered(node, session_id);
    }

    fn assigned(&self, node: &SimulatedNode, assignments: &Assignments) {
        self.rules.assigned(node, assignments);
    }

    fn entered(&self, node: &SimulatedNode, task: &TaskInfo, state: TaskState) {
        let time = self.start.elapsed().as_secs_f64();
        self.lines.lock().push(format!("{time:.1} {} {state:?}", task.id));
        self.rules.entered(node, task, state);
    }

    fn dropped(&self, node: &SimulatedNode, task: &TaskInfo, state: TaskState) {
        self.rules.dropped(node, task, state);
    }

    fn acknowledged(&self, _: &SimulatedNode, _: &[TaskStatusUpdate]) {}
}

struct Bench {
    diary: Arc<Diary>,
    node: Arc<SimulatedNode>,
    reporter: Reporter,
}

impl Bench {
    fn new() -> Bench {
        let (start, lines, rules) = (Instant::now(), Mutex::default(), Invariants::default());
        let diary = Arc::new(Diary { start, lines, rules });
        let timers = Timers::default();
        let node = SimulatedNode::new(SimulatedNodeConfig {
            node_id: "node".into(),
            description: NodeDescription::default(),
            seed: 1,
            clock: Clock::still(std::time::UNIX_EPOCH),
            timers: timers.clone(),
            witness: diary.clone(),
        });
        tokio::spawn(async move { timers.run().await });
        Bench { diary, node, reporter: Reporter::default() }
    }

    fn complete(&self, items: Vec<Item>) {
        let changes = items.into_iter().map(|item| change(item, AssignmentAction::Update));
        self.node.assign(Assignments::Complete(changes.collect()), &self.reporter);
    }

    fn update(&self, item: Item) {
        let changes = vec![change(item, AssignmentAction::Update)];
        self.node.assign(Assignments::Incremental(changes), &self.reporter);
    }

    fn remove(&self, item: Item) {
        let changes = vec![change(item, AssignmentAction::Remove)];
        self.node.assign(Assignments::Incremental(changes), &self.reporter);
    }

    /// What happened since the last call.
    fn diary(&self) -> Vec<String> {
        std::mem::take(&mut *self.diary.lines.lock())
    }
}

fn change(item: Item, action: AssignmentAction) -> AssignmentChange {
    AssignmentChange { assignment: Some(Assignment { item: Some(item) }), action: action.into() }
}

fn task(id: &str, script: &str, state: TaskState, desired: TaskState) -> Item {
    let container = ContainerSpec {
        image: "sim:run".into(),
        labels: [(script::LABEL.to_owned(), script.to_owned())].into(),
        ..Default::default()
    };
    Item::Task(Task {
        id: id.into(),
        service_id: "web-id".into(),
        service_annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
        slot: id.bytes().map(u64::from).sum(),
        spec: Some(
            TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }.into(),
        ),
        status: Some(TaskStatus { state: state.into(), ..Default::default() }),
        desired_state: desired.into(),
        ..Default::default()
    })
}

async fn after(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn tasks_do_what_their_scripts_say_when_they_say_it() {
    let bench = Bench::new();
    bench.complete(vec![
        task("plain", "", Assigned, Running),
        task("slow", "prepare=1s start=2s", Assigned, Running),
        task("job", "run=4s", Assigned, Complete),
        task("crash", "run=5s exit=137", Assigned, Running),
        task("bad", "prepare=1s fail=prepare", Assigned, Running),
        task("worse", "start=1s fail=start", Assigned, Running),
        task("unreadable", "walk=1s", Assigned, Running),
        task("early", "", Assigned, Ready),
    ]);
    after(Duration::from_secs(10)).await;
    let expected = [
        "0.0 plain Running",
        "0.0 slow Preparing",
        "0.0 job Running",
        "0.0 crash Running",
        "0.0 bad Preparing",
        "0.0 worse Starting",
        "0.0 unreadable Rejected",
        "0.0 early Ready",
        "1.0 bad Rejected",
        "1.0 slow Starting",
        "1.0 worse Failed",
        "3.0 slow Running",
        "4.0 job Complete",
        "5.0 crash Failed",
    ];
    assert_eq!(bench.diary(), expected);
    bench.update(task("early", "", Ready, Running));
    bench.update(task("plain", "", Running, Shutdown));
    bench.update(task("slow", "", Running, Remove));
    assert_eq!(bench.diary(), ["10.0 early Running", "10.0 plain Shutdown", "10.0 slow Shutdown"]);
    assert_eq!(bench.diary.rules.broken(), [""; 0]);
    let stopped: Vec<_> =
        bench.diary.rules.take_stops().into_iter().map(|s| s.task.to_string()).collect();
    assert_eq!(stopped, ["plain", "slow"]);
}

#[tokio::test(start_paused = true)]
async fn stopping_takes_its_time_and_happens_once() {
    let bench = Bench::new();
    bench.complete(vec![task("t", "stop=3s run=1h", Assigned, Running)]);
    after(Duration::from_secs(1)).await;
    for desired in [Shutdown, Shutdown, Remove] {
        bench.update(task("t", "", Running, desired));
        after(Duration::from_secs(1)).await;
    }
    after(Duration::from_secs(5)).await;
    assert_eq!(bench.diary(), ["0.0 t Running", "4.0 t Shutdown"]);
    assert_eq!(bench.diary.rules.take_stops().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_task_needs_its_secrets_and_they_go_with_it() {
    let bench = Bench::new();
    let with_secret = |id: &str| {
        let Item::Task(mut task) = task(id, "", Assigned, Running) else { unreachable!() };
        let Some(Runtime::Container(container)) = &mut task.spec.as_mut().unwrap().runtime else {
            unreachable!()
        };
        let secret_id = "s".into();
        container.secrets = vec![SecretReference { secret_id, ..Default::default() }];
        Item::Task(task)
    };
    let secret = || Item::Secret(Secret { id: "s".into(), ..Default::default() });
    bench.complete(vec![with_secret("without")]);
    // The secret comes after the task in the message, as it may.
    bench.complete(vec![with_secret("with"), secret()]);
    assert_eq!(bench.diary(), ["0.0 without Rejected", "0.0 with Running"]);
    assert_eq!(bench.node.held(), ["s"]);
    bench.remove(secret());
    assert_eq!(bench.node.held(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_in_a_complete_set_is_gone_and_the_rules_say_so() {
    let bench = Bench::new();
    bench.complete(vec![task("a", "", Assigned, Running), task("b", "run=1s", Assigned, Running)]);
    after(Duration::from_secs(2)).await;
    // b has ended, so it may go.
    bench.complete(vec![task("a", "", Running, Running)]);
    assert_eq!(bench.diary.rules.broken(), [""; 0]);
    bench.complete(vec![]);
    assert_eq!(bench.node.tasks(), []);
    let broken = ["task a was taken from node node while it was Running"];
    assert_eq!(bench.diary.rules.broken(), broken);
}

#[tokio::test(start_paused = true)]
async fn what_managers_know_never_goes_back() {
    let bench = Bench::new();
    bench.complete(vec![task("a", "", Running, Shutdown)]);
    bench.update(task("a", "", Starting, Running));
    let broken = [
        "the state of task a went from Running to Starting",
        "the desired state of task a went from Shutdown to Running",
    ];
    assert_eq!(bench.diary.rules.broken(), broken);
}

#[tokio::test(start_paused = true)]
async fn a_slot_runs_one_task_at_a_time() {
    let bench = Bench::new();
    // Both have the same slot.
    bench.complete(vec![task("ab", "", Assigned, Running), task("ba", "", Assigned, Running)]);
    assert_eq!(bench.diary.rules.broken().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn after_a_crash_what_ran_has_failed() {
    let bench = Bench::new();
    bench.complete(vec![task("t", "", Assigned, Running)]);
    bench.node.crash();
    bench.complete(vec![task("t", "", Running, Running), task("u", "", Assigned, Running)]);
    assert_eq!(bench.diary(), ["0.0 t Running", "0.0 t Failed", "0.0 u Running"]);
}

async fn lines(bench: &Bench, options: LogSubscriptionOptions) -> Vec<String> {
    let selector = LogSelector { service_ids: vec!["web-id".into()], ..Default::default() };
    let messages = bench.node.logs(&selector, &options);
    messages.map(|m| String::from_utf8(m.data.to_vec()).unwrap()).collect().await
}

#[tokio::test(start_paused = true)]
async fn a_log_has_the_lines_that_were_printed() {
    let bench = Bench::new();
    let Item::Task(mut ended) = task("a", "log=1s run=3500ms", Assigned, Running) else {
        unreachable!()
    };
    ended.slot = 1;
    bench.complete(vec![Item::Task(ended)]);
    after(Duration::from_secs(60)).await;
    let all = ["web.1 line 1\n", "web.1 line 2\n", "web.1 line 3\n", "web.1 line 4\n"];
    assert_eq!(lines(&bench, LogSubscriptionOptions::default()).await, all);
    let tail = LogSubscriptionOptions { tail: -3, ..Default::default() };
    assert_eq!(lines(&bench, tail).await, all[2..]);
    let none = LogSubscriptionOptions { tail: -1, ..Default::default() };
    assert_eq!(lines(&bench, none).await, [""; 0]);
    let since = Some(skep_proto::prost_types::Timestamp { seconds: 1, nanos: 1 });
    let late = LogSubscriptionOptions { since, ..Default::default() };
    assert_eq!(lines(&bench, late).await, all[2..]);
}

#[tokio::test(start_paused = true)]
async fn who_follows_a_log_sees_new_lines_and_new_tasks() {
    let bench = Bench::new();
    bench.complete(vec![task("a", "log=1s run=1500ms", Assigned, Running)]);
    let selector = LogSelector { service_ids: vec!["web-id".into()], ..Default::default() };
    let options = LogSubscriptionOptions { follow: true, ..Default::default() };
    let mut messages = bench.node.logs(&selector, &options);
    let mut from = async || messages.next().await.unwrap().context.unwrap().task_id;
    assert_eq!((from().await, from().await), ("a".to_owned(), "a".to_owned()));
    bench.update(task("b", "", Assigned, Running));
    assert_eq!((from().await, from().await), ("b".to_owned(), "b".to_owned()));
}
