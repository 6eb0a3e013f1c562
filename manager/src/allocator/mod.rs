//! The allocator: gives services the ports that they publish, and new tasks what they need before they may be
//! scheduled, which makes them pending.
//!
//! What is given is decided in pure modules: [`ports`] (which port goes to whom) and [`decide`] (what becomes of a service
//! or task). The loop here keeps what is dirty, decides inside the transaction that writes, and keeps what has to wait
//! until something changes that it waits for. Addresses are not given out: tasks on networks that span nodes wait, and
//! their status says so.

pub mod decide;
pub mod ipam;
mod pass;
pub mod ports;
#[cfg(test)]
mod tests;
pub mod vxlan;

use std::{
    collections::{BTreeSet, HashMap},
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use skep_proto::{
    ids::{NetworkId, ServiceId, TaskId},
    prost_types::Timestamp,
    swarmkit::{Network, Service, Task, TaskState},
};
use skep_store::{Action, By, Commit, Event, Kind, Select, Selector, Store, Tables, Watcher};
use tokio::time::sleep;

pub use decide::{Waits, endowed};
use pass::{Allocation, Item, Outcome, SharedCursor};

/// Objects taken into one pass: fifty log entries, so that what comes meanwhile does not wait for all of a wave.
const PASS_ITEMS_MAX: usize = 10_000;
/// Passes in flight. A pass is decided on the head, which holds what the ones before it wrote, so the next one need not
/// wait for their round trip; four keep the log busy.
const PASSES_IN_FLIGHT_MAX: usize = 4;
/// Pause after the store refused a write: until it takes proposals again, or this manager hears that it leads no more.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Allocates for as long as this manager leads. Never returns; safe to drop: the next leader goes on from the store.
pub async fn run(store: Store) {
    let cursor = SharedCursor::default();
    loop {
        let (view, watcher) = store.watch(selector());
        let allocator = Allocator::begin(store.clone(), &view, cursor.clone());
        drop(view);
        allocator.follow(watcher).await;
        tracing::warn!("fell behind the store: looking at all new tasks again");
    }
}

/// A task that is about to be created: pending from the start when it has all that it needs, which saves a write of nearly
/// every task. Any other stays new, and the allocator goes on with it. To be asked inside the transaction that creates it.
pub fn admit(tables: &Tables, task: Task, now: Timestamp) -> Task {
    let service = decide::service_of(tables, &task);
    let known = service.map_or(task.service_id.is_empty(), |service| decide::is_current(service));
    if !known || !decide::is_new(&task) {
        return task;
    }
    match decide::admitted(tables, &task, service.map(|service| &**service), now) {
        Ok(pending) => pending,
        Err(_) => task,
    }
}

/// New tasks, and what they depend on. A change of a task that is past this is not even queued.
fn selector() -> Selector {
    let tasks = Select {
        kind: Kind::Task,
        actions: Action::ALL.to_vec(),
        filters: vec![By::TaskState(TaskState::New)],
    };
    Selector::any([Select::kind(Kind::Network), Select::kind(Kind::Service), tasks])
}

/// What has to be looked at, in the order in which one needs the other.
#[derive(Default)]
struct Dirty {
    networks: BTreeSet<NetworkId>,
    services: BTreeSet<ServiceId>,
    tasks: BTreeSet<TaskId>,
}

/// What could not be had and is tried again when something changes.
#[derive(Default)]
struct Waiting {
    /// Services without ports, and the tasks that wait for them.
    services: HashMap<ServiceId, BTreeSet<TaskId>>,
    /// Tasks without networks.
    tasks: BTreeSet<TaskId>,
}

struct Allocator {
    store: Store,
    cursor: SharedCursor,
    dirty: Dirty,
    waiting: Waiting,
    /// Counts changes that something may have waited for. A pass that was begun before one may have missed it.
    relieved: u64,
}

type Pass = BoxFuture<'static, Vec<(Item, Outcome)>>;

impl Allocator {
    fn begin(store: Store, tables: &Tables, cursor: SharedCursor) -> Allocator {
        let mut dirty = Dirty::default();
        let networks = tables.all::<Network>().filter(|n| decide::with_driver(n).is_some());
        dirty.networks.extend(networks.filter_map(|network| network.id.parse::<NetworkId>().ok()));
        let services = tables.all::<Service>().filter(|service| !decide::is_current(service));
        dirty.services.extend(services.filter_map(|service| service.id.parse::<ServiceId>().ok()));
        let tasks = tables.find::<Task>(By::TaskState(TaskState::New));
        dirty.tasks.extend(tasks.filter_map(|task| task.id.parse::<TaskId>().ok()));
        Allocator { store, cursor, dirty, waiting: Waiting::default(), relieved: 0 }
    }

    /// Works until the watcher has fallen behind.
    async fn follow(mut self, mut watcher: Watcher) {
        let mut passes = FuturesUnordered::new();
        loop {
            while passes.len() < PASSES_IN_FLIGHT_MAX
                && let Some(pass) = self.next_pass()
            {
                let begun = self.relieved;
                passes.push(async move { (begun, pass.await) });
            }
            tokio::select! {
                biased;
                Some((begun, results)) = passes.next() => self.settle(begun, results),
                commit = watcher.next() => {
                    let Ok(commit) = commit else { return };
                    self.take_up(&commit);
                    // All that has come so far goes into one pass.
                    loop {
                        match watcher.try_next() {
                            Ok(Some(commit)) => self.take_up(&commit),
                            Ok(None) => break,
                            Err(_) => return,
                        }
                    }
                }
            }
        }
    }

    fn take_up(&mut self, commit: &Commit) {
        for event in &commit.events {
            match event {
                Event::Network(change) => {
                    if change.new.as_deref().is_some_and(|n| decide::with_driver(n).is_some()) {
                        self.dirty.networks.insert(change.id.into());
                    }
                    self.retry_all();
                }
                Event::Service(change) => {
                    let id = change.id.into();
                    if change.new.as_deref().is_some_and(|service| !decide::is_current(service)) {
                        self.dirty.services.insert(id);
                    }
                    let ports =
                        |service: &Service| service.endpoint.clone().unwrap_or_default().ports;
                    let had = change.old.as_deref().map(ports).unwrap_or_default();
                    if !had.is_empty()
                        && change.new.as_deref().map(ports).unwrap_or_default() != had
                    {
                        self.retry_services();
                    } else {
                        self.retry_service(id);
                    }
                }
                Event::Task(change) => {
                    let id = change.id.into();
                    match (&change.old, &change.new) {
                        (_, None) => self.forget(id, change.old.as_deref()),
                        (None, Some(_)) => {
                            self.dirty.tasks.insert(id);
                        }
                        // A change of a task that stays new is our own reason in its status, or a new desired state.
                        (Some(_), Some(task)) if !decide::is_new(task) => {
                            self.forget(id, Some(task));
                            self.dirty.tasks.insert(id);
                        }
                        (Some(_), Some(_)) => {}
                    }
                }
                _ => {}
            }
        }
    }

    fn forget(&mut self, id: TaskId, task: Option<&Task>) {
        self.dirty.tasks.remove(&id);
        self.waiting.tasks.remove(&id);
        let service = task.and_then(|task| task.service_id.parse::<ServiceId>().ok());
        if let Some(tasks) = service.and_then(|service| self.waiting.services.get_mut(&service)) {
            tasks.remove(&id);
        }
    }

    /// The service changed.
    fn retry_service(&mut self, id: ServiceId) {
        self.relieved += 1;
        if let Some(tasks) = self.waiting.services.remove(&id) {
            self.dirty.services.insert(id);
            self.dirty.tasks.extend(tasks);
        }
    }

    /// Ports became free.
    fn retry_services(&mut self) {
        self.relieved += 1;
        for (id, tasks) in self.waiting.services.drain() {
            self.dirty.services.insert(id);
            self.dirty.tasks.extend(tasks);
        }
    }

    /// There are other networks.
    fn retry_all(&mut self) {
        self.retry_services();
        self.dirty.tasks.append(&mut self.waiting.tasks);
    }

    /// Takes what is dirty.
    fn next_pass(&mut self) -> Option<Pass> {
        let mut items = Vec::new();
        let networks = std::iter::from_fn(|| self.dirty.networks.pop_first().map(Item::Network));
        items.extend(networks.take(PASS_ITEMS_MAX));
        let room = PASS_ITEMS_MAX - items.len();
        let services = std::iter::from_fn(|| self.dirty.services.pop_first().map(Item::Service));
        items.extend(services.take(room));
        let room = PASS_ITEMS_MAX - items.len();
        let tasks = std::iter::from_fn(|| self.dirty.tasks.pop_first().map(Item::Task));
        items.extend(tasks.take(room));
        if items.is_empty() {
            return None;
        }
        let allocation = Allocation::new(self.store.clone(), self.cursor.clone());
        Some(Box::pin(async move {
            let results = allocation.write(items).await;
            if results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Again)) {
                sleep(RETRY_DELAY).await;
            }
            results
        }))
    }

    /// Takes note of what a pass could not do, which was begun when `begun` changes had relieved somebody.
    fn settle(&mut self, begun: u64, results: Vec<(Item, Outcome)>) {
        let missed = begun != self.relieved;
        for (item, outcome) in results {
            let again = match outcome {
                Outcome::Done => continue,
                Outcome::Again => true,
                Outcome::Waits { .. } => missed,
            };
            match (item, outcome) {
                (Item::Network(id), _) => {
                    self.dirty.networks.insert(id);
                }
                (Item::Service(id), _) if again => {
                    self.dirty.services.insert(id);
                }
                (Item::Service(id), _) => {
                    self.waiting.services.entry(id).or_default();
                }
                (Item::Task(id), _) if again => {
                    self.dirty.tasks.insert(id);
                }
                (Item::Task(id), Outcome::Waits { service: Some(service) }) => {
                    self.waiting.services.entry(service).or_default().insert(id);
                }
                (Item::Task(id), _) => {
                    self.waiting.tasks.insert(id);
                }
            }
        }
    }
}
