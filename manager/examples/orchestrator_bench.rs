//! What the orchestrator costs for each task, in µs of its own thread's time, from a thousand tasks to a hundred thousand:
//! `cargo run --release -p skepd --example orchestrator_bench`.
//!
//! It runs alone on a thread, on a store that leads alone; on another thread every task is taken through its states as
//! allocator, scheduler and workers would. What it costs is its own deciding and its transactions up to where they are proposed:
//! applying, replication and disk are the same for every writer and not counted.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rand::{SeedableRng as _, rngs::StdRng};
use skep_ca::Clock;
use skep_manager::{allocator::Book, orchestrator};
use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    swarmkit::{
        Annotations, Cluster, ContainerSpec, Node, NodeStatus, ReplicatedService, Service,
        ServiceSpec, Task, TaskSpec, TaskState, TaskStatus, UpdateConfig, Version,
        node_status::State, service_spec::Mode, task_spec::Runtime,
    },
};
use skep_store::{By, Kind, Selector, Store, StoreError, Tx, solo::lead_alone};

const SIZES: [u64; 4] = [1_000, 10_000, 30_000, 100_000];
const NODES: usize = 1_000;
/// Tasks moved on at a time: few enough that no watcher falls behind.
const AT_ONCE: usize = 5_000;
/// What each task goes through after it was created.
const STATES: [TaskState; 6] = [
    TaskState::Pending,
    TaskState::Assigned,
    TaskState::Preparing,
    TaskState::Ready,
    TaskState::Starting,
    TaskState::Running,
];

/// The time that a thread has run.
fn cpu_time(thread: &str) -> Duration {
    let text = std::fs::read_to_string(format!("/proc/self/task/{thread}/schedstat"));
    let nanos = text.ok().and_then(|text| text.split(' ').next()?.parse().ok());
    Duration::from_nanos(nanos.unwrap_or_default())
}

fn own_thread() -> String {
    let path = std::fs::read_link("/proc/thread-self").expect("Linux tells");
    path.file_name().expect("it ends with the number").to_string_lossy().into_owned()
}

struct Bench {
    store: Store,
    service: ServiceId,
    nodes: Vec<NodeId>,
    thread: String,
}

impl Bench {
    async fn write(&self, change: impl FnOnce(&mut Tx) -> Result<(), StoreError>) {
        self.store.update(change).await.expect("it leads alone");
    }

    async fn set_spec(&self, change: impl FnOnce(&mut ServiceSpec)) {
        self.write(|tx| {
            tx.modify::<Service>(&self.service, |service| {
                service.spec_version = service.meta.as_ref().and_then(|meta| meta.version);
                service.update_status = None;
                change(service.spec.as_mut().expect("it has one"));
            })
            .map(drop)
        })
        .await;
    }

    /// Takes every task one state at a time to RUNNING, or to SHUTDOWN if that is desired, until `count` run.
    async fn work_until(&self, count: u64, done: impl Fn(&Task) -> bool) {
        let (view, mut watcher) = self.store.watch(Selector::kinds(&[Kind::Task]));
        let mut waiting: VecDeque<Arc<Task>> =
            view.find::<Task>(By::Service(self.service)).cloned().collect();
        drop(view);
        let mut finished = HashSet::new();
        let mut next_node = 0;
        loop {
            let mut moves: Vec<(TaskId, TaskState, Option<String>)> = Vec::new();
            let ready = waiting.len().min(AT_ONCE);
            for task in waiting.drain(..ready) {
                let (Ok(id), Some(status)) = (task.id.parse(), &task.status) else { continue };
                if done(&task) {
                    finished.insert(id);
                }
                let stopping = task.desired_state > TaskState::Running as i32;
                let next = match stopping {
                    true => {
                        (status.state <= TaskState::Running as i32).then_some(TaskState::Shutdown)
                    }
                    false => STATES.into_iter().find(|s| *s as i32 > status.state).filter(|s| {
                        task.desired_state > TaskState::Ready as i32 || *s <= TaskState::Ready
                    }),
                };
                let Some(next) = next else { continue };
                let node = (next == TaskState::Assigned).then(|| {
                    next_node += 1;
                    self.nodes[next_node % NODES].to_string()
                });
                moves.push((id, next, node));
            }
            if finished.len() as u64 >= count {
                return;
            }
            self.store
                .batch(moves, |tx, (id, state, node)| {
                    let now = tx.now();
                    if tx.get::<Task>(&id).is_some_and(|task| {
                        task.status.as_ref().is_some_and(|status| status.state < state as i32)
                    }) {
                        tx.modify::<Task>(&id, |task| {
                            task.status = Some(TaskStatus {
                                state: state.into(),
                                applied_at: Some(now),
                                ..Default::default()
                            });
                            if let Some(node) = node {
                                task.node_id = node;
                            }
                        })?;
                    }
                    Ok::<(), StoreError>(())
                })
                .await;
            let mut commits = Vec::new();
            if waiting.is_empty() {
                commits.push(watcher.next().await.expect("this keeps up"));
            }
            while let Some(commit) = watcher.try_next().expect("this keeps up") {
                commits.push(commit);
            }
            for event in commits.iter().flat_map(|commit| &commit.events) {
                if let skep_store::Event::Task(change) = event {
                    waiting.extend(change.new.clone());
                }
            }
        }
    }

    /// Reports what something costs for each of so many tasks.
    async fn measure(&self, what: &str, tasks: u64, work: impl Future<Output = ()>) {
        let (started, cpu) = (Instant::now(), cpu_time(&self.thread));
        work.await;
        let cpu = cpu_time(&self.thread) - cpu;
        let each = cpu.as_secs_f64() * 1e6 / tasks as f64;
        println!(
            "{tasks:>7} tasks, {what:<28} {each:>8.1} µs each, {:>6.2} s in all",
            started.elapsed().as_secs_f64()
        );
    }
}

async fn bench(replicas: u64) {
    let store = Store::system();
    let _solo = lead_alone(&store);
    let mut rng = StdRng::seed_from_u64(1);
    let nodes: Vec<NodeId> = (0..NODES).map(|_| NodeId::random(&mut rng)).collect();
    let (sender, receiver) = std::sync::mpsc::channel();
    let orchestrated = store.clone();
    let stop = Arc::new(tokio::sync::Notify::new());
    let stopped = stop.clone();
    let thread = std::thread::spawn(move || {
        sender.send(own_thread()).expect("the other side waits");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime can be built").block_on(async {
            tokio::select! {
                () = orchestrator::run(orchestrated, Book::default(), Clock::system(), StdRng::seed_from_u64(2)) => {}
                () = stopped.notified() => {}
            }
        });
    });
    let service = ServiceId::random(&mut rng);
    let thread_id = receiver.recv().expect("the thread runs");
    let bench = Bench { store, service, nodes, thread: thread_id };
    bench
        .write(|tx| {
            tx.create(Cluster { id: "cluster".into(), ..Default::default() })?;
            for node in &bench.nodes {
                let status = NodeStatus { state: State::Ready.into(), ..Default::default() };
                tx.create(Node {
                    id: node.to_string(),
                    status: Some(status),
                    ..Default::default()
                })?;
            }
            let container = ContainerSpec {
                image: "registry.example/team/image@sha256:0123456789abcdef".into(),
                env: vec!["A=B".into(), "C=D".into()],
                ..Default::default()
            };
            tx.create(Service {
                id: bench.service.to_string(),
                spec_version: Some(Version::default()),
                spec: Some(ServiceSpec {
                    annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
                    task: Some(
                        TaskSpec {
                            runtime: Some(Runtime::Container(container)),
                            ..Default::default()
                        }
                        .into(),
                    ),
                    mode: Some(Mode::Replicated(ReplicatedService { replicas: 0 })),
                    update: Some(UpdateConfig { parallelism: 0, ..Default::default() }),
                    ..Default::default()
                }),
                ..Default::default()
            })?;
            Ok(())
        })
        .await;
    let set = |replicas| {
        move |spec: &mut ServiceSpec| {
            spec.mode = Some(Mode::Replicated(ReplicatedService { replicas }));
        }
    };
    let running = |task: &Task| {
        task.status.as_ref().is_some_and(|status| status.state == TaskState::Running as i32)
            && task.desired_state == TaskState::Running as i32
    };
    bench
        .measure("from nothing to RUNNING", replicas, async {
            bench.set_spec(set(replicas)).await;
            bench.work_until(replicas, running).await;
        })
        .await;
    bench
        .measure("updated to another spec", replicas, async {
            bench.set_spec(|spec| spec.task.as_mut().expect("it has one").force_update += 1).await;
            let version =
                bench.store.view().get::<Service>(&bench.service).and_then(|s| s.spec_version);
            bench.work_until(replicas, |task| running(task) && task.spec_version == version).await;
        })
        .await;
    bench
        .measure("removed", replicas, async {
            bench.write(|tx| tx.remove::<Service>(&bench.service).map(drop)).await;
            let gone = |task: &Task| {
                task.desired_state == TaskState::Remove as i32
                    && task.status.as_ref().is_some_and(|s| s.state == TaskState::Shutdown as i32)
            };
            bench.work_until(replicas, gone).await;
        })
        .await;
    stop.notify_one();
    thread.join().expect("it ends");
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    println!("the orchestrator's own time, {:?}", SystemTime::now());
    for size in SIZES {
        bench(size).await;
    }
}
