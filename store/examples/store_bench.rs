//! What the store's hot paths cost, in µs of this thread's time: `cargo run --release -p skep-store --example store_bench [tasks]`.
//!
//! A leader's writes and a follower's applies are measured apart, each alone on its thread, without a raft group.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures::FutureExt as _;
use rand::{Rng, SeedableRng, rngs::StdRng};
use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    shared::Shared,
    swarmkit::{
        Annotations, ContainerSpec, Service, ServiceSpec, Task, TaskSpec, TaskState, TaskStatus,
        task_spec::Runtime,
    },
};
use skep_store::{By, Kind, LogEntry, Proposer, Refusal, Selector, Store, StoreError};

const TASKS_PER_SERVICE: usize = 100;
const NODES: usize = 1_000;
const PER_TRANSACTION: usize = 200;
const SINGLE_WRITES: usize = 20_000;
/// Entries that a follower applies at once when it is busy.
const ENTRIES_AT_ONCE: usize = 64;

#[derive(Default)]
struct Log(Mutex<Vec<(u64, Bytes)>>);

impl Proposer for Log {
    fn propose(&self, _: u64, ticket: u64, entry: Bytes) -> Result<(), Refusal> {
        self.0.lock().expect("nobody panics with the log").push((ticket, entry));
        Ok(())
    }
}

struct Bench {
    leader: Store,
    follower: Store,
    log: Arc<Log>,
    entries: Vec<LogEntry>,
}

impl Bench {
    fn new() -> Bench {
        let (leader, follower) = (Store::system(), Store::system());
        let log = Arc::new(Log::default());
        leader.lead(1, 0, log.clone());
        Bench { leader, follower, log, entries: Vec::new() }
    }

    /// Starts a transaction; it is committed by the next `commit`.
    fn write(&self, change: impl FnOnce(&mut skep_store::Tx) -> Result<(), StoreError>) {
        drop(self.leader.update(change).now_or_never());
    }

    fn commit(&mut self) {
        let first = self.leader.view().version() + 1;
        let proposed = std::mem::take(&mut *self.log.0.lock().expect("nobody panics with the log"));
        let entries: Vec<LogEntry> = (first..)
            .zip(proposed)
            .map(|(index, (ticket, data))| LogEntry { index, ticket: Some(ticket), data })
            .collect();
        self.entries.extend(entries.iter().cloned());
        self.leader.apply_all(entries).expect("these are our own entries");
    }

    /// Lets the follower apply what the leader committed.
    fn follow(&mut self, at_once: usize) {
        let entries = std::mem::take(&mut self.entries);
        for entries in entries.chunks(at_once) {
            self.follower.apply_all(entries.iter().cloned()).expect("the leader applied them");
        }
    }
}

/// The time that this thread has run; the time of day where the system does not tell.
fn cpu_time() -> Duration {
    static START: std::sync::LazyLock<Instant> = std::sync::LazyLock::new(Instant::now);
    let nanos = std::fs::read_to_string("/proc/thread-self/schedstat")
        .ok()
        .and_then(|text| text.split(' ').next()?.parse().ok());
    nanos.map_or_else(|| START.elapsed(), Duration::from_nanos)
}

fn report(what: &str, started: Duration, count: usize) {
    let each = (cpu_time() - started).as_secs_f64() * 1e6 / count as f64;
    println!("{what:<58} {each:>9.2} µs");
}

fn main() {
    let tasks: usize = std::env::args().nth(1).and_then(|n| n.parse().ok()).unwrap_or(100_000);
    let mut rng = StdRng::seed_from_u64(1);
    let services: Vec<ServiceId> =
        (0..tasks.div_ceil(TASKS_PER_SERVICE)).map(|_| ServiceId::random(&mut rng)).collect();
    let nodes: Vec<NodeId> = (0..NODES).map(|_| NodeId::random(&mut rng)).collect();
    let ids: Vec<TaskId> = (0..tasks).map(|_| TaskId::random(&mut rng)).collect();
    // As a control loop does it, the tasks of a service share its spec.
    let container = ContainerSpec {
        image: "registry.example/team/image@sha256:0123456789abcdef".into(),
        env: vec!["A=B".into(), "C=D".into()],
        ..Default::default()
    };
    let spec = TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() };
    let specs: Vec<Shared<TaskSpec>> = services.iter().map(|_| spec.clone().into()).collect();
    let service = |n: usize| Service {
        id: services[n].to_string(),
        spec: Some(ServiceSpec {
            annotations: Some(Annotations { name: format!("service-{n}"), ..Default::default() }),
            task: Some(specs[n].clone()),
            ..Default::default()
        }),
        ..Default::default()
    };
    let task = |n: usize| Task {
        id: ids[n].to_string(),
        service_id: services[n / TASKS_PER_SERVICE].to_string(),
        slot: (n % TASKS_PER_SERVICE) as u64 + 1,
        service_annotations: Some(Annotations {
            name: format!("service-{}", n / TASKS_PER_SERVICE),
            ..Default::default()
        }),
        spec: Some(specs[n / TASKS_PER_SERVICE].clone()),
        status: Some(TaskStatus { message: "created".into(), ..Default::default() }),
        desired_state: TaskState::Running as i32,
        ..Default::default()
    };
    println!("{tasks} tasks; a Task is {} bytes without what it points to", size_of::<Task>());
    let mut bench = Bench::new();
    for first in (0..services.len()).step_by(PER_TRANSACTION) {
        let last = services.len().min(first + PER_TRANSACTION);
        bench.write(|tx| (first..last).try_for_each(|n| tx.create(service(n)).map(drop)));
        bench.commit();
    }
    bench.follow(1);

    let started = cpu_time();
    for first in (0..tasks).step_by(PER_TRANSACTION) {
        bench.write(|tx| {
            (first..(first + PER_TRANSACTION).min(tasks))
                .try_for_each(|n| tx.create(task(n)).map(drop))
        });
        bench.commit();
    }
    report("leader: create, 200 a transaction", started, tasks);
    let started = cpu_time();
    bench.follow(1);
    report("follower: create, 200 an entry", started, tasks);

    let set_state = |tx: &mut skep_store::Tx, id: &TaskId, state: TaskState| {
        tx.modify::<Task>(id, |t| t.status.get_or_insert_default().state = state as i32).map(drop)
    };
    let started = cpu_time();
    for ids in ids.chunks(PER_TRANSACTION) {
        bench.write(|tx| {
            ids.iter().try_for_each(|id| {
                let node = nodes[rng.random_range(0..NODES)].to_string();
                tx.modify::<Task>(id, |t| t.node_id = node).map(drop)
            })
        });
        bench.commit();
    }
    report("leader: assign to a node, 200 a transaction", started, tasks);
    let started = cpu_time();
    bench.follow(1);
    report("follower: assign to a node, 200 an entry", started, tasks);

    for at_once in [1, ENTRIES_AT_ONCE] {
        let state = if at_once == 1 { TaskState::Ready } else { TaskState::Running };
        let started = cpu_time();
        for ids in ids.chunks(PER_TRANSACTION) {
            bench.write(|tx| ids.iter().try_for_each(|id| set_state(tx, id, state)));
            bench.commit();
        }
        report("leader: change a state, 200 a transaction", started, tasks);
        let started = cpu_time();
        bench.follow(at_once);
        report(&format!("follower: the same, {at_once} entries at once"), started, tasks);
    }

    for in_flight in [1, ENTRIES_AT_ONCE] {
        let started = cpu_time();
        for n in 0..SINGLE_WRITES {
            let id = ids[rng.random_range(0..tasks)];
            bench.write(|tx| tx.modify::<Task>(&id, |t| t.slot += 1).map(drop));
            if n % in_flight == in_flight - 1 {
                bench.commit();
            }
        }
        bench.commit();
        report(&format!("leader: one update each, {in_flight} in flight"), started, SINGLE_WRITES);
        let started = cpu_time();
        bench.follow(in_flight);
        report(&format!("follower: the same, {in_flight} entries at once"), started, SINGLE_WRITES);
    }

    let watchers: Vec<_> = (0..32)
        .map(|n| bench.leader.watch(Selector::kinds(&[Kind::ALL[n % Kind::ALL.len()]])).1)
        .collect();
    let started = cpu_time();
    for n in 0..SINGLE_WRITES {
        let id = ids[n % tasks];
        bench.write(|tx| tx.modify::<Task>(&id, |t| t.slot += 1).map(drop));
        bench.commit();
    }
    report("leader: one update each, 32 watchers", started, SINGLE_WRITES);
    drop(watchers);

    let view = bench.leader.view();
    let started = cpu_time();
    let found: usize = ids.iter().filter(|id| view.get::<Task>(id).is_some()).count();
    report("get", started, found);
    let started = cpu_time();
    let found: usize = services.iter().map(|s| view.find::<Task>(By::Service(*s)).count()).sum();
    report("find by service, for each task found", started, found);
    let started = cpu_time();
    let found: usize = nodes.iter().map(|n| view.find::<Task>(By::Node(*n)).count()).sum();
    report("find by node, for each task found", started, found);
    let started = cpu_time();
    let one = |n: usize| By::Slot(services[n / TASKS_PER_SERVICE], 7);
    let found: usize = (0..tasks).map(|n| view.find::<Task>(one(n)).count()).sum();
    report("find by slot", started, found);
    let started = cpu_time();
    (0..SINGLE_WRITES).for_each(|_| drop(bench.leader.view()));
    report("view", started, SINGLE_WRITES);

    let started = cpu_time();
    let data = bench.leader.snapshot().encode(&Default::default());
    report(&format!("encode a snapshot of {} bytes", data.len()), started, 1);
    let started = cpu_time();
    let fresh = Store::system();
    fresh.restore(1, &data).expect("it is our own");
    report("restore it into an empty store", started, 1);
    let started = cpu_time();
    fresh.restore(2, &data).expect("it is our own");
    report("restore it over the same", started, 1);
}
