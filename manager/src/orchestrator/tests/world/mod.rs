//! A cluster in the hands of a test: a store that leads alone, a clock that stands still until it is moved, and in place of
//! allocator, scheduler, dispatcher and workers a few rules (`others`).

mod others;
mod specs;

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
    swarmkit::{
        Annotations, Cluster, ClusterSpec, JobStatus, Node, NodeSpec, NodeStatus,
        OrchestrationConfig, Service, ServiceSpec, Task, TaskState, Version,
        node_spec::Availability, node_status::State, service_spec::Mode,
        update_status::UpdateState,
    },
};
use skep_store::{
    By, Kind, Selector, Store, StoreError, Tx, Watcher,
    solo::{Solo, lead_alone},
};

pub use others::Image;
use others::set_state;
pub use specs::{image, job, replicated, seconds, set_image, wire_seconds, with_mode};

use super::watchdog::Watchdog;
use crate::{
    allocator::Book,
    orchestrator::{
        moment::Moment,
        run::Orchestrator,
        task::{has_ended, is_wanted, state},
    },
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
        self.orchestrator
            .get_or_insert_with(|| Orchestrator::new(store, Book::default(), clock, rng))
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

/// Every event of tasks after now.
pub fn task_events(store: &Store) -> Watcher {
    store.watch(Selector::kinds(&[Kind::Task])).1
}
