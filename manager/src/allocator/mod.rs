//! The allocator: gives networks their subnets, services the ports that they publish and their virtual addresses, nodes the
//! addresses of their load balancers, and new tasks what they need before they may be scheduled, which makes them pending.
//!
//! What is given is decided in pure modules: [`ipam`] (which address goes to whom), [`vxlan`] and [`ports`] likewise,
//! `network`, `endpoint` and `nodes` (what becomes of an object). `give` puts them together inside of a transaction,
//! for the loop here and for whoever creates tasks ([`create`]); what was given is remembered in the [`book`]. The loop
//! keeps what is dirty, has it given what it needs, and keeps what has to wait by what it waits for (`waiting`), until
//! that becomes free.

pub mod audit;
pub mod book;
pub mod decide;
mod dirty;
mod endpoint;
mod give;
pub mod ipam;
mod network;
mod nodes;
mod pass;
pub mod ports;
mod survey;
#[cfg(test)]
mod tests;
pub mod vxlan;
mod waiting;
mod waits;

use std::{
    collections::{BTreeSet, HashMap, hash_map},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use skep_proto::{
    ids::{NetworkId, NodeId, ServiceId, TaskId},
    swarmkit::{Network, Node, Service, Task, TaskState},
};
use skep_store::{
    By, Change, Commit, Event, Kind, Selector, Store, StoreError, Tables, Tx, Watcher,
};
use tokio::time::sleep;

use crate::control::is_ingress_network;

pub use book::Book;
use dirty::Dirty;
pub use endpoint::endowed;
pub(crate) use nodes::overlays;
use pass::{Allocation, Item, Outcome, Work};
pub use survey::{Survey, check_network, is_node_local, network_state};
use waiting::{Moment, Waiting};
use waits::Need;
pub use waits::Waits;

/// Objects taken into one pass: fifty log entries, so that what comes meanwhile does not wait for all of a wave.
const PASS_ITEMS_MAX: usize = 10_000;
/// Passes in flight. A pass is decided on the head, which holds what the ones before it wrote, so the next one need not
/// wait for their round trip; four keep the log busy.
const PASSES_IN_FLIGHT_MAX: usize = 4;
/// As many findings are logged one by one; more would drown the rest.
const FINDINGS_LOGGED_MAX: usize = 20;
/// Pause after the store refused a write: until it takes proposals again, or this manager hears that it leads no more.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// Allocates for as long as this manager leads. Never returns; safe to drop: the next leader goes on from the store.
///
/// `findings` is told how much did not agree in the store when the leadership began; the log says what.
pub async fn run(store: Store, book: Book, findings: Findings) {
    findings.tell(&audit::audit(&store.view()));
    loop {
        let (view, watcher) = store.watch(selector());
        // What ended before this view was made nobody will tell.
        book.forget();
        let allocator = Allocator::begin(store.clone(), &view, book.clone());
        drop(view);
        allocator.follow(watcher).await;
        tracing::warn!("fell behind the store: looking at everything that lacks something again");
    }
}

/// How much of what was given out did not agree when this manager began to lead, for the metrics. Cheap to clone; all
/// clones are one.
#[derive(Clone, Debug, Default)]
pub struct Findings(Arc<AtomicU64>);

impl Findings {
    /// The number.
    pub fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn tell(&self, found: &[audit::Finding]) {
        // What may be a change under way is put right in a moment.
        let wrong: Vec<_> = found.iter().filter(|finding| !finding.may_pass()).collect();
        self.0.store(wrong.len() as u64, Ordering::Relaxed);
        for finding in wrong.iter().take(FINDINGS_LOGGED_MAX) {
            tracing::warn!("networks: {finding}");
        }
        if !wrong.is_empty() {
            tracing::warn!(
                count = wrong.len(),
                "what earlier managers gave out does not agree: `skep network check` says all of it"
            );
        }
    }
}

/// Creates a task: pending from the start when it can be given all that it needs, which saves a write of nearly every task.
/// Any other is new, and the allocator goes on with it.
pub fn create(tx: &mut Tx, book: &Book, task: Task) -> Result<(), StoreError> {
    if !decide::is_new(&task) {
        return tx.create(task).map(drop);
    }
    let mut ledger = book.open(tx);
    let task = pass::admitted(tx, &mut ledger, task)?;
    tx.create(task).inspect_err(|_| ledger.spoil()).map(drop)
}

/// What may lack something, and what may end.
fn selector() -> Selector {
    Selector::kinds(&[Kind::Network, Kind::Service, Kind::Node, Kind::Task])
}

struct Allocator {
    store: Store,
    book: Book,
    in_use: nodes::InUse,
    dirty: Dirty,
    waiting: Waiting,
    /// Services that wait, or are to be looked at since a task of theirs does, and what they waited for last.
    told: HashMap<ServiceId, Vec<Need>>,
}

type Pass = BoxFuture<'static, Vec<(Item, Outcome)>>;

impl Allocator {
    fn begin(store: Store, tables: &Tables, book: Book) -> Allocator {
        let mut dirty = Dirty::default();
        let networks = tables.all::<Network>().filter(|n| !network::is_allocated(n));
        dirty.networks.extend(networks.filter_map(|network| network.id.parse::<NetworkId>().ok()));
        // Of these nearly all lack nothing, and cost no write.
        let services = tables.all::<Service>();
        dirty.services.extend(services.filter_map(|s| s.id.parse::<ServiceId>().ok()));
        dirty.nodes.extend(tables.all::<Node>().filter_map(|node| node.id.parse::<NodeId>().ok()));
        let tasks = tables.find::<Task>(By::TaskState(TaskState::New));
        dirty.tasks.extend(tasks.filter_map(|task| task.id.parse::<TaskId>().ok()));
        Allocator {
            store,
            book,
            in_use: nodes::InUse::of(tables),
            dirty,
            waiting: Waiting::default(),
            told: HashMap::new(),
        }
    }

    /// Works until the watcher has fallen behind.
    async fn follow(mut self, mut watcher: Watcher) {
        let mut passes = FuturesUnordered::new();
        loop {
            let book = &self.book;
            let woken = self.waiting.wake(|network, family| book.free(network, family));
            woken.into_iter().for_each(|item| self.dirty.insert(item));
            while passes.len() < PASSES_IN_FLIGHT_MAX
                && let Some(pass) = self.next_pass()
            {
                let begun = self.waiting.now();
                passes.push(async move { (begun, pass.await) });
            }
            if passes.is_empty() {
                self.waiting.idle();
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
        let mut freed = BTreeSet::new();
        for event in &commit.events {
            match event {
                Event::Network(change) => self.network_changed(change, &mut freed),
                Event::Service(change) => self.service_changed(change, &mut freed),
                Event::Node(change) => match (&change.old, &change.new) {
                    (None, Some(_)) => drop(self.dirty.nodes.insert(change.id.into())),
                    (Some(old), None) => {
                        self.book.node_removed(old, &mut freed);
                        self.forget(Item::Node(change.id.into()));
                    }
                    (Some(old), Some(new)) => nodes::lost(old, new, &mut freed),
                    (None, None) => {}
                },
                Event::Task(change) => self.task_changed(change, &mut freed),
                _ => {}
            }
        }
        self.waiting.freed(freed);
    }

    fn network_changed(&mut self, change: &Change<Network>, freed: &mut BTreeSet<Need>) {
        let id: NetworkId = change.id.into();
        freed.insert(Need::Network(id));
        match &change.new {
            Some(network) if !network::is_allocated(network) => {
                self.dirty.networks.insert(id);
            }
            Some(_) => {}
            None => {
                self.book.network_removed(id, freed);
                self.forget(Item::Network(id));
                freed.extend(self.waiting.of_network(id));
            }
        }
        let on_every_node =
            |network: &Option<_>| network.as_deref().is_some_and(nodes::is_on_every_node);
        if on_every_node(&change.old) != on_every_node(&change.new) {
            let view = self.store.view();
            let nodes = view.all::<Node>().filter_map(|node| node.id.parse::<NodeId>().ok());
            self.dirty.nodes.extend(nodes);
        }
        if change.new.as_deref().is_some_and(is_ingress_network) {
            freed.insert(Need::Ingress);
        }
    }

    fn service_changed(&mut self, change: &Change<Service>, freed: &mut BTreeSet<Need>) {
        let id = change.id.into();
        match &change.new {
            Some(new) => {
                let old = change.old.as_deref();
                let asks = old.is_none_or(|old| old.spec != new.spec);
                if asks {
                    self.dirty.services.insert(id);
                }
                if asks || old.is_none_or(|old| old.endpoint != new.endpoint) {
                    freed.insert(Need::Service(id));
                }
            }
            None => {
                freed.insert(Need::Service(id));
                self.told.remove(&id);
                self.forget(Item::Service(id));
            }
        }
        if let Some(old) = &change.old {
            if change.new.is_none() {
                self.book.service_removed(old, freed);
            }
            endpoint::lost(old, change.new.as_deref(), freed);
        }
    }

    fn task_changed(&mut self, change: &Change<Task>, freed: &mut BTreeSet<Need>) {
        let id: TaskId = change.id.into();
        let (old, new) = (change.old.as_deref(), change.new.as_deref());
        let was_new = old.is_some_and(|old| state(old) == TaskState::New as i32);
        match new {
            None => self.forget(Item::Task(id)),
            Some(task) if old.is_none() && state(task) == TaskState::New as i32 => {
                self.dirty.tasks.insert(id);
            }
            // A change of a task that stays new is our own reason in its status, or a new desired state.
            Some(task) if was_new && !decide::is_new(task) => {
                self.forget(Item::Task(id));
                if state(task) == TaskState::New as i32 {
                    self.dirty.tasks.insert(id);
                }
            }
            Some(_) => {}
        }
        if let Some(old) = old.filter(|old| book::holds_addresses(old))
            && !new.is_some_and(book::holds_addresses)
        {
            self.book.task_ended(old, freed);
        }
        self.dirty.nodes.extend(self.in_use.follow(old, new));
    }

    /// The item is not to be looked at any more.
    fn forget(&mut self, item: Item) {
        self.dirty.remove(&item);
        self.waiting.forget(&item);
    }

    /// Takes what is dirty.
    fn next_pass(&mut self) -> Option<Pass> {
        let items = std::iter::from_fn(|| self.dirty.pop()).take(PASS_ITEMS_MAX);
        let work = items.map(|item| {
            self.waiting.looked_at(&item);
            let used = match item {
                Item::Node(id) => self.in_use.on(&id),
                _ => Vec::new(),
            };
            Work { item, used }
        });
        let work: Vec<Work> = work.collect();
        if work.is_empty() {
            return None;
        }
        let allocation = Allocation::new(self.store.clone(), self.book.clone());
        Some(Box::pin(async move {
            let results = allocation.write(work).await;
            if results.iter().any(|(_, outcome)| matches!(outcome, Outcome::Again)) {
                sleep(RETRY_DELAY).await;
            }
            results
        }))
    }

    /// Takes note of what a pass could not do that was begun at a moment.
    fn settle(&mut self, begun: Moment, results: Vec<(Item, Outcome)>) {
        for (item, outcome) in results {
            self.dirty.came_back(item);
            if let Item::Service(id) = item {
                self.tell(id, &outcome);
            }
            let needs = match outcome {
                Outcome::Done => Vec::new(),
                Outcome::Again => {
                    self.dirty.insert(item);
                    Vec::new()
                }
                Outcome::Waits(needs) => needs,
                Outcome::Behind(service) => {
                    // One that had what its spec asks for may lack something since: what its spec names is another thing now.
                    if let hash_map::Entry::Vacant(entry) = self.told.entry(service) {
                        entry.insert(Vec::new());
                        self.dirty.services.insert(service);
                    }
                    vec![Need::Service(service)]
                }
            };
            self.waiting.came_back(item, needs, begun);
        }
    }

    /// Has the tasks of a service looked at again if something else came of the service than before.
    fn tell(&mut self, id: ServiceId, outcome: &Outcome) {
        let news = match outcome {
            Outcome::Waits(needs) => self.told.insert(id, needs.clone()).as_ref() != Some(needs),
            Outcome::Again => false,
            Outcome::Done | Outcome::Behind(_) => self.told.remove(&id).is_some(),
        };
        if news {
            self.waiting.relieve(Need::Service(id));
        }
    }
}

fn state(task: &Task) -> i32 {
    task.status.as_ref().map_or(0, |status| status.state)
}
