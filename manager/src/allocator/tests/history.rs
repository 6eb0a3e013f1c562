//! Random histories: everything that changes networks and what is on them, in any order, with writes in flight, refused and in
//! doubt, and changes of leader in between. After each step nothing that is committed may disagree; whenever all is quiet, the
//! leader's memory is what the store says and a new leader finds nothing to do; and at the end everything is free.
//!
//! `SKEP_ALLOCATOR_STEPS=1000000 cargo test --release -p skepd --lib random_histories` makes more steps;
//! `SKEP_ALLOCATOR_SEED=42` runs one history.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use skep_proto::swarmkit::{Cluster, endpoint_spec::ResolutionMode, port_config::PublishMode};
use skep_store::{LogEntry, Object, Proposer, Refusal, UpdateError, View};

use super::*;
use crate::allocator::{
    audit::{Finding, audit, compare},
    ipam::Owner,
};

/// How many steps all histories have together unless more are asked for.
const STEPS: usize = 2_000;
/// How many steps a history has before everything goes.
const HISTORY_STEPS: usize = 500;
/// Subnets that networks ask for: some overlap each other or the default pools, most are full soon.
const SUBNETS: [&[&str]; 8] = [
    &["10.0.0.64/28"],
    &["192.168.0.0/29"],
    &["192.168.0.0/28"],
    &["192.168.1.0/24"],
    &["192.168.2.0/29", "192.168.3.0/29"],
    &["192.168.4.0/28", "fd00:4::/125"],
    &["fd00:5::/125"],
    &["10.1.0.0/16"],
];

/// A log that the history commits, refuses and loses by hand.
#[derive(Default)]
struct Log {
    queue: Mutex<VecDeque<(u64, Bytes)>>,
    refusing: AtomicBool,
}

impl Proposer for Log {
    fn propose(&self, _epoch: u64, ticket: u64, entry: Bytes) -> Result<(), Refusal> {
        if self.refusing.load(Ordering::Relaxed) {
            return Err(Refusal::Busy);
        }
        self.queue.lock().push_back((ticket, entry));
        Ok(())
    }
}

type Change = Box<dyn FnOnce(&mut Tx) -> Result<(), StoreError> + Send>;

struct History {
    rng: StdRng,
    store: Store,
    log: Arc<Log>,
    epoch: u64,
    index: u64,
    book: Book,
    task: JoinHandle<()>,
    /// How many objects were made; their ids.
    made: u64,
}

impl Drop for History {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl History {
    fn begin(seed: u64) -> History {
        let store = Store::system();
        let log = Arc::new(Log::default());
        store.lead(1, 0, log.clone());
        let book = Book::default();
        let task = tokio::spawn(run(store.clone(), book.clone(), Findings::default()));
        let rng = StdRng::seed_from_u64(seed);
        History { rng, store, log, epoch: 1, index: 0, book, task, made: 0 }
    }

    fn id(&mut self, kind: &str) -> String {
        self.made += 1;
        format!("{kind}{}", self.made)
    }

    /// Writes without waiting for it to be committed, or taken at all.
    async fn write(&self, change: Change) {
        let store = self.store.clone();
        tokio::spawn(async move {
            match store.update(change).await {
                // What it was decided on is gone by now, or the log did not take it.
                Ok(()) | Err(UpdateError::Aborted(_) | UpdateError::Refused(_)) => {}
                Err(UpdateError::Unknown) => {}
            }
        });
        tokio::task::yield_now().await;
    }

    /// Commits what is in flight, up to a number of entries.
    fn commit(&mut self, max: usize) {
        let mut queue = self.log.queue.lock();
        let count = max.min(queue.len());
        let entries: Vec<_> = queue.drain(..count).collect();
        drop(queue);
        let entries = entries.into_iter().map(|(ticket, data)| {
            self.index += 1;
            LogEntry { index: self.index, ticket: Some(ticket), data }
        });
        let entries: Vec<_> = entries.collect();
        self.store.apply_all(entries).unwrap();
    }

    /// Lets everything happen that is to happen.
    async fn settle(&mut self) {
        self.log.refusing.store(false, Ordering::Relaxed);
        let mut quiet = 0;
        while quiet < 2 {
            // Longer than the pause after a refusal.
            sleep(2 * RETRY_DELAY).await;
            quiet = if self.log.queue.lock().is_empty() { quiet + 1 } else { 0 };
            self.commit(usize::MAX);
        }
    }

    /// Another manager leads, and then this one again: of what was in flight, some was committed all the same. A new leader
    /// begins without a memory; `again` is the same one, which goes on.
    fn change_leader(&mut self, again: bool) {
        let queue = std::mem::take(&mut *self.log.queue.lock());
        let survive = self.rng.random_range(0..=queue.len());
        if again && survive < queue.len() && self.rng.random() {
            // Refused by the log, and known to be.
            let entries: Vec<_> = queue.into_iter().collect();
            self.log.queue.lock().extend(entries[..survive].iter().cloned());
            self.commit(usize::MAX);
            self.store.refused(entries[survive].0, Refusal::Busy);
        } else {
            self.store.follow();
            for (_, data) in queue.into_iter().take(survive) {
                self.index += 1;
                self.store.apply(self.index, None, &data).unwrap();
            }
        }
        self.epoch += 1;
        self.store.lead(self.epoch, self.index, self.log.clone());
        if !again {
            self.task.abort();
            self.book = Book::default();
            self.task =
                tokio::spawn(run(self.store.clone(), self.book.clone(), Findings::default()));
        }
    }

    fn any<T: Object>(&mut self, view: &View, wanted: impl Fn(&T) -> bool) -> Option<Arc<T>> {
        let all: Vec<_> = view.all::<T>().filter(|object| wanted(object)).collect();
        all.choose(&mut self.rng).map(|object| Arc::clone(object))
    }

    async fn step(&mut self) {
        let view = self.store.view();
        let change = match self.rng.random_range(0..100) {
            0..6 => self.create_network(&view),
            6..10 => self.remove_network(&view),
            10..16 => self.create_service(&view),
            16..22 => self.update_service(&view),
            22..25 => self.remove_service(&view),
            25..38 => self.scale(&view),
            38..44 => self.attach(&view),
            44..68 => self.assign(&view),
            68..79 => self.end(&view),
            79..86 => self.remove_task(&view),
            86..91 => self.create_node(&view),
            91..92 => self.remove_node(&view),
            92..94 => {
                let again = self.rng.random();
                self.change_leader(again);
                None
            }
            94..97 => {
                let refusing = self.rng.random_bool(0.3);
                self.log.refusing.store(refusing, Ordering::Relaxed);
                None
            }
            _ => {
                self.settle().await;
                None
            }
        };
        if let Some(change) = change {
            self.write(change).await;
        }
        for _ in 0..self.rng.random_range(0..3) {
            tokio::task::yield_now().await;
        }
        let max = self.rng.random_range(0..4);
        self.commit(max);
    }

    fn create_network(&mut self, view: &View) -> Option<Change> {
        if view.count::<Network>() > 8 {
            return None;
        }
        let id = self.id("n");
        let ingress = !view.all::<Network>().any(|network| is_ingress_network(network));
        let mut network = Network { id: id.clone(), ..network(&id, "", ingress, false) };
        let spec = network.spec.as_mut()?;
        if !ingress && self.rng.random_bool(0.1) {
            spec.driver_config = Some(Driver { name: "bridge".into(), ..Default::default() });
        } else if !ingress && self.rng.random() {
            let subnets = SUBNETS.choose(&mut self.rng)?;
            let config =
                |net: &&str| IpamConfig { subnet: (*net).to_owned(), ..Default::default() };
            let configs = subnets.iter().map(config).collect();
            spec.ipam = Some(IpamOptions { configs, ..Default::default() });
        }
        Some(Box::new(move |tx| {
            // There is one ingress network at most, also where two are on their way.
            if ingress && tx.all::<Network>().any(|network| is_ingress_network(network)) {
                return Ok(());
            }
            tx.create(network).map(drop)
        }))
    }

    fn remove_network(&mut self, view: &View) -> Option<Change> {
        let network = self.any::<Network>(view, |_| true)?;
        let id = network.id.parse().ok()?;
        let ingress = is_ingress_network(&network);
        Some(Box::new(move |tx| {
            let named = |service: &Service| {
                endpoint::targets(service).iter().any(|config| config.target == network.id)
            };
            let uses = |service: &Service| match ingress {
                true => endpoint::needs_ingress(service),
                false => named(service),
            };
            if tx.all::<Service>().any(|service| uses(service)) {
                return Ok(());
            }
            tx.remove::<Network>(&id).map(drop)
        }))
    }

    /// Some networks, a mode, and perhaps ports.
    fn spec(&mut self, view: &View, name: &str) -> ServiceSpec {
        let networks: Vec<_> = view.all::<Network>().filter(|n| !is_ingress_network(n)).collect();
        let count = self.rng.random_range(0..3);
        let chosen = networks.choose_multiple(&mut self.rng, count);
        let targets =
            chosen.map(|n| NetworkAttachmentConfig { target: n.id.clone(), ..Default::default() });
        let networks: Vec<_> = targets.collect();
        let mode = match self.rng.random_bool(0.8) {
            true => ResolutionMode::Vip,
            false => ResolutionMode::Dnsrr,
        };
        let port = |rng: &mut StdRng| PortConfig {
            published_port: [0, 80, 81].choose(rng).copied().unwrap_or_default(),
            target_port: 80,
            publish_mode: PublishMode::Ingress.into(),
            ..Default::default()
        };
        let ports = (mode == ResolutionMode::Vip && self.rng.random_bool(0.6))
            .then(|| port(&mut self.rng))
            .into_iter()
            .collect();
        let endpoint = EndpointSpec { mode: mode.into(), ports };
        let asked = !endpoint.ports.is_empty() || self.rng.random();
        ServiceSpec {
            annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
            task: Some(TaskSpec { networks, ..Default::default() }.into()),
            endpoint: (asked || mode == ResolutionMode::Dnsrr).then_some(endpoint),
            ..Default::default()
        }
    }

    fn create_service(&mut self, view: &View) -> Option<Change> {
        if view.count::<Service>() > 8 {
            return None;
        }
        let id = self.id("s");
        let spec = Some(self.spec(view, &id));
        let service = Service { id, spec, ..Default::default() };
        Some(Box::new(move |tx| tx.create(service).map(drop)))
    }

    fn update_service(&mut self, view: &View) -> Option<Change> {
        let service = self.any::<Service>(view, |_| true)?;
        let spec = self.spec(view, &service.id);
        let id = service.id.parse().ok()?;
        Some(Box::new(move |tx| {
            tx.modify::<Service>(&id, |service| service.spec = Some(spec)).map(drop)
        }))
    }

    fn remove_service(&mut self, view: &View) -> Option<Change> {
        let id = self.any::<Service>(view, |_| true)?.id.parse().ok()?;
        Some(Box::new(move |tx| tx.remove::<Service>(&id).map(drop)))
    }

    /// More tasks of a service, with the spec that it has when they are made.
    fn scale(&mut self, view: &View) -> Option<Change> {
        if view.count::<Task>() > 60 {
            return None;
        }
        let service: ServiceId = self.any::<Service>(view, |_| true)?.id.parse().ok()?;
        let ids: Vec<_> = (0..self.rng.random_range(1..6)).map(|_| self.id("t")).collect();
        let book = self.book.clone();
        let given = self.rng.random_bool(0.7);
        let taken_back = self.rng.random_bool(0.2);
        Some(Box::new(move |tx| {
            let Some(service) = tx.get::<Service>(&service).cloned() else { return Ok(()) };
            for id in ids {
                let mut task = task(&id, &service.id, &[]);
                task.spec = service.spec.as_ref().and_then(|spec| spec.task.clone());
                match given {
                    true => create(tx, &book, task)?,
                    false => drop(tx.create(task)?),
                }
            }
            match taken_back {
                true => Err(StoreError::NotFound { kind: Kind::Task, id: "given up".into() }),
                false => Ok(()),
            }
        }))
    }

    /// A task of no service, on a network, perhaps with an address that it asks for.
    fn attach(&mut self, view: &View) -> Option<Change> {
        if view.count::<Task>() > 60 {
            return None;
        }
        let network = self.any::<Network>(view, |network| !is_ingress_network(network))?;
        let mut config =
            NetworkAttachmentConfig { target: network.id.clone(), ..Default::default() };
        let ipam = network.ipam.as_ref().and_then(|ipam| ipam.configs.first());
        if let Some(gateway) = ipam.filter(|_| self.rng.random_bool(0.3)).map(|c| &c.gateway)
            && let Ok(std::net::IpAddr::V4(gateway)) = gateway.parse()
        {
            let address = gateway.to_bits() + self.rng.random_range(0..10);
            config.addresses = vec![std::net::Ipv4Addr::from_bits(address).to_string()];
        }
        let mut task = task(&self.id("t"), "", &[]);
        task.spec = Some(TaskSpec { networks: vec![config], ..Default::default() }.into());
        let book = self.book.clone();
        Some(Box::new(move |tx| create(tx, &book, task)))
    }

    /// The scheduler gives a task a node, or the node says that it runs.
    fn assign(&mut self, view: &View) -> Option<Change> {
        let node = self.any::<Node>(view, |_| true)?;
        let state = |task: &Task| task.status.as_ref().map_or(0, |status| status.state);
        let on_its_way = |task: &Task| (64..TaskState::Running as i32).contains(&state(task));
        let id = self.any::<Task>(view, on_its_way)?.id.parse().ok()?;
        let node: NodeId = node.id.parse().ok()?;
        Some(Box::new(move |tx| {
            if tx.get::<Node>(&node).is_none() {
                return Ok(());
            }
            tx.modify::<Task>(&id, |task| {
                let Some(status) = &mut task.status else { return };
                status.state = match status.state() {
                    TaskState::Pending => {
                        task.node_id = node.to_string();
                        TaskState::Assigned.into()
                    }
                    TaskState::Assigned => TaskState::Running.into(),
                    _ => status.state,
                };
            })
            .map(drop)
        }))
    }

    /// A task ends, or is to end.
    fn end(&mut self, view: &View) -> Option<Change> {
        let id = self.any::<Task>(view, |_| true)?.id.parse().ok()?;
        let ends = [TaskState::Complete, TaskState::Failed, TaskState::Shutdown];
        let end = *ends.choose(&mut self.rng)?;
        Some(Box::new(move |tx| {
            tx.modify::<Task>(&id, |task| {
                task.desired_state = TaskState::Shutdown.into();
                let Some(status) = &mut task.status else { return };
                if status.state > TaskState::New as i32 {
                    status.state = status.state.max(end.into());
                }
            })
            .map(drop)
        }))
    }

    fn remove_task(&mut self, view: &View) -> Option<Change> {
        let ended = self.rng.random_bool(0.7);
        let state = |task: &Task| task.status.as_ref().map_or(0, |status| status.state);
        let wanted = |task: &Task| !ended || state(task) > TaskState::Running as i32;
        let id = self.any::<Task>(view, wanted)?.id.parse().ok()?;
        Some(Box::new(move |tx| tx.remove::<Task>(&id).map(drop)))
    }

    fn create_node(&mut self, view: &View) -> Option<Change> {
        if view.count::<Node>() > 4 {
            return None;
        }
        let node = Node { id: self.id("w"), ..Default::default() };
        Some(Box::new(move |tx| tx.create(node).map(drop)))
    }

    /// A node goes; its tasks are orphans.
    fn remove_node(&mut self, view: &View) -> Option<Change> {
        let id: NodeId = self.any::<Node>(view, |_| true)?.id.parse().ok()?;
        Some(Box::new(move |tx| {
            tx.remove::<Node>(&id)?;
            let tasks: Vec<TaskId> =
                tx.find::<Task>(By::Node(id)).filter_map(|task| task.id.parse().ok()).collect();
            tasks.iter().try_for_each(|id| {
                tx.modify::<Task>(id, |task| {
                    if let Some(status) = &mut task.status {
                        status.state = TaskState::Orphaned.into();
                    }
                })
                .map(drop)
            })
        }))
    }

    /// Nothing that is committed disagrees.
    fn check(&self) {
        let view = self.store.view();
        // The network may go while tasks are on it.
        let allowed = |finding: &Finding| {
            finding.may_pass()
                || matches!(finding, Finding::NetworkGone { holder: Owner::Task(_), .. })
        };
        let findings: Vec<_> = audit(&view).into_iter().filter(|f| !allowed(f)).collect();
        assert!(findings.is_empty(), "{findings:#?}");
    }

    /// All is quiet, and everything agrees.
    async fn check_quiet(&mut self) {
        self.settle().await;
        self.check();
        let book = self.book.clone();
        let compared = self.store.update(|tx| {
            let ledger = book.open(tx);
            Ok::<_, StoreError>(compare(tx, &ledger.ipam, &ledger.vxlan))
        });
        assert_eq!(compared.await.unwrap(), []);
        let view = self.store.view();
        let unneeded: Vec<_> = audit(&view)
            .into_iter()
            .filter(|finding| matches!(finding, Finding::NodeNeedsNoAddress { .. }))
            .collect();
        assert_eq!(unneeded, []);
        let before = given(&view);
        let waited = |id: &str| view.get_text::<Task>(id).map(|task| task.status.clone());
        self.change_leader(false);
        self.settle().await;
        let after = given(&self.store.view());
        let found: Vec<_> = before.iter().filter(|line| !after.contains(line)).collect();
        let why: Vec<_> =
            found.iter().filter_map(|line| waited(line.split(' ').next()?)?).collect();
        assert!(found.is_empty(), "a new leader found something to do: {found:#?} {why:#?}");
    }

    async fn end_all(&mut self) {
        self.settle().await;
        async fn all<T: Object>(history: &mut History) {
            let view = history.store.view();
            for object in view.all::<T>() {
                let id = T::Id::from(object.id().parse().unwrap());
                history.write(Box::new(move |tx| tx.remove::<T>(&id).map(drop))).await;
                let max = history.rng.random_range(0..4);
                history.commit(max);
                history.check();
            }
            history.settle().await;
        }
        all::<Service>(self).await;
        all::<Node>(self).await;
        all::<Network>(self).await;
        all::<Task>(self).await;
        let book = self.book.clone();
        let held = self.store.update(|tx| {
            let ledger = book.open(tx);
            let networks: Vec<_> = ledger.ipam.networks().collect();
            Ok::<_, StoreError>((networks, ledger.vxlan.held().collect::<Vec<_>>()))
        });
        assert_eq!(held.await.unwrap(), (vec![], vec![]));
    }
}

/// What was given to whom.
fn given(tables: &Tables) -> Vec<String> {
    let tasks = tables.all::<Task>().map(|task| {
        let state = task.status.as_ref().map_or(0, |status| status.state);
        format!("{} {state} {}", task.id, attachments(&task.networks))
    });
    let services =
        tables.all::<Service>().map(|service| format!("{} {:?}", service.id, service.endpoint));
    let nodes = tables.all::<Node>().map(|n| format!("{} {}", n.id, attachments(&n.attachments)));
    let networks = tables
        .all::<Network>()
        .map(|network| format!("{} {:?} {:?}", network.id, network.driver_state, network.ipam));
    tasks.chain(services).chain(nodes).chain(networks).collect()
}

async fn history(seed: u64) {
    let mut history = History::begin(seed);
    let cluster = Cluster {
        id: "c".into(),
        // Sixteen blocks of thirty addresses.
        default_address_pool: vec!["10.0.0.0/23".into()],
        subnet_size: 27,
        ..Default::default()
    };
    history.write(Box::new(move |tx| tx.create(cluster).map(drop))).await;
    history.settle().await;
    for step in 0..HISTORY_STEPS {
        history.step().await;
        history.check();
        if step % 100 == 99 {
            history.check_quiet().await;
        }
    }
    history.end_all().await;
}

#[test]
fn in_random_histories_nothing_is_given_twice_and_nothing_is_lost() {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number")))
    };
    let steps = number("SKEP_ALLOCATOR_STEPS").unwrap_or(STEPS as u64);
    let seeds = match number("SKEP_ALLOCATOR_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..steps.div_ceil(HISTORY_STEPS as u64),
    };
    for seed in seeds {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime starts");
        let run = std::panic::AssertUnwindSafe(|| runtime.block_on(history(seed)));
        if let Err(panic) = std::panic::catch_unwind(run) {
            eprintln!("SKEP_ALLOCATOR_SEED={seed} runs this history again");
            std::panic::resume_unwind(panic);
        }
    }
}
