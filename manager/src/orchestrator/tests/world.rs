//! A cluster in the hands of a test: a store that leads alone, a clock that stands still until it is moved, and in place of
//! allocator, scheduler, dispatcher and workers a few rules that take each task one state further at a time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, UNIX_EPOCH},
};

use parking_lot::Mutex;
use rand::{SeedableRng as _, rngs::StdRng};
use skep_ca::Clock;
use skep_proto::{
    ids::{NodeId, ServiceId, TaskId},
    prost_types::Timestamp,
    swarmkit::{
        Annotations, Cluster, ClusterSpec, ContainerSpec, JobStatus, Node, NodeSpec, NodeStatus,
        OrchestrationConfig, ReplicatedJob, ReplicatedService, Service, ServiceSpec, Task,
        TaskSpec, TaskState, TaskStatus, UpdateConfig, Version, node_spec::Availability,
        node_status::State, service_spec::Mode, task_spec::Runtime, update_status::UpdateState,
    },
};
use skep_store::{
    By, Kind, Selector, Store, StoreError, Tx, Watcher,
    solo::{Solo, lead_alone},
};

use super::watchdog::Watchdog;
use crate::orchestrator::{
    moment::Moment,
    run::Orchestrator,
    task::{has_ended, is_wanted, state},
};

/// What time of itself passes while transactions are made, each of which takes a microsecond; added to every wait.
const SLACK: Duration = Duration::from_millis(10);

/// Rounds in which everything has to come to rest.
const ROUNDS_MAX: usize = 5_000;

/// See the module.
pub struct World {
    pub store: Store,
    pub clock: Clock,
    solo: Option<Solo>,
    orchestrator: Option<Orchestrator>,
    watchdog: Watchdog,
    pub rng: StdRng,
    /// What tasks of an image do; others run for ever.
    pub images: BTreeMap<String, Image>,
    /// Tasks that are about to end, and how.
    endings: BTreeMap<TaskId, (Moment, TaskState)>,
    /// Workers that do not stop what they are told to stop.
    pub hung: BTreeSet<NodeId>,
}

/// What a task of an image does.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Image {
    /// Is refused by the worker.
    Rejected,
    /// Runs that long and ends in that state.
    Ends(Duration, TaskState),
    /// Stays in PREPARING.
    NeverStarts,
}

impl World {
    /// A cluster with so many nodes that are up.
    pub async fn of(nodes: usize) -> World {
        World::seeded(nodes, 1).await
    }

    pub async fn seeded(nodes: usize, seed: u64) -> World {
        let clock = Clock::still(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        let store = Store::new(ticking(&clock), StdRng::seed_from_u64(seed));
        let solo = lead_alone(&store);
        let watchdog = Watchdog::of(&store);
        let mut world = World {
            store,
            clock,
            solo: Some(solo),
            orchestrator: None,
            watchdog,
            rng: StdRng::seed_from_u64(seed),
            images: BTreeMap::new(),
            endings: BTreeMap::new(),
            hung: BTreeSet::new(),
        };
        world
            .write(|tx| tx.create(Cluster { id: "cluster".into(), ..Default::default() }).map(drop))
            .await;
        for n in 1..=nodes {
            world.add_node(&format!("n{n}")).await;
        }
        world
    }

    pub async fn write(&self, change: impl FnOnce(&mut Tx) -> Result<(), StoreError>) {
        self.store.update(change).await.unwrap();
    }

    pub async fn history_limit(&self, limit: i64) {
        self.write(|tx| {
            tx.modify::<Cluster>(&"cluster".parse().unwrap(), |cluster| {
                let orchestration = OrchestrationConfig { task_history_retention_limit: limit };
                cluster.spec =
                    Some(ClusterSpec { orchestration: Some(orchestration), ..Default::default() });
            })
            .map(drop)
        })
        .await;
    }

    pub async fn add_node(&mut self, id: &str) {
        let node = Node {
            id: id.into(),
            spec: Some(NodeSpec {
                annotations: Some(Annotations { name: id.into(), ..Default::default() }),
                ..Default::default()
            }),
            status: Some(NodeStatus { state: State::Ready.into(), ..Default::default() }),
            ..Default::default()
        };
        self.write(|tx| tx.create(node).map(drop)).await;
    }

    pub async fn change_node(&self, id: &str, change: impl FnOnce(&mut Node)) {
        self.write(|tx| tx.modify::<Node>(&id.parse().unwrap(), change).map(drop)).await;
    }

    pub async fn set_state(&self, node: &str, state: State) {
        self.change_node(node, |n| n.status.get_or_insert_default().set_state(state)).await;
    }

    pub async fn set_availability(&self, node: &str, availability: Availability) {
        self.change_node(node, |n| n.spec.get_or_insert_default().set_availability(availability))
            .await;
    }

    /// The node is gone, and its tasks are given up, as RemoveNode does it.
    pub async fn remove_node(&self, id: &str) {
        let node: NodeId = id.parse().unwrap();
        self.write(|tx| {
            let tasks: Vec<TaskId> = tx
                .find::<Task>(By::Node(node))
                .filter(|t| !has_ended(t))
                .map(|t| t.id.parse().unwrap())
                .collect();
            for id in tasks {
                set_state(tx, &id, TaskState::Orphaned)?;
            }
            tx.remove::<Node>(&node).map(drop)
        })
        .await;
    }

    pub async fn add_service(&self, id: &str, mut spec: ServiceSpec) -> ServiceId {
        spec.annotations.get_or_insert_default().name = id.into();
        let job = matches!(spec.mode, Some(Mode::ReplicatedJob(_) | Mode::GlobalJob(_)));
        let service = Service {
            id: id.into(),
            spec: Some(spec),
            spec_version: Some(Version::default()),
            job_status: job.then(|| JobStatus {
                job_iteration: Some(Version::default()),
                ..Default::default()
            }),
            ..Default::default()
        };
        self.write(|tx| tx.create(service).map(drop)).await;
        id.parse().unwrap()
    }

    /// As UpdateService does it.
    pub async fn update(&self, id: ServiceId, change: impl FnOnce(&mut ServiceSpec)) {
        self.write(|tx| {
            tx.modify::<Service>(&id, |service| {
                service.previous_spec = service.spec.clone();
                service.previous_spec_version = service.spec_version;
                change(service.spec.get_or_insert_default());
                service.spec_version = service.meta.as_ref().and_then(|meta| meta.version);
                service.update_status = None;
                if let Some(job) = &mut service.job_status {
                    job.job_iteration.get_or_insert_default().index += 1;
                }
            })
            .map(drop)
        })
        .await;
    }

    pub async fn remove_service(&self, id: ServiceId) {
        self.write(|tx| tx.remove::<Service>(&id).map(drop)).await;
    }

    /// A worker says that a task ended.
    pub async fn end(&self, task: &str, state: TaskState) {
        self.write(|tx| set_state(tx, &task.parse().unwrap(), state)).await;
    }

    pub fn service(&self, id: ServiceId) -> Arc<Service> {
        self.store.view().get::<Service>(&id).unwrap().clone()
    }

    pub fn update_state(&self, id: ServiceId) -> UpdateState {
        self.service(id).update_status.as_ref().map_or(UpdateState::Unknown, |s| s.state())
    }

    pub fn update_message(&self, id: ServiceId) -> String {
        self.service(id).update_status.as_ref().map(|s| s.message.clone()).unwrap_or_default()
    }

    /// All tasks of a service, by place and age.
    pub fn tasks(&self, id: ServiceId) -> Vec<Arc<Task>> {
        let mut tasks: Vec<Arc<Task>> =
            self.store.view().find::<Task>(By::Service(id)).cloned().collect();
        tasks.sort_by_key(|t| (t.slot, t.node_id.clone(), Moment::created(t), t.id.clone()));
        tasks
    }

    pub fn wanted(&self, id: ServiceId) -> Vec<Arc<Task>> {
        self.tasks(id).into_iter().filter(|t| is_wanted(t)).collect()
    }

    pub fn running(&self, id: ServiceId) -> Vec<Arc<Task>> {
        let runs = |t: &Arc<Task>| is_wanted(t) && state(t) == TaskState::Running as i32;
        self.tasks(id).into_iter().filter(runs).collect()
    }

    /// Which slots run: "1 2 3".
    pub fn slots(&self, id: ServiceId) -> String {
        words(self.running(id).iter().map(|t| t.slot.to_string()))
    }

    /// Which nodes run a task, once for each: "n1 n1 n2".
    pub fn nodes(&self, id: ServiceId) -> String {
        let mut nodes: Vec<String> = self.running(id).iter().map(|t| t.node_id.clone()).collect();
        nodes.sort();
        words(nodes)
    }

    /// Which images run, once each.
    pub fn running_images(&self, id: ServiceId) -> String {
        let images: BTreeSet<String> =
            self.running(id).iter().map(|task| image(task).to_owned()).collect();
        words(images)
    }

    /// The manager's memory is lost, and another one leads.
    pub fn change_leader(&mut self) {
        self.orchestrator = None;
    }

    /// The same, and the store's leadership with it: what is in flight may be lost.
    pub async fn lose_leadership(&mut self) {
        self.orchestrator = None;
        self.solo = None;
        self.solo = Some(lead_alone(&self.store));
    }

    pub fn orchestrator(&mut self) -> &mut Orchestrator {
        let (store, clock) = (self.store.clone(), self.clock.clone());
        let rng = StdRng::from_rng(&mut self.rng);
        self.orchestrator.get_or_insert_with(|| Orchestrator::new(store, clock, rng))
    }

    /// One turn of the orchestrator, and one of the cluster. Says whether anything happened.
    pub async fn turn(&mut self) -> bool {
        let planned = match self.orchestrator().pass().await {
            Ok(worked) => worked,
            Err(_) => {
                self.change_leader();
                true
            }
        };
        self.watchdog.look(&self.store);
        let moved = self.move_cluster().await;
        self.watchdog.look(&self.store);
        planned || moved
    }

    /// Lets everything come to rest at the present time.
    pub async fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            if !self.turn().await {
                return;
            }
        }
        panic!("the cluster does not come to rest");
    }

    /// Lets that much time pass, and everything happen in it when it is due.
    pub async fn pass(&mut self, time: Duration) {
        let end = Moment::from(self.clock.now()).after(time).after(SLACK);
        loop {
            self.settle().await;
            let now = Moment::from(self.clock.now());
            let ends = self.endings.values().map(|(at, _)| *at).filter(|at| *at > now).min();
            let wake = self.orchestrator().next_wake();
            let next = [ends, wake].into_iter().flatten().min().map_or(end, |at| at.min(end));
            if now >= end && next >= end {
                return;
            }
            self.clock.advance(next.since(now).max(Duration::from_micros(1)));
        }
    }

    pub fn reset_watchdog(&mut self) {
        self.watchdog.reset();
    }

    pub fn watchdog(&self) -> &Watchdog {
        &self.watchdog
    }

    /// Takes every task one state further. Says whether any went.
    async fn move_cluster(&mut self) -> bool {
        let view = self.store.view();
        let now = Moment::from(self.clock.now());
        let mut load: BTreeMap<String, usize> = view
            .all::<Node>()
            .filter(|n| takes_tasks(n))
            .map(|n| {
                (
                    n.id.clone(),
                    view.find::<Task>(By::Node(n.id.parse().unwrap()))
                        .filter(|t| is_wanted(t))
                        .count(),
                )
            })
            .collect();
        let mut moves: Vec<(TaskId, String, TaskState)> = Vec::new();
        for task in view.all::<Task>() {
            let id: TaskId = task.id.parse().unwrap();
            let status = task.status.clone().unwrap_or_default();
            let stopping = !is_wanted(task);
            let node = view.get_text::<Node>(&task.node_id);
            let next = match status.state() {
                state if state > TaskState::Running => continue,
                TaskState::New => Some((task.node_id.clone(), TaskState::Pending)),
                TaskState::Pending if stopping => (task.desired_state
                    == TaskState::Shutdown as i32)
                    .then(|| (task.node_id.clone(), TaskState::Shutdown)),
                TaskState::Pending => match task.node_id.is_empty() {
                    false => {
                        node.filter(|n| takes_tasks(n)).map(|n| (n.id.clone(), TaskState::Assigned))
                    }
                    true => {
                        let best = load.iter_mut().min_by_key(|(_, count)| **count);
                        best.map(|(node, count)| {
                            *count += 1;
                            (node.clone(), TaskState::Assigned)
                        })
                    }
                },
                state => match node {
                    Some(node) if is_up(node) => {
                        let hung = self.hung.contains(&node.id.parse::<NodeId>().unwrap());
                        self.next_state(&id, task, state, stopping, hung, now)
                            .map(|s| (node.id.clone(), s))
                    }
                    _ => None,
                },
            };
            if let Some((node, state)) = next {
                moves.push((id, node, state));
            }
        }
        drop(view);
        if moves.is_empty() {
            return false;
        }
        for (id, _, state) in &moves {
            if *state > TaskState::Running {
                self.endings.remove(id);
            }
        }
        let written = self
            .store
            .batch(moves, |tx, (id, node, state)| {
                if tx.get::<Task>(&id).is_some() {
                    tx.modify::<Task>(&id, |task| task.node_id = node)?;
                    set_state(tx, &id, state)?;
                }
                Ok::<(), StoreError>(())
            })
            .await;
        written.iter().all(|result| result.is_ok())
    }

    fn next_state(
        &mut self,
        id: &TaskId,
        task: &Task,
        state: TaskState,
        stopping: bool,
        hung: bool,
        now: Moment,
    ) -> Option<TaskState> {
        if stopping {
            return (!hung).then_some(TaskState::Shutdown);
        }
        let behaviour = self.images.get(image(task)).copied();
        match state {
            TaskState::Assigned => Some(TaskState::Preparing),
            TaskState::Preparing => match behaviour {
                Some(Image::NeverStarts) => None,
                Some(Image::Rejected) => Some(TaskState::Rejected),
                _ => Some(TaskState::Ready),
            },
            TaskState::Ready if task.desired_state <= TaskState::Ready as i32 => None,
            TaskState::Ready => Some(TaskState::Starting),
            TaskState::Starting => {
                if let Some(Image::Ends(after, state)) = behaviour {
                    self.endings.insert(*id, (now.after(after), state));
                }
                Some(TaskState::Running)
            }
            TaskState::Running => {
                let (at, state) = self.endings.get(id).copied()?;
                (at <= now).then_some(state)
            }
            _ => None,
        }
    }
}

/// The time that the clock shows, and a microsecond more for each transaction that was made in it: no two are made at once.
fn ticking(clock: &Clock) -> skep_store::Clock {
    let clock = clock.clone();
    let last = Mutex::new((clock.now(), 0));
    Arc::new(move || {
        let now = clock.now();
        let mut last = last.lock();
        *last = (now, if last.0 == now { last.1 + 1 } else { 0 });
        now + Duration::from_micros(last.1)
    })
}

fn words(words: impl IntoIterator<Item = String>) -> String {
    words.into_iter().collect::<Vec<_>>().join(" ")
}

pub fn image(task: &Task) -> &str {
    match task.spec.as_ref().and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(container)) => &container.image,
        _ => "",
    }
}

fn is_up(node: &Node) -> bool {
    node.status.as_ref().is_some_and(|status| status.state() == State::Ready)
}

fn takes_tasks(node: &Node) -> bool {
    is_up(node) && node.spec.as_ref().is_none_or(|spec| spec.availability() == Availability::Active)
}

/// As the dispatcher writes what a worker says.
fn set_state(tx: &mut Tx, id: &TaskId, state: TaskState) -> Result<(), StoreError> {
    let now: Timestamp = tx.now();
    tx.modify::<Task>(id, |task| {
        task.status = Some(TaskStatus {
            timestamp: Some(now),
            applied_at: Some(now),
            state: state.into(),
            ..Default::default()
        });
    })
    .map(drop)
}

/// A spec of a replicated service.
pub fn replicated(replicas: u64) -> ServiceSpec {
    with_mode(Mode::Replicated(ReplicatedService { replicas }))
}

/// A spec of a replicated job.
pub fn job(max_concurrent: u64, total_completions: u64) -> ServiceSpec {
    with_mode(Mode::ReplicatedJob(ReplicatedJob { max_concurrent, total_completions }))
}

pub fn with_mode(mode: Mode) -> ServiceSpec {
    ServiceSpec {
        task: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(ContainerSpec {
                    image: "v1".into(),
                    ..Default::default()
                })),
                ..Default::default()
            }
            .into(),
        ),
        mode: Some(mode),
        update: Some(UpdateConfig { parallelism: 1, ..Default::default() }),
        ..Default::default()
    }
}

/// Another image.
pub fn set_image(spec: &mut ServiceSpec, to: &str) {
    if let Some(Runtime::Container(container)) =
        spec.task.as_mut().and_then(|task| task.runtime.as_mut())
    {
        container.image = to.into();
    }
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn wire_seconds(seconds: i64) -> Option<skep_proto::prost_types::Duration> {
    Some(skep_proto::prost_types::Duration { seconds, nanos: 0 })
}

/// Every event of tasks after now.
pub fn task_events(store: &Store) -> Watcher {
    store.watch(Selector::kinds(&[Kind::Task])).1
}
