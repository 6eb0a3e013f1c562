//! What a stock Docker Engine wrote: its log entries and its snapshot mean the same here, and are written the same.

mod common;

use std::sync::LazyLock;

use common::{recorded_log, recorded_snapshot, store};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, ReflectMessage as _, Value};
use skep_proto::ids::ServiceId;
use skep_proto::swarmkit::{
    Cluster, ClusterSnapshot, Config, InternalRaftRequest, Network, Node, NodeRole, Secret,
    Service, Snapshot, Task, TaskState, service_spec::Mode,
};
use skep_store::{Action, By, Kind, Selector, Store};

const THREE_MANAGERS: &str = include_str!("fixtures/log-three-managers.jsonl");
const ONE_MANAGER: &str = include_str!("fixtures/log-one-manager.jsonl");
const SNAPSHOT: &str = include_str!("fixtures/snapshot.json");

/// The message as its descriptor has it: fields that nobody knows are kept, and maps compare as maps.
fn reflected(message: &str, bytes: &[u8]) -> DynamicMessage {
    static POOL: LazyLock<DescriptorPool> =
        LazyLock::new(|| DescriptorPool::decode(skep_proto::DESCRIPTOR_SET).unwrap());
    let name = format!("docker.swarmkit.v1.{message}");
    DynamicMessage::decode(POOL.get_message_by_name(&name).unwrap(), bytes).unwrap()
}

/// Fails if the message or one in it has fields that our sources do not have: they would be lost.
fn assert_all_known(message: &DynamicMessage) {
    assert_eq!(message.unknown_fields().count(), 0, "{}", message.descriptor().full_name());
    for (_, value) in message.fields() {
        match value {
            Value::Message(inner) => assert_all_known(inner),
            Value::List(list) => {
                list.iter().filter_map(Value::as_message).for_each(assert_all_known)
            }
            Value::Map(map) => {
                map.values().filter_map(Value::as_message).for_each(assert_all_known)
            }
            _ => {}
        }
    }
}

/// Fails where one message says something that the other does not.
fn assert_same(path: &str, recorded: &DynamicMessage, ours: &DynamicMessage) {
    for field in recorded.descriptor().fields() {
        let path = format!("{path}.{}", field.name());
        assert_eq!(recorded.has_field(&field), ours.has_field(&field), "{path}");
        assert_same_value(&path, &recorded.get_field(&field), &ours.get_field(&field));
    }
}

fn assert_same_value(path: &str, recorded: &Value, ours: &Value) {
    match (recorded, ours) {
        (Value::Message(recorded), Value::Message(ours)) => assert_same(path, recorded, ours),
        (Value::List(recorded), Value::List(ours)) => {
            assert_eq!(recorded.len(), ours.len(), "{path}");
            recorded.iter().zip(ours).for_each(|(r, o)| assert_same_value(path, r, o));
        }
        // Maps of messages hold nothing but plain values here.
        _ => assert!(recorded == ours, "{path}"),
    }
}

/// The bytes say the same. They are the same but for maps, whose order in Go is random and whose empty values Go writes out.
fn assert_written_again(message: &str, recorded: &[u8], ours: &[u8]) {
    let recorded = reflected(message, recorded);
    assert_all_known(&recorded);
    assert_same(message, &recorded, &reflected(message, ours));
}

#[test]
fn every_entry_is_written_again() {
    let mut same_bytes = 0;
    let mut all = 0;
    for log in [THREE_MANAGERS, ONE_MANAGER] {
        for entry in recorded_log(log).iter().filter(|e| e.normal && !e.data.is_empty()) {
            let request = InternalRaftRequest::decode(&entry.data[..]).unwrap();
            assert_ne!(request.id, 0, "entry {}", entry.index);
            let ours = request.encode_to_vec();
            assert_written_again("InternalRaftRequest", &entry.data, &ours);
            same_bytes += usize::from(ours == entry.data);
            all += 1;
        }
    }
    assert_eq!((same_bytes, all), (107, 127));
}

#[test]
fn a_snapshot_is_written_again() {
    let (index, data) = recorded_snapshot(SNAPSHOT);
    let store = store();
    let membership = store.restore(index, &data).unwrap();
    assert_eq!(membership.members.len(), 1);
    assert_eq!(store.snapshot().index(), 40);
    let ours = store.snapshot().encode(&membership);
    assert_written_again("Snapshot", &data, &ours);
    // The order of the objects is the same too: prost writes the recorded message as we write the store.
    assert!(Snapshot::decode(&data[..]).unwrap().encode_to_vec() == ours);
}

/// Applies a recorded log; configuration changes and empty entries only move the version.
fn apply(store: &Store, log: &str) {
    for entry in recorded_log(log).into_iter().filter(|e| e.normal) {
        store.apply(entry.index, None, &entry.data).unwrap();
    }
}

fn counts(store: &Store) -> String {
    let view = store.view();
    format!(
        "nodes {} services {} tasks {} networks {} clusters {} secrets {} configs {}",
        view.count::<Node>(),
        view.count::<Service>(),
        view.count::<Task>(),
        view.count::<Network>(),
        view.count::<Cluster>(),
        view.count::<Secret>(),
        view.count::<Config>(),
    )
}

#[test]
fn a_log_from_the_first_entry_on_gives_its_cluster() {
    let store = store();
    apply(&store, THREE_MANAGERS);
    let view = store.view();
    // Entry 94 is a change of the group's members.
    assert_eq!(view.version(), 93);
    assert_eq!(
        counts(&store),
        "nodes 3 services 1 tasks 3 networks 4 clusters 1 secrets 0 configs 0"
    );
    assert_eq!(view.find::<Node>(By::Role(NodeRole::Manager)).count(), 3);
    let cluster = view.find_one::<Cluster>(By::Name("default".into())).unwrap();
    assert!(cluster.root_ca.as_ref().unwrap().join_tokens.is_some());
}

#[test]
fn a_log_after_a_snapshot_gives_its_cluster() {
    let store = store();
    let (index, data) = recorded_snapshot(SNAPSHOT);
    store.restore(index, &data).unwrap();
    assert_eq!(
        counts(&store),
        "nodes 1 services 4 tasks 7 networks 5 clusters 1 secrets 1 configs 1"
    );
    let (before, mut watcher) = store.watch(Selector::all());
    apply(&store, ONE_MANAGER);
    assert_eq!(
        counts(&store),
        "nodes 1 services 3 tasks 10 networks 5 clusters 1 secrets 1 configs 1"
    );

    let view = store.view();
    // The last change of the service was a rollback, to the spec it has now and from the one that is its previous.
    let web = view.find_one::<Service>(By::Name("WEB".into())).unwrap();
    let id: ServiceId = web.id.parse().unwrap();
    let secret = view.find_one::<Secret>(By::Name("pw".into())).unwrap();
    let users = By::ReferencedSecret(secret.id.parse().unwrap());
    assert!(view.find::<Service>(users).eq([web]));
    let running = view
        .find::<Task>(By::Service(id))
        .filter(|t| t.desired_state == TaskState::Running as i32)
        .count();
    let Some(Mode::Replicated(mode)) = &web.spec.as_ref().unwrap().mode else { panic!() };
    assert_eq!(mode.replicas, running as u64);

    // What was watched leads from the one to the other.
    let mut tasks = before.count::<Task>();
    while let Some(commit) = watcher.try_next().unwrap() {
        for event in commit.events.iter().filter(|e| e.kind() == Kind::Task) {
            match event.action() {
                Action::Create => tasks += 1,
                Action::Update => {}
                Action::Remove => tasks -= 1,
            }
        }
    }
    assert_eq!(tasks, view.count::<Task>());
}

#[test]
fn a_snapshot_of_an_applied_log_gives_the_same_store() {
    let ours = store();
    apply(&ours, THREE_MANAGERS);
    let data = ours.snapshot().encode(&ClusterSnapshot::default());
    let other = store();
    other.restore(93, &data).unwrap();
    assert_eq!(counts(&other), counts(&ours));
    assert!(other.snapshot().encode(&ClusterSnapshot::default()) == data);
}
