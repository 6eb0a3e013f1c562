//! Which tasks are rejected, as a table over a store, and the running enforcer.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use rand::{SeedableRng, rngs::StdRng};
use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{
        Annotations, DiscreteGenericResource, GenericResource, Meta, NamedGenericResource,
        NodeDescription, NodeSpec, NodeStatus, Placement, ResourceRequirements, Resources, Service,
        ServiceSpec, TaskSpec, generic_resource::Resource,
    },
};
use skep_store::solo::lead_alone;
use tokio::time::timeout;

use super::*;

const NODE: &str = "n1";

fn node(zone: &str, resources: Option<Resources>) -> Node {
    let labels = [("zone".to_owned(), zone.to_owned())].into();
    Node {
        id: NODE.into(),
        spec: Some(NodeSpec {
            annotations: Some(Annotations { labels, ..Default::default() }),
            ..Default::default()
        }),
        status: Some(NodeStatus { state: 2, ..Default::default() }),
        description: Some(NodeDescription { resources, ..Default::default() }),
        ..Default::default()
    }
}

fn has(nano_cpus: i64, memory_bytes: i64, generic: Vec<GenericResource>) -> Option<Resources> {
    Some(Resources { nano_cpus, memory_bytes, generic })
}

fn in_zone(zone: &str) -> TaskSpec {
    let constraints = vec![format!("node.labels.zone=={zone}")];
    TaskSpec {
        placement: Some(Placement { constraints, ..Default::default() }),
        ..Default::default()
    }
}

fn reserving(nano_cpus: i64, memory_bytes: i64) -> TaskSpec {
    let reservations = has(nano_cpus, memory_bytes, Vec::new());
    TaskSpec {
        resources: Some(ResourceRequirements { reservations, ..Default::default() }),
        ..Default::default()
    }
}

/// A running task, made at this second.
fn task(id: &str, second: i64, spec: TaskSpec) -> Task {
    Task {
        id: id.into(),
        node_id: NODE.into(),
        meta: Some(Meta {
            created_at: Some(Timestamp { seconds: second, nanos: 0 }),
            ..Default::default()
        }),
        spec: Some(spec.into()),
        status: Some(TaskStatus { state: TaskState::Running.into(), ..Default::default() }),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    }
}

fn holding(mut task: Task, generic: GenericResource) -> Task {
    task.assigned_generic_resources.push(generic);
    task
}

fn in_state(mut task: Task, state: TaskState, desired: TaskState) -> Task {
    task.status = Some(TaskStatus { state: state.into(), ..Default::default() });
    task.desired_state = desired.into();
    task
}

fn gpu(value: &str) -> GenericResource {
    let named = NamedGenericResource { kind: "gpu".into(), value: value.into() };
    GenericResource { resource: Some(Resource::NamedResourceSpec(named)) }
}

fn ssd(value: i64) -> GenericResource {
    let discrete = DiscreteGenericResource { kind: "ssd".into(), value };
    GenericResource { resource: Some(Resource::DiscreteResourceSpec(discrete)) }
}

fn store() -> Store {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000);
    Store::new(Arc::new(move || now), StdRng::seed_from_u64(1))
}

#[tokio::test]
async fn what_the_node_no_longer_is_or_has_is_rejected() {
    use TaskState::{Assigned, Complete, Pending, Running, Shutdown};
    let drained = {
        let mut node = node("b", None);
        node.spec.as_mut().unwrap().availability = 2;
        node
    };
    let of_service = |mut task: Task| {
        task.service_id = "web".into();
        task
    };
    for (what, node, tasks, rejected) in [
        ("a label that holds", node("a", None), vec![task("t1", 1, in_zone("a"))], &[][..]),
        ("a label that is gone", node("b", None), vec![task("t1", 1, in_zone("a"))], &["t1"]),
        ("a drained node is left alone", drained, vec![task("t1", 1, in_zone("a"))], &[]),
        (
            "only tasks that are to run, and have not ended",
            node("b", None),
            vec![
                in_state(task("t1", 1, in_zone("a")), Running, Shutdown),
                in_state(task("t2", 1, in_zone("a")), Complete, Running),
                in_state(task("t3", 1, in_zone("a")), Assigned, Running),
                in_state(task("t4", 1, in_zone("a")), Pending, Complete),
            ],
            &["t3", "t4"],
        ),
        // The service, which the store of this test holds, asks for zone b now.
        (
            "the service's own constraints count, not those of the task's spec",
            node("b", None),
            vec![of_service(task("t1", 1, in_zone("a")))],
            &[],
        ),
        (
            "those that were there first stay",
            node("a", has(4, 100, Vec::new())),
            vec![
                task("t1", 3, reserving(2, 0)),
                task("t2", 1, reserving(2, 0)),
                task("t3", 2, reserving(2, 0)),
                task("t4", 4, reserving(0, 100)),
                task("t5", 5, reserving(0, 1)),
            ],
            &["t1", "t5"],
        ),
        (
            "what is misplaced holds nothing",
            node("b", has(2, 0, Vec::new())),
            vec![
                task("t1", 1, TaskSpec { placement: in_zone("a").placement, ..reserving(2, 0) }),
                task("t2", 2, reserving(2, 0)),
            ],
            &["t1"],
        ),
        (
            "a task that waits for its node holds nothing",
            node("a", has(2, 0, Vec::new())),
            vec![
                in_state(task("t1", 1, reserving(2, 0)), Pending, Running),
                task("t2", 2, reserving(2, 0)),
            ],
            &[],
        ),
        (
            "a node that reports nothing is not held to it",
            node("a", None),
            vec![task("t1", 1, reserving(2, 2))],
            &[],
        ),
        (
            "generic resources that are gone",
            node("a", has(0, 0, vec![gpu("x"), ssd(3)])),
            vec![
                holding(task("t1", 1, reserving(0, 0)), gpu("x")),
                holding(task("t2", 2, reserving(0, 0)), gpu("y")),
                holding(task("t3", 3, reserving(0, 0)), ssd(2)),
                holding(task("t4", 4, reserving(0, 0)), ssd(2)),
                holding(task("t5", 5, reserving(0, 0)), ssd(1)),
            ],
            &["t2", "t4"],
        ),
    ] {
        let store = store();
        let _solo = lead_alone(&store);
        let spec = ServiceSpec { task: Some(in_zone("b").into()), ..Default::default() };
        let web = Service { id: "web".into(), spec: Some(spec), ..Default::default() };
        store.update(|tx| tx.create(web)).await.unwrap();
        store.update(|tx| tx.create(node)).await.unwrap();
        for result in store.batch(tasks, |tx, task| tx.create(task)).await {
            result.unwrap();
        }
        let view = store.view();
        let node = view.get_text::<Node>(NODE).unwrap();
        let mut found: Vec<String> =
            rules::misplaced(&view, node).iter().map(ToString::to_string).collect();
        found.sort();
        assert_eq!(found, rejected, "{what}");
    }
}

#[tokio::test]
async fn tasks_are_rejected_when_their_node_changes() {
    let store = store();
    let _solo = lead_alone(&store);
    store.update(|tx| tx.create(node("a", None))).await.unwrap();
    store.update(|tx| tx.create(task("t1", 1, in_zone("a")))).await.unwrap();
    let enforcer = tokio::spawn(run(store.clone()));
    let (_, mut watcher) = store.watch(Selector::kinds(&[Kind::Task]));
    // What no rule reads changes nothing; what a constraint reads does.
    let id: NodeId = NODE.parse().unwrap();
    store.update(|tx| tx.modify::<Node>(&id, |node| node.certificate = None)).await.unwrap();
    store.update(|tx| tx.modify::<Node>(&id, |own| own.spec = node("b", None).spec)).await.unwrap();
    let commit = timeout(Duration::from_secs(20), watcher.next()).await.unwrap().unwrap();
    let Event::Task(change) = &commit.events[0] else { panic!("a task changed") };
    let status = change.new.as_ref().unwrap().status.as_ref().unwrap();
    assert_eq!(status.state(), TaskState::Rejected);
    assert_eq!(status.message, "task rejected by constraint enforcer");
    assert_eq!(status.err, "assigned node no longer meets constraints");
    enforcer.abort();
}

#[test]
fn only_what_a_rule_reads_makes_a_node_worth_a_look() {
    let plain = node("a", None);
    let beat = Node {
        status: Some(NodeStatus { state: 1, message: "x".into(), ..Default::default() }),
        ..plain.clone()
    };
    assert!(!rules::reads_differently(&plain, &beat));
    let moved = Node {
        status: Some(NodeStatus { addr: "10.0.0.9".into(), ..Default::default() }),
        ..plain.clone()
    };
    assert!(rules::reads_differently(&plain, &moved));
    assert!(rules::reads_differently(&plain, &node("b", None)));
    assert!(rules::reads_differently(&plain, &node("a", has(1, 1, Vec::new()))));
    assert!(rules::reads_differently(&plain, &Node { role: 1, ..plain.clone() }));
}
