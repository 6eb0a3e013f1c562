//! Where tasks go when several nodes would take them.

use super::*;
use crate::scheduler::failures::FAILURE_SPAN;

fn zones(sizes: &[(&str, usize)]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (zone, size) in sizes {
        for number in 1..=*size {
            let id = format!("{}{number}", if zone.is_empty() { "none" } else { zone });
            let labels = [("zone", *zone)];
            nodes.push(labelled(&id, if zone.is_empty() { &[] } else { &labels }));
        }
    }
    nodes
}

#[test]
fn tasks_of_a_service_are_even() {
    let mut cluster = Cluster::of(["n1", "n2", "n3"].map(node));
    let plain = |task| task;
    assert_eq!(
        cluster.spread(replicas("web", 7, plain)),
        counts(&[("n1", 3), ("n2", 2), ("n3", 2)])
    );
    // Of nodes with as many tasks of the service, the one with the fewest tasks at all is taken.
    assert_eq!(cluster.spread(replicas("db", 2, plain)), counts(&[("n2", 1), ("n3", 1)]));
    // Tasks of the service count more than tasks at all.
    let more = [task("db.3"), task("db.4")];
    assert_eq!(cluster.spread(more), counts(&[("n1", 1), ("n2", 1)]));
}

#[test]
fn tasks_that_are_to_stop_do_not_count() {
    let mut cluster = Cluster::of(["n1", "n2"].map(node));
    for slot in 1..=3 {
        let task = on(task(&format!("web.{slot}")), "n1", TaskState::Running);
        cluster.put(wanted(task, TaskState::Shutdown));
    }
    cluster.put(on(task("web.4"), "n2", TaskState::Running));
    cluster.put(task("web.5"));
    assert_eq!(cluster.lines(), ["web.5 -> n1"]);
}

#[test]
fn preferences_even_out_the_values_of_a_label() {
    let by_zone = |task| spread_over(task, &["node.labels.zone"]);
    for (what, sizes, tasks, expected) in [
        (
            "zones of different sizes get as much",
            &[("a", 1), ("b", 3)][..],
            6,
            &[("a1", 3), ("b1", 1), ("b2", 1), ("b3", 1)][..],
        ),
        (
            "nodes without the label are a zone of their own",
            &[("a", 1), ("b", 1), ("", 2)],
            6,
            &[("a1", 2), ("b1", 2), ("none1", 1), ("none2", 1)],
        ),
    ] {
        let mut cluster = Cluster::of(zones(sizes));
        assert_eq!(cluster.spread(replicas("web", tasks, by_zone)), counts(expected), "{what}");
    }
}

#[test]
fn what_runs_already_counts_for_its_branch() {
    let by_zone = |task| spread_over(task, &["node.labels.zone"]);
    let mut cluster = Cluster::of(zones(&[("a", 2), ("b", 1)]));
    // One of them on a node that takes no tasks now.
    cluster.put_node(drained(labelled("a2", &[("zone", "a")])));
    for (slot, node) in [(7, "a1"), (8, "a2"), (9, "a2")] {
        cluster.put(on(by_zone(task(&format!("web.{slot}"))), node, TaskState::Running));
    }
    assert_eq!(cluster.spread(replicas("web", 3, by_zone)), counts(&[("b1", 3)]));
}

#[test]
fn a_full_branch_leaves_its_share_to_the_others() {
    let big = |task| spread_over(reserving(task, 2 * CPU, 0, Vec::new()), &["node.labels.zone"]);
    let mut cluster = Cluster::of(zones(&[("a", 1), ("b", 3)]));
    assert_eq!(
        cluster.spread(replicas("web", 7, big)),
        counts(&[("a1", 2), ("b1", 2), ("b2", 2), ("b3", 1)])
    );
}

#[test]
fn preferences_nest() {
    let spec = |task| spread_over(task, &["node.labels.zone", "engine.labels.rack"]);
    let racked = |id: &str, zone: &str, rack: &str| {
        let mut node = labelled(id, &[("zone", zone)]);
        let engine = node.description.as_mut().unwrap().engine.as_mut().unwrap();
        engine.labels.insert("rack".into(), rack.into());
        node
    };
    let mut cluster = Cluster::of([
        racked("n1", "a", "1"),
        racked("n2", "a", "1"),
        racked("n3", "a", "2"),
        racked("n4", "b", "1"),
    ]);
    assert_eq!(
        cluster.spread(replicas("web", 8, spec)),
        counts(&[("n1", 1), ("n2", 1), ("n3", 2), ("n4", 4)])
    );
}

#[test]
fn what_is_no_label_is_no_preference() {
    let spec = |task| spread_over(task, &["node.hostname", "nonsense", "node.labels."]);
    let mut cluster = Cluster::of(["n1", "n2"].map(node));
    assert_eq!(cluster.spread(replicas("web", 4, spec)), counts(&[("n1", 2), ("n2", 2)]));
}

#[test]
fn one_of_each_of_many_services_does_not_pile_up() {
    let mut cluster = Cluster::of(zones(&[("a", 2), ("b", 2)]));
    let tasks = (0..8).map(|i| spread_over(task(&format!("s{i}.1")), &["node.labels.zone"]));
    assert_eq!(cluster.spread(tasks), counts(&[("a1", 2), ("a2", 2), ("b1", 2), ("b2", 2)]));
}

#[test]
fn a_node_on_which_a_service_keeps_failing_comes_last_for_a_while() {
    let mut cluster = Cluster::of(["n1", "n2"].map(node));
    let fail = |cluster: &mut Cluster, name: &str| {
        cluster.put(on(task(name), "n1", TaskState::Running));
        cluster.put(on(task(name), "n1", TaskState::Failed));
    };
    let busy = replicas("other", 3, |task| on(task, "n2", TaskState::Running));
    busy.into_iter().for_each(|task| cluster.put(task));
    (1..=4).for_each(|slot| fail(&mut cluster, &format!("web.{slot}")));
    cluster.put(task("web.11"));
    assert_eq!(cluster.lines(), ["web.11 -> n1"], "four failures are forgiven");
    cluster.put(on(task("web.11"), "n1", TaskState::Rejected));
    cluster.put(task("web.12"));
    assert_eq!(cluster.lines(), ["web.12 -> n2"], "the fifth is not");
    cluster.put(task("db.1"));
    assert_eq!(cluster.lines(), ["db.1 -> n1"], "another service has nothing to do with it");
    cluster.pass(FAILURE_SPAN);
    cluster.put(task("web.13"));
    assert_eq!(cluster.lines(), ["web.13 -> n1"], "forgotten");
}
