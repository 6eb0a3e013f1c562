//! What is set aside on a node, and given back.

use skep_proto::swarmkit::{DiscreteGenericResource, NamedGenericResource, generic_resource};

use super::*;

pub(in crate::scheduler) fn counted(kind: &str, value: i64) -> GenericResource {
    let discrete = DiscreteGenericResource { kind: kind.into(), value };
    GenericResource { resource: Some(generic_resource::Resource::DiscreteResourceSpec(discrete)) }
}

fn named(kind: &str, value: &str) -> GenericResource {
    let named = NamedGenericResource { kind: kind.into(), value: value.into() };
    GenericResource { resource: Some(generic_resource::Resource::NamedResourceSpec(named)) }
}

fn with_generic(id: &str, generic: Vec<GenericResource>) -> Node {
    described(id, |description| description.resources.as_mut().unwrap().generic = generic)
}

#[test]
fn tasks_fill_a_node_and_free_it_again() {
    let half = |name: &str| reserving(task(name), 2 * CPU, GIB, Vec::new());
    let mut cluster = Cluster::of([node("n1")]);
    for slot in 1..=4 {
        cluster.put(half(&format!("web.{slot}")));
    }
    let waits = "no suitable node (insufficient resources on 1 node)";
    assert_eq!(
        cluster.lines(),
        [
            "web.1 -> n1",
            "web.2 -> n1",
            &format!("web.3 waits: {waits}"),
            &format!("web.4 waits: {waits}")
        ]
    );
    // A task that is to stop holds what it has until it has stopped.
    cluster.put(wanted(on(half("web.1"), "n1", TaskState::Running), TaskState::Shutdown));
    assert_eq!(cluster.lines(), [""; 0]);
    cluster.put(wanted(on(half("web.1"), "n1", TaskState::Shutdown), TaskState::Shutdown));
    assert_eq!(cluster.lines(), ["web.3 -> n1"]);
    // A node that reports more takes more.
    cluster.put_node(described("n1", |description| {
        description.resources.as_mut().unwrap().nano_cpus = 6 * CPU;
    }));
    assert_eq!(cluster.lines(), ["web.4 -> n1"]);
}

#[test]
fn a_node_that_shrinks_under_its_tasks_takes_no_more() {
    let mut cluster = Cluster::of([node("n1")]);
    cluster.put(on(reserving(task("old.1"), 3 * CPU, 0, Vec::new()), "n1", TaskState::Running));
    cluster.put_node(described("n1", |description| {
        description.resources.as_mut().unwrap().nano_cpus = 2 * CPU;
    }));
    cluster.put(reserving(task("web.1"), 1, 0, Vec::new()));
    // What asks for no CPU does not mind.
    cluster.put(reserving(task("db.1"), 0, GIB, Vec::new()));
    assert_eq!(
        cluster.lines(),
        ["db.1 -> n1", "web.1 waits: no suitable node (insufficient resources on 1 node)"]
    );
}

#[test]
fn generic_resources_are_claimed_by_number_and_by_name() {
    let asks = |name: &str, generic| reserving(task(name), 0, 0, generic);
    let node = || {
        let gpus = ["b", "a", "c"].map(|gpu| named("gpu", gpu));
        with_generic("n1", gpus.into_iter().chain([counted("ssd", 3)]).collect())
    };
    let mut cluster = Cluster::of([node()]);
    cluster.put(asks("a.1", vec![counted("gpu", 2), counted("ssd", 2)]));
    cluster.put(asks("b.1", vec![counted("gpu", 2)]));
    cluster.put(asks("c.1", vec![counted("fpga", 1)]));
    assert_eq!(
        cluster.lines(),
        [
            "a.1 -> n1 with gpu=a gpu=b ssd:2",
            "b.1 waits: no suitable node (insufficient resources on 1 node)",
            "c.1 waits: no suitable node (insufficient resources on 1 node)",
        ]
    );
    // A commit that carries the decision takes nothing twice.
    let mut written =
        on(asks("a.1", vec![counted("gpu", 2), counted("ssd", 2)]), "n1", TaskState::Assigned);
    written.assigned_generic_resources =
        vec![named("gpu", "a"), named("gpu", "b"), counted("ssd", 2)];
    cluster.put(written.clone());
    cluster.put(asks("d.1", vec![counted("gpu", 1), counted("ssd", 1)]));
    assert_eq!(cluster.lines(), ["d.1 -> n1 with gpu=c ssd:1"]);
    cluster.put(on(written, "n1", TaskState::Failed));
    assert_eq!(cluster.lines(), ["b.1 -> n1 with gpu=a gpu=b"]);
}

#[test]
fn what_tasks_hold_is_taken_over_from_the_store() {
    let mut running =
        on(reserving(task("a.1"), 0, 0, vec![counted("gpu", 1)]), "n1", TaskState::Running);
    running.assigned_generic_resources = vec![named("gpu", "a")];
    let mut cluster = Cluster::of([with_generic("n1", vec![named("gpu", "a"), named("gpu", "b")])]);
    cluster.put(running);
    cluster.put(reserving(task("b.1"), 0, 0, vec![counted("gpu", 1)]));
    assert_eq!(cluster.lines(), ["b.1 -> n1 with gpu=b"]);
}
