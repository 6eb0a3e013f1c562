//! Tasks that wait: what wakes them, what they are told, and what they do not cost.

use super::*;
use crate::scheduler::place::TEXT_INTERVAL;

const FULL: &str = "no suitable node (insufficient resources on 1 node)";

fn whole(name: &str) -> Task {
    reserving(task(name), 4 * CPU, 0, Vec::new())
}

#[test]
fn a_node_that_comes_or_changes_wakes_what_it_helps() {
    let zone =
        |name: &str, zone: &str| constrained(task(name), &[&format!("node.labels.zone=={zone}")]);
    let mut cluster = Cluster::of([node("n1")]);
    cluster.put(zone("web.1", "a"));
    cluster.put(zone("db.1", "b"));
    let waits = "no suitable node (scheduling constraints not satisfied on 1 node)";
    assert_eq!(cluster.lines(), [format!("db.1 waits: {waits}"), format!("web.1 waits: {waits}")]);
    cluster.put_node(labelled("n2", &[("zone", "a")]));
    assert_eq!(cluster.lines(), ["web.1 -> n2"]);
    cluster.put_node(labelled("n1", &[("zone", "b")]));
    assert_eq!(cluster.lines(), ["db.1 -> n1"]);
}

#[test]
fn a_text_is_told_once_and_a_new_one_not_too_often() {
    let mut cluster = Cluster::of([drained(node("n1"))]);
    cluster.put(task("web.1"));
    assert_eq!(
        cluster.lines(),
        ["web.1 waits: no suitable node (1 node not available for new tasks)"]
    );
    cluster.put_node(drained(node("n1")));
    assert_eq!(cluster.lines(), [""; 0]);
    // A task that comes later is told at once, the old ones when the text has stood for a while.
    cluster.put_node(drained(node("n2")));
    cluster.put(task("web.2"));
    assert_eq!(
        cluster.lines(),
        ["web.2 waits: no suitable node (1 node not available for new tasks)"]
    );
    assert!(cluster.state.texts_due());
    cluster.pass(TEXT_INTERVAL);
    let text = "no suitable node (2 nodes not available for new tasks)";
    assert_eq!(cluster.lines(), [format!("web.1 waits: {text}"), format!("web.2 waits: {text}")]);
    assert!(!cluster.state.texts_due());
    cluster.put_node(node("n2"));
    assert_eq!(cluster.lines(), ["web.1 -> n2", "web.2 -> n2"]);
}

#[test]
fn only_as_many_as_were_helped_move_and_the_rest_is_not_told_again() {
    let mut cluster = Cluster::of([node("n1")]);
    (1..=4).for_each(|slot| cluster.put(whole(&format!("web.{slot}"))));
    let told = |name: &str| format!("{name} waits: {FULL}");
    assert_eq!(cluster.lines(), ["web.1 -> n1", &told("web.2"), &told("web.3"), &told("web.4")]);
    cluster.put(on(whole("web.1"), "n1", TaskState::Complete));
    assert_eq!(cluster.lines(), ["web.2 -> n1"]);
}

#[test]
fn a_node_that_goes_takes_its_tasks_along() {
    let mut cluster = Cluster::of([node("n1")]);
    cluster.put(whole("web.1"));
    cluster.put(whole("web.2"));
    assert_eq!(cluster.lines(), ["web.1 -> n1", &format!("web.2 waits: {FULL}")]);
    cluster.state.remove_node("n1".parse().unwrap());
    cluster.pass(TEXT_INTERVAL);
    assert_eq!(cluster.lines(), ["web.2 waits: no suitable node"]);
    cluster.put_node(node("n2"));
    assert_eq!(cluster.lines(), ["web.2 -> n2"]);
}

#[test]
fn a_task_that_is_not_wanted_any_more_stops_where_it_waits() {
    let mut cluster = Cluster::of([drained(node("n1"))]);
    (1..=3).for_each(|slot| cluster.put(task(&format!("web.{slot}"))));
    assert_eq!(cluster.lines().len(), 3);
    cluster.put(wanted(task("web.1"), TaskState::Shutdown));
    // One that is to be removed is deleted by others, who want it as it is.
    cluster.put(wanted(task("web.2"), TaskState::Remove));
    assert_eq!(cluster.lines(), ["web.1 stops"]);
    cluster.put_node(node("n1"));
    assert_eq!(cluster.lines(), ["web.3 -> n1"]);
}

#[test]
fn tasks_that_are_not_ready_or_over_are_passed_over() {
    let mut cluster = Cluster::of([node("n1")]);
    let new = TaskStatus { state: TaskState::New.into(), ..Default::default() };
    cluster.put(Task { status: Some(new), ..task("web.1") });
    cluster.put(on(task("web.2"), "", TaskState::Failed));
    assert_eq!(cluster.lines(), [""; 0]);
    cluster.put(wanted(task("web.1"), TaskState::Ready));
    cluster.put(wanted(task("job.1"), TaskState::Complete));
    assert_eq!(cluster.lines(), ["web.1 -> n1", "job.1 -> n1"]);
}

#[test]
fn a_preassigned_task_waits_for_its_own_node_only() {
    let own = |name: &str, node: &str| Task { node_id: node.into(), slot: 0, ..whole(name) };
    let mut cluster = Cluster::of([node("n1"), node("n2")]);
    cluster.put(on(task("idle.1"), "n1", TaskState::Running));
    cluster.put(on(whole("busy.2"), "n1", TaskState::Running));
    cluster.put(own("all.1", "n1"));
    cluster.put(own("all.2", "n2"));
    cluster.put(own("all.3", "gone"));
    assert_eq!(cluster.lines(), ["all.1 waits: insufficient resources on 1 node", "all.2 -> n2"]);
    assert_eq!(cluster.lines(), [""; 0]);
    cluster.put_node(drained(node("n1")));
    assert_eq!(cluster.lines(), ["all.1 waits: 1 node not available for new tasks"]);
    cluster.put_node(node("n1"));
    assert_eq!(cluster.lines(), ["all.1 waits: insufficient resources on 1 node"]);
    cluster.put(on(whole("busy.2"), "n1", TaskState::Complete));
    assert_eq!(cluster.lines(), ["all.1 -> n1"]);
}

#[test]
fn what_was_decided_in_vain_is_taken_back() {
    let mut cluster = Cluster::of([node("n1")]);
    cluster.put(whole("web.1"));
    assert_eq!(cluster.lines(), ["web.1 -> n1"]);
    // An older commit that still shows it waiting does not make it wait again.
    cluster.put(whole("web.1"));
    assert_eq!(cluster.lines(), [""; 0]);
    cluster.state.take_back("web.1".parse().unwrap());
    cluster.put(whole("web.2"));
    assert_eq!(cluster.lines(), ["web.2 -> n1"]);
}

#[test]
fn a_large_service_does_not_keep_a_small_one_waiting() {
    let mut cluster = Cluster::of([node("n1")]);
    replicas("large", 5_000, |task| task).into_iter().for_each(|task| cluster.put(task));
    cluster.put(task("small.1"));
    let decisions = cluster.state.decide(cluster.now, 2_000);
    assert_eq!(decisions.len(), 2_000);
    assert!(decisions.iter().any(|decision| line(decision).starts_with("small.1 ")));
}

#[test]
fn what_stands_alone_is_placed_alone() {
    let mut lone = task("x.1");
    lone.service_id = String::new();
    lone.spec_version = None;
    let mut cluster = Cluster::of([node("n1"), node("n2")]);
    cluster.put(Task { id: "a".into(), ..lone.clone() });
    cluster.put(Task { id: "b".into(), ..lone });
    assert_eq!(cluster.lines(), ["a -> n1", "b -> n2"]);
}
