//! Measures the scheduler: how long placing many tasks takes, deciding alone and with the store.
//!
//! `cargo run --release -p skepd --example schedule`
//!
//! Ten services ask for nodes: plain ones, some with reservations, with a constraint that half of the nodes meet, and with
//! a preference over eight zones. The first table is the pure part, on tasks that are in memory already; the second is
//! everything with a store that commits at once, from PENDING to ASSIGNED and committed.

#![allow(clippy::print_stdout, clippy::unwrap_used, reason = "a measurement for people")]

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use skep_ca::Clock;
use skep_manager::scheduler::{self, DECISIONS_MAX, Decision, State};
use skep_proto::swarmkit::{
    Annotations, ContainerSpec, Node, NodeDescription, NodeSpec, NodeStatus, Placement,
    PlacementPreference, ResourceRequirements, Resources, SpreadOver, Task, TaskSpec, TaskState,
    TaskStatus, Version, node_status, placement_preference::Preference, task_spec::Runtime,
};
use skep_store::{By, Store, solo::lead_alone};

const SERVICES: usize = 10;
const ROUNDS: usize = 3;

fn node(number: usize) -> Node {
    let zone = ("zone".to_owned(), format!("z{}", number % 8));
    let half = ("half".to_owned(), (number % 2).to_string());
    Node {
        id: format!("node{number:05}"),
        spec: Some(NodeSpec {
            annotations: Some(Annotations { labels: [zone, half].into(), ..Default::default() }),
            ..Default::default()
        }),
        status: Some(NodeStatus { state: node_status::State::Ready.into(), ..Default::default() }),
        description: Some(NodeDescription {
            hostname: format!("host{number}"),
            resources: Some(Resources {
                nano_cpus: 1 << 60,
                memory_bytes: 1 << 60,
                ..Default::default()
            }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn task(number: usize) -> Task {
    let service = number % SERVICES;
    let container = ContainerSpec { image: "nginx:latest".into(), ..Default::default() };
    let mut spec = TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() };
    match service % 4 {
        1 => {
            let reservations =
                Some(Resources { nano_cpus: 1000, memory_bytes: 1 << 20, ..Default::default() });
            spec.resources = Some(ResourceRequirements { reservations, ..Default::default() });
        }
        2 => {
            let constraints = vec!["node.labels.half==1".to_owned()];
            spec.placement = Some(Placement { constraints, ..Default::default() });
        }
        3 => {
            let over = SpreadOver { spread_descriptor: "node.labels.zone".into() };
            let preferences =
                vec![PlacementPreference { preference: Some(Preference::Spread(over)) }];
            spec.placement = Some(Placement { preferences, ..Default::default() });
        }
        _ => {}
    }
    Task {
        id: format!("task{number:06}"),
        service_id: format!("service{service:02}"),
        slot: (number / SERVICES) as u64 + 1,
        spec: Some(spec.into()),
        spec_version: Some(Version { index: 1 }),
        status: Some(TaskStatus { state: TaskState::Pending.into(), ..Default::default() }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    }
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

/// Taking the tasks in, and deciding on all of them.
fn pure(nodes: usize, tasks: &[Task]) -> (Duration, Duration) {
    let now = SystemTime::UNIX_EPOCH;
    let mut state = State::default();
    for number in 0..nodes {
        let node = node(number);
        state.put_node(node.id.parse().unwrap(), Arc::new(node));
    }
    let start = Instant::now();
    for task in tasks {
        state.put_task(task.id.parse().unwrap(), task, now);
    }
    let taken_in = start.elapsed();
    let start = Instant::now();
    let mut assigned = 0;
    loop {
        let decisions = state.decide(now, DECISIONS_MAX);
        if decisions.is_empty() {
            break;
        }
        assigned += decisions.iter().filter(|d| matches!(d, Decision::Assign { .. })).count();
    }
    assert_eq!(assigned, tasks.len());
    (taken_in, start.elapsed())
}

/// From PENDING in the store to ASSIGNED in the store.
async fn stored(nodes: usize, tasks: &[Task]) -> Duration {
    let store = Store::system();
    let _solo = lead_alone(&store);
    for result in store.batch((0..nodes).map(node), |tx, node| tx.create(node)).await {
        result.unwrap();
    }
    for result in store.batch(tasks.iter().cloned(), |tx, task| tx.create(task)).await {
        result.unwrap();
    }
    let start = Instant::now();
    let scheduler = tokio::spawn(scheduler::run(store.clone(), Clock::system()));
    while store.view().find::<Task>(By::TaskState(TaskState::Pending)).next().is_some() {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    let elapsed = start.elapsed();
    scheduler.abort();
    elapsed
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    println!("deciding alone\n   tasks   nodes   taken in    decided   each task       both");
    for (count, nodes) in [
        (1_000, 10),
        (10_000, 10),
        (10_000, 100),
        (10_000, 1_000),
        (100_000, 10),
        (100_000, 1_000),
        (100_000, 10_000),
    ] {
        let tasks: Vec<Task> = (0..count).map(task).collect();
        let times: Vec<_> = (0..ROUNDS).map(|_| pure(nodes, &tasks)).collect();
        let taken_in = median(times.iter().map(|t| t.0).collect());
        let decided = median(times.iter().map(|t| t.1).collect());
        println!(
            "{count:>8}{nodes:>8}{:>8.1} ms{:>8.1} ms{:>9.2} µs{:>8.1} ms",
            taken_in.as_secs_f64() * 1e3,
            decided.as_secs_f64() * 1e3,
            decided.as_secs_f64() * 1e6 / count as f64,
            (taken_in + decided).as_secs_f64() * 1e3,
        );
    }
    println!("\nwith the store\n   tasks   nodes        all   each task");
    for (count, nodes) in [(10_000, 10), (10_000, 1_000), (100_000, 1_000)] {
        let tasks: Vec<Task> = (0..count).map(task).collect();
        let times = (0..ROUNDS).map(|_| runtime.block_on(stored(nodes, &tasks))).collect();
        let all = median(times);
        println!(
            "{count:>8}{nodes:>8}{:>8.0} ms{:>9.2} µs",
            all.as_secs_f64() * 1e3,
            all.as_secs_f64() * 1e6 / count as f64,
        );
    }
}
