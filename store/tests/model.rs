//! Random histories: whatever a leader does and whatever befalls it, a follower that sees only the committed bytes holds the same,
//! every index agrees with a look at every object, watchers see every commit in order, and a restored snapshot is the store it was taken of.

mod common;

use std::{collections::BTreeMap, sync::Arc};

use bytes::Bytes;
use common::{Script, annotations, store};
use futures::{FutureExt, future::BoxFuture};
use proptest::prelude::*;
use skep_proto::{
    ids::{ConfigId, Id, NetworkId, NodeId, SecretId, ServiceId, VolumeId},
    swarmkit::{
        Cluster, ClusterSnapshot, Config, ConfigReference, ContainerSpec, Driver, Extension,
        GenericRuntimeSpec, IndexEntry, Network, NetworkAttachmentConfig, Node, NodeDescription,
        NodeRole, NodeSpec, Resource, Secret, SecretReference, Service, ServiceSpec, Task,
        TaskSpec, TaskState, TaskStatus, Volume, VolumeAttachment, VolumeSpec,
        node_spec::Membership, task_spec::Runtime,
    },
};
use skep_store::{
    By, Commit, Event, Kind, LogEntry, Object, Refusal, Selector, Store, StoreError, Tables, Tx,
    UpdateError, Watcher,
};

/// Everything that an object is made of, as small numbers: few values, so that they meet.
#[derive(Clone, Debug)]
struct Shape {
    id: u8,
    name: u8,
    service: u8,
    node: u8,
    state: u8,
    references: Vec<u8>,
}

fn shape() -> impl Strategy<Value = Shape> {
    (0..6u8, 0..8u8, 0..3u8, 0..3u8, 0..3u8, prop::collection::vec(0..3u8, 0..3)).prop_map(
        |(id, name, service, node, state, references)| Shape {
            id,
            name,
            service,
            node,
            state,
            references,
        },
    )
}

const NAMES: [&str; 8] = [
    "web",
    "WEB",
    "web.1",
    "",
    "a-name-that-is-longer-than-an-index-keeps",
    "a-name-that-is-longer-than-an-index-takes",
    "Ärger",
    "kind-0",
];
const STATES: [TaskState; 3] = [TaskState::New, TaskState::Running, TaskState::Shutdown];

fn id(prefix: &str, n: u8) -> String {
    format!("{prefix}{n}")
}

fn typed<T: From<Id>>(prefix: &str, n: u8) -> T {
    id(prefix, n).parse::<Id>().unwrap().into()
}

fn annotated(shape: &Shape) -> Option<skep_proto::swarmkit::Annotations> {
    let mut made = annotations(NAMES[usize::from(shape.name)])?;
    for n in &shape.references {
        made.indices.push(IndexEntry { key: "k".into(), val: format!("v{n}") });
    }
    Some(made)
}

fn task_spec(shape: &Shape) -> TaskSpec {
    let networks = shape
        .references
        .iter()
        .map(|&n| NetworkAttachmentConfig { target: id("net", n), ..Default::default() })
        .collect();
    let runtime = match shape.state {
        0 => None,
        1 => Some(Runtime::Generic(GenericRuntimeSpec { kind: "Special".into(), payload: None })),
        _ => Some(Runtime::Container(ContainerSpec {
            secrets: shape
                .references
                .iter()
                .map(|&n| SecretReference { secret_id: id("sec", n), ..Default::default() })
                .collect(),
            configs: shape
                .references
                .iter()
                .map(|&n| ConfigReference { config_id: id("cfg", n), ..Default::default() })
                .collect(),
            ..Default::default()
        })),
    };
    TaskSpec { networks, runtime, ..Default::default() }
}

fn node(s: &Shape) -> Node {
    Node {
        id: id("n", s.id),
        spec: Some(NodeSpec {
            annotations: annotated(s),
            desired_role: i32::from(s.state % 2),
            membership: i32::from(s.service % 2),
            ..Default::default()
        }),
        description: (s.node > 0).then(|| NodeDescription {
            hostname: NAMES[usize::from(s.name)].into(),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn service(s: &Shape) -> Service {
    let mut task = task_spec(s);
    let networks = std::mem::take(&mut task.networks);
    if s.node > 0 {
        task.networks = networks.clone();
    }
    Service {
        id: id("s", s.id),
        spec: Some(ServiceSpec {
            annotations: annotated(s),
            task: Some(task.into()),
            networks,
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn task(s: &Shape) -> Task {
    Task {
        id: id("t", s.id),
        spec: Some(task_spec(s).into()),
        service_id: id("s", s.service),
        slot: u64::from(s.node),
        node_id: if s.node == 0 { String::new() } else { id("n", s.node) },
        annotations: (s.state == 1).then(|| annotated(s).unwrap()),
        service_annotations: annotated(s),
        desired_state: STATES[usize::from(s.node)] as i32,
        status: Some(TaskStatus {
            state: STATES[usize::from(s.state)] as i32,
            ..Default::default()
        }),
        volumes: s
            .references
            .iter()
            .map(|&n| VolumeAttachment { id: id("vol", n), ..Default::default() })
            .collect(),
        ..Default::default()
    }
}

fn volume(s: &Shape) -> Volume {
    Volume {
        id: id("v", s.id),
        spec: Some(VolumeSpec {
            annotations: annotated(s),
            group: id("g", s.service),
            driver: (s.node > 0).then(|| Driver { name: id("d", s.node), ..Default::default() }),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn resource(s: &Shape) -> Resource {
    Resource {
        id: id("r", s.id),
        annotations: annotated(s),
        kind: NAMES[usize::from(s.service) + 5].into(),
        ..Default::default()
    }
}

fn extension(s: &Shape) -> Extension {
    Extension { id: id("e", s.id), annotations: annotated(s), ..Default::default() }
}

macro_rules! plain {
    ($($of:ident $Kind:ident $Spec:ident $prefix:literal;)*) => {$(
        fn $of(s: &Shape) -> $Kind {
            $Kind {
                id: id($prefix, s.id),
                spec: Some(skep_proto::swarmkit::$Spec {
                    annotations: annotated(s),
                    ..Default::default()
                }),
                ..Default::default()
            }
        }
    )*};
}
plain! {
    network Network NetworkSpec "net";
    cluster Cluster ClusterSpec "c";
    secret Secret SecretSpec "sec";
    config Config ConfigSpec "cfg";
}

/// Runs an expression with the maker of one kind, picked by number.
macro_rules! with_kind {
    ($kind:expr, $call:ident($($argument:expr),*)) => {
        match $kind {
            Kind::Node => $call($($argument,)* node),
            Kind::Service => $call($($argument,)* service),
            Kind::Task => $call($($argument,)* task),
            Kind::Network => $call($($argument,)* network),
            Kind::Cluster => $call($($argument,)* cluster),
            Kind::Secret => $call($($argument,)* secret),
            Kind::Resource => $call($($argument,)* resource),
            Kind::Extension => $call($($argument,)* extension),
            Kind::Config => $call($($argument,)* config),
            Kind::Volume => $call($($argument,)* volume),
        }
    };
}

/// One change: puts the object if it is not there, updates it, or removes it.
#[derive(Clone, Debug)]
struct Edit {
    kind: Kind,
    remove: bool,
    shape: Shape,
}

fn edit() -> impl Strategy<Value = Edit> {
    // Tasks have the most indexes.
    let kind = prop_oneof![Just(Kind::Task), prop::sample::select(&Kind::ALL[..])];
    (kind, prop::bool::weighted(0.25), shape()).prop_map(|(kind, remove, shape)| Edit {
        kind,
        remove,
        shape,
    })
}

fn make<T: Object>(tx: &mut Tx, edit: &Edit, of: fn(&Shape) -> T) -> Result<(), StoreError> {
    let mut object = of(&edit.shape);
    let id: T::Id = object.id().parse::<Id>().unwrap().into();
    let stored = tx.get::<T>(&id).cloned();
    match stored {
        _ if edit.remove => tx.remove::<T>(&id).map(drop),
        None => tx.create(object).map(drop),
        Some(stored) => {
            object.set_meta(stored.meta().cloned().unwrap());
            tx.update(object).map(drop)
        }
    }
}

/// Applies the edits that can be; fails if none can.
fn run(tx: &mut Tx, edits: &[Edit]) -> Result<(), StoreError> {
    let results: Vec<_> = edits.iter().map(|e| with_kind!(e.kind, make(tx, e))).collect();
    match results.iter().any(Result::is_ok) {
        true => Ok(()),
        false => results.into_iter().next().unwrap_or(Ok(())),
    }
}

/// The same, with a config that shows whether it was committed.
fn run_marked(tx: &mut Tx, marker: usize, edits: &[Edit]) -> Result<(), StoreError> {
    let spec = skep_proto::swarmkit::ConfigSpec {
        annotations: annotations(&marker_id(marker)),
        ..Default::default()
    };
    tx.create(Config { id: marker_id(marker), spec: Some(spec), ..Default::default() })?;
    run(tx, edits)
}

fn marker_id(marker: usize) -> String {
    format!("marker-{marker}")
}

#[derive(Clone, Debug)]
enum Step {
    Update(Vec<Edit>),
    Batch(Vec<Vec<Edit>>),
    /// That many of what is in flight commit.
    Commit(u8),
    /// What is in flight is refused from there on; the group leads on in a new epoch.
    Refuse(u8),
    /// Leadership goes to another manager, which has that many of what is in flight in its log, and writes this itself; and comes
    /// back.
    Depose(u8, Vec<Edit>),
    /// A follower gets a snapshot in place of entries.
    Snapshot,
}

fn step() -> impl Strategy<Value = Step> {
    let edits = || prop::collection::vec(edit(), 1..4);
    prop_oneof![
        6 => edits().prop_map(Step::Update),
        2 => prop::collection::vec(edits(), 0..4).prop_map(Step::Batch),
        4 => (0..4u8).prop_map(Step::Commit),
        1 => (0..4u8).prop_map(Step::Refuse),
        1 => ((0..3u8), edits()).prop_map(|(n, edits)| Step::Depose(n, edits)),
        1 => Just(Step::Snapshot),
    ]
}

/// What callers were told, by marker.
type Told = Vec<(usize, Result<(), UpdateError<StoreError>>)>;
type Waiting = BoxFuture<'static, Told>;

/// A leader, and the log that the group agrees on.
struct Group {
    leader: Store,
    script: Arc<Script>,
    epoch: u64,
    in_flight: Vec<(u64, Bytes)>,
    waiting: Vec<Waiting>,
    told: Told,
    markers: usize,
    log: Vec<Bytes>,
    /// Applies every entry as a follower does.
    follower: Store,
    /// Gets snapshots now and then, entries never.
    restored: Store,
    watcher: Watcher,
    seen: Vec<Arc<Commit>>,
}

impl Group {
    fn new() -> Group {
        let leader = store();
        let script = Script::lead(&leader, 1);
        let (_, watcher) = leader.watch(Selector::all());
        Group {
            leader,
            script,
            epoch: 1,
            in_flight: Vec::new(),
            waiting: Vec::new(),
            told: Vec::new(),
            markers: 0,
            log: Vec::new(),
            follower: store(),
            restored: store(),
            watcher,
            seen: Vec::new(),
        }
    }

    fn start(&mut self, mut waiting: Waiting) {
        if let Some(results) = (&mut waiting).now_or_never() {
            self.told.extend(results);
        } else {
            self.waiting.push(waiting);
        }
        self.in_flight.extend(self.script.take().into_iter().map(|(_, t, entry)| (t, entry)));
    }

    fn collect(&mut self) {
        for mut waiting in std::mem::take(&mut self.waiting) {
            match (&mut waiting).now_or_never() {
                Some(results) => self.told.extend(results),
                None => self.waiting.push(waiting),
            }
        }
        self.in_flight.extend(self.script.take().into_iter().map(|(_, t, entry)| (t, entry)));
        while let Some(commit) = self.watcher.try_next().unwrap() {
            self.seen.push(commit);
        }
    }

    fn commit(&mut self, count: usize) {
        let count = count.min(self.in_flight.len());
        let first = self.log.len() as u64 + 1;
        let entries: Vec<LogEntry> = (first..)
            .zip(self.in_flight.drain(..count))
            .map(|(index, (ticket, data))| LogEntry { index, ticket: Some(ticket), data })
            .collect();
        self.log.extend(entries.iter().map(|e| e.data.clone()));
        self.leader.apply_all(entries.clone()).unwrap();
        for entry in entries {
            self.follower.apply(entry.index, None, &entry.data).unwrap();
        }
    }

    fn foreign(&mut self, data: Bytes) {
        self.log.push(data.clone());
        let index = self.log.len() as u64;
        self.leader.apply(index, None, &data).unwrap();
        self.follower.apply(index, None, &data).unwrap();
    }

    fn lead_again(&mut self) {
        self.epoch += 1;
        self.script = Script::lead(&self.leader, self.epoch);
    }

    fn step(&mut self, step: Step) {
        let store = self.leader.clone();
        match step {
            Step::Update(edits) => {
                let marker = self.markers;
                self.markers += 1;
                self.start(
                    async move {
                        vec![(marker, store.update(|tx| run_marked(tx, marker, &edits)).await)]
                    }
                    .boxed(),
                );
            }
            Step::Batch(parts) => {
                let parts: Vec<_> = (self.markers..).zip(parts).collect();
                let markers = self.markers..self.markers + parts.len();
                self.markers = markers.end;
                self.start(
                    async move {
                        let each = |tx: &mut Tx, (marker, edits): (usize, Vec<Edit>)| {
                            run_marked(tx, marker, &edits)
                        };
                        markers.zip(store.batch(parts, each).await).collect()
                    }
                    .boxed(),
                );
            }
            Step::Commit(count) => self.commit(usize::from(count)),
            Step::Refuse(kept) => {
                let kept = usize::from(kept);
                if let Some((ticket, _)) = self.in_flight.get(kept) {
                    self.leader.refused(*ticket, Refusal::StaleEpoch);
                    self.in_flight.truncate(kept);
                    self.lead_again();
                }
            }
            Step::Depose(kept, edits) => {
                self.leader.follow();
                self.in_flight.truncate(usize::from(kept));
                for (_, entry) in std::mem::take(&mut self.in_flight) {
                    self.foreign(entry);
                }
                // The other manager has the same state by now; let it write.
                let other = self.follower.clone();
                let script = Script::lead(&other, 1);
                drop(other.update(|tx| run(tx, &edits)).now_or_never());
                other.follow();
                for (_, _, entry) in script.take() {
                    self.foreign(entry);
                }
                self.lead_again();
            }
            Step::Snapshot => {
                let membership = ClusterSnapshot { removed: vec![7], ..Default::default() };
                let data = self.leader.snapshot().encode(&membership);
                let before = self.restored.view();
                let (_, mut watcher) = self.restored.watch(Selector::all());
                let index = self.log.len() as u64;
                assert_eq!(self.restored.restore(index, &data), Ok(membership));
                let mut state = State::of(&before);
                while let Some(commit) = watcher.try_next().unwrap() {
                    state.follow(&commit);
                }
                assert!(state == State::of(&self.restored.view()), "events of a restore");
                let fresh = common::store();
                fresh.restore(index, &data).unwrap();
                assert_eq!(bytes(&fresh), bytes(&self.restored));
                assert_eq!(bytes(&fresh), bytes(&self.leader));
                check_indexes(&self.restored.view());
            }
        }
        self.collect();
    }
}

/// Every object by kind and id, as events and views show it.
#[derive(PartialEq, Default)]
struct State(BTreeMap<(Kind, Id), Event>);

impl State {
    fn of(tables: &Tables) -> State {
        fn add<T: Object>(state: &mut State, tables: &Tables, _: fn(&Shape) -> T) {
            for object in tables.all::<T>() {
                let id = object.id().parse().unwrap();
                let change = skep_store::Change { id, old: None, new: Some(object.clone()) };
                state.0.insert((T::KIND, id), T::event(change));
            }
        }
        let mut state = State::default();
        for kind in Kind::ALL {
            with_kind!(kind, add(&mut state, tables));
        }
        state
    }

    /// Does what a commit says, and checks that what it says of before is true.
    fn follow(&mut self, commit: &Commit) {
        fn check<T: Object>(
            before: Option<Event>,
            change: &skep_store::Change<T>,
        ) -> Option<Event> {
            let old = change.old.clone().map(|old| {
                T::event(skep_store::Change { id: change.id, old: None, new: Some(old) })
            });
            assert!(before == old, "an event must carry what was there before");
            change.new.clone().map(|new| {
                T::event(skep_store::Change { id: change.id, old: None, new: Some(new) })
            })
        }
        for event in &commit.events {
            let key = (event.kind(), event.id());
            let before = self.0.remove(&key);
            let after = match event {
                Event::Node(c) => check(before, c),
                Event::Service(c) => check(before, c),
                Event::Task(c) => check(before, c),
                Event::Network(c) => check(before, c),
                Event::Cluster(c) => check(before, c),
                Event::Secret(c) => check(before, c),
                Event::Resource(c) => check(before, c),
                Event::Extension(c) => check(before, c),
                Event::Config(c) => check(before, c),
                Event::Volume(c) => check(before, c),
            };
            if let Some(after) = after {
                self.0.insert(key, after);
            }
        }
    }
}

fn bytes(store: &Store) -> Bytes {
    store.snapshot().encode(&ClusterSnapshot::default())
}

/// Every question that these objects can answer, on every kind.
fn questions() -> Vec<By> {
    let mut all = vec![
        By::All,
        By::Or(Vec::new()),
        By::Or(vec![By::Name("web".into()), By::IdPrefix("t1".into())]),
        By::IdPrefix(String::new()),
        By::IdPrefix("s".into()),
        By::IdPrefix("not an id".into()),
        By::NamePrefix(String::new()),
        By::NamePrefix("WEB.1.".into()),
        By::NamePrefix("web.1.t".into()),
        By::NamePrefix("a-name-that-is-longer-than-an-index".into()),
        By::Name("web.1.t1".into()),
        By::Name("Web.1.1.T2".into()),
        By::CustomPrefix { key: "k".into(), value_prefix: "v".into() },
        By::CustomPrefix { key: "k".into(), value_prefix: String::new() },
        By::Custom { key: "k".into(), value: "v".into() },
        By::Runtime("special".into()),
        By::Runtime("container".into()),
        By::Role(NodeRole::Manager),
        By::Role(NodeRole::Worker),
        By::Membership(Membership::Accepted),
        By::Membership(Membership::Pending),
    ];
    for name in NAMES {
        all.extend([
            By::Name(name.into()),
            By::Name(name.to_uppercase()),
            By::NamePrefix(name.into()),
            By::Kind(name.into()),
        ]);
    }
    for n in 0..4 {
        all.extend([
            By::Id(typed("t", n)),
            By::Custom { key: "k".into(), value: format!("v{n}") },
            By::Service(typed::<ServiceId>("s", n)),
            By::Node(typed::<NodeId>("n", n)),
            By::ReferencedNetwork(typed::<NetworkId>("net", n)),
            By::ReferencedSecret(typed::<SecretId>("sec", n)),
            By::ReferencedConfig(typed::<ConfigId>("cfg", n)),
            By::VolumeGroup(id("g", n)),
            By::Driver(id("d", n)),
            By::VolumeAttachment(typed::<VolumeId>("vol", n)),
        ]);
        all.extend((0..3).map(|slot| By::Slot(typed("s", n), slot)));
    }
    for state in STATES {
        all.extend([By::DesiredState(state), By::TaskState(state)]);
    }
    all
}

/// Each index gives what a look at every object gives, each object once.
fn check_indexes(tables: &Tables) {
    fn check<T: Object>(tables: &Tables, by: &By, _: fn(&Shape) -> T) {
        let mut found: Vec<&str> = tables.find::<T>(by.clone()).map(|o| o.id()).collect();
        found.sort_unstable();
        let expected: Vec<&str> =
            tables.all::<T>().filter(|o| o.matches(by)).map(|o| o.id()).collect();
        assert_eq!(found, expected, "{} by {by:?}", T::KIND);
        if !by.applies_to(T::KIND) && *by != By::Or(Vec::new()) {
            assert!(found.is_empty(), "{} by {by:?}", T::KIND);
        }
    }
    for by in questions() {
        for kind in Kind::ALL {
            with_kind!(kind, check(tables, &by));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn a_history_is_one_on_every_replica(steps in prop::collection::vec(step(), 1..40)) {
        let mut group = Group::new();
        for step in steps {
            group.step(step);
            prop_assert_eq!(bytes(&group.leader), bytes(&group.follower));
            prop_assert_eq!(group.leader.view().version(), group.log.len() as u64);
        }
        check_indexes(&group.leader.view());
        check_indexes(&group.follower.view());

        // Everything that can still commit does; then nobody is left waiting, and nobody was told two things.
        group.commit(usize::MAX);
        group.collect();
        prop_assert!(group.waiting.is_empty());
        prop_assert_eq!(group.leader.in_flight(), 0);

        // What was acknowledged is there; what was refused is not, and never was.
        prop_assert_eq!(group.told.len(), group.markers);
        for (marker, told) in &group.told {
            let id: ConfigId = marker_id(*marker).parse().unwrap();
            let there = group.follower.view().get::<Config>(&id).is_some();
            match told {
                Ok(()) => prop_assert!(there),
                Err(error) if error.may_happen() => {}
                Err(error) => prop_assert!(!there, "{}", error),
            }
        }

        // The watcher saw each entry once, in order, and its events lead to the state.
        let seen: Vec<u64> = group.seen.iter().map(|commit| commit.version).collect();
        prop_assert_eq!(seen, (1..=group.log.len() as u64).collect::<Vec<_>>());
        let mut state = State::default();
        group.seen.iter().for_each(|commit| state.follow(commit));
        prop_assert!(state == State::of(&group.leader.view()));

        // A watch that resumes anywhere sees the same as one that was there all the time.
        for version in 0..=group.log.len() {
            let mut resumed = group.follower.watch_from(version as u64, Selector::all()).unwrap();
            for seen in &group.seen[version..] {
                let again = resumed.try_next().unwrap().unwrap();
                prop_assert_eq!(again.version, seen.version);
                prop_assert!(again.events == seen.events);
            }
            prop_assert!(resumed.try_next().unwrap().is_none());
        }
    }

    #[test]
    fn no_bytes_can_panic_a_replica(data in prop::collection::vec(any::<u8>(), 0..200)) {
        let replica = store();
        let _ = replica.apply(1, None, &Bytes::from(data.clone()));
        let _ = replica.restore(1, &data);
    }

    #[test]
    fn damaged_entries_are_refused_or_applied_whole(
        edits in prop::collection::vec(edit(), 1..5),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let leader = store();
        let script = Script::lead(&leader, 1);
        let _ = leader.update(|tx| run(tx, &edits)).now_or_never();
        for (_, _, entry) in script.take() {
            let mut damaged = entry.to_vec();
            damaged[at.index(entry.len())] = byte;
            let replica = store();
            let empty = bytes(&replica);
            if replica.apply(1, None, &damaged.into()).is_err() {
                prop_assert_eq!(bytes(&replica), empty);
            }
            check_indexes(&replica.view());
        }
    }
}
