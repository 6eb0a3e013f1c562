//! Services with a task on every node.

use skep_proto::swarmkit::{
    GlobalService, NodeSpec, Placement, RestartPolicy, ServiceSpec, TaskState,
    node_spec::Availability, node_status::State, restart_policy::RestartCondition,
    service_spec::Mode,
};

use super::world::{Image, World, seconds, set_image, with_mode};

fn global() -> ServiceSpec {
    with_mode(Mode::Global(GlobalService {}))
}

fn constrained(constraint: &str) -> ServiceSpec {
    let mut spec = global();
    let constraints = vec![constraint.to_owned()];
    spec.task.as_mut().unwrap().placement = Some(Placement { constraints, ..Default::default() });
    spec
}

fn set_label(spec: &mut NodeSpec, value: &str) {
    spec.annotations.get_or_insert_default().labels.insert("zone".into(), value.into());
}

#[tokio::test]
async fn every_node_has_one_task_also_one_that_joins_later() {
    let mut world = World::of(3).await;
    let agent = world.add_service("agent", global()).await;
    world.settle().await;
    assert_eq!(world.nodes(agent), "n1 n2 n3");
    world.add_node("n4").await;
    world.settle().await;
    assert_eq!(world.nodes(agent), "n1 n2 n3 n4");
    assert!(world.tasks(agent).iter().all(|task| task.slot == 0));
}

#[tokio::test]
async fn a_node_that_goes_loses_its_task_and_gets_it_back() {
    // (what happens, whether the task stops, what happens then)
    for (state, availability, stays) in [
        (State::Down, Availability::Active, false),
        (State::Ready, Availability::Drain, false),
        (State::Ready, Availability::Pause, true),
        (State::Disconnected, Availability::Active, true),
        (State::Unknown, Availability::Active, true),
    ] {
        let mut world = World::of(2).await;
        let agent = world.add_service("agent", global()).await;
        world.settle().await;
        let before = world.wanted(agent)[0].id.clone();
        world.set_state("n1", state).await;
        world.set_availability("n1", availability).await;
        world.settle().await;
        assert_eq!(world.wanted(agent).iter().any(|t| t.node_id == "n1"), stays, "{state:?}");
        world.set_state("n1", State::Ready).await;
        world.set_availability("n1", Availability::Active).await;
        world.settle().await;
        assert_eq!(world.nodes(agent), "n1 n2", "{state:?} {availability:?}");
        assert_eq!(world.wanted(agent)[0].id == before, stays, "{state:?} {availability:?}");
    }
}

#[tokio::test]
async fn constraints_are_followed_as_labels_change() {
    let mut world = World::of(2).await;
    let agent = world.add_service("agent", constrained("node.labels.zone == a")).await;
    world.settle().await;
    assert_eq!(world.nodes(agent), "");
    world.change_node("n2", |node| set_label(node.spec.as_mut().unwrap(), "a")).await;
    world.settle().await;
    assert_eq!(world.nodes(agent), "n2");
    world.change_node("n2", |node| set_label(node.spec.as_mut().unwrap(), "b")).await;
    world.settle().await;
    assert_eq!(world.nodes(agent), "");
}

#[tokio::test]
async fn a_paused_node_gets_no_task_and_a_failed_one_there_is_not_replaced() {
    let mut world = World::of(2).await;
    world.set_availability("n2", Availability::Pause).await;
    let agent = world.add_service("agent", global()).await;
    world.settle().await;
    assert_eq!(world.nodes(agent), "n1");
    world.set_availability("n1", Availability::Pause).await;
    let task = world.running(agent)[0].id.clone();
    world.end(&task, TaskState::Failed).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.nodes(agent), "");
    world.set_availability("n1", Availability::Active).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.nodes(agent), "n1");
}

#[tokio::test]
async fn a_removed_nodes_tasks_are_deleted() {
    let mut world = World::of(2).await;
    let agent = world.add_service("agent", global()).await;
    world.settle().await;
    world.remove_node("n1").await;
    world.settle().await;
    assert_eq!(world.tasks(agent).len(), 1);
    assert_eq!(world.nodes(agent), "n2");
}

/// SwarmKit may look at the wrong service's policy where a node has several global services.
#[tokio::test]
async fn each_service_on_a_node_keeps_to_its_own_restart_policy() {
    let mut world = World::of(2).await;
    let mut once = global();
    let none = RestartPolicy { condition: RestartCondition::None.into(), ..Default::default() };
    once.task.as_mut().unwrap().restart = Some(none);
    let once = world.add_service("a-once", once).await;
    let always = world.add_service("b-always", global()).await;
    world.settle().await;
    for service in [once, always] {
        let task = world.running(service)[0].id.clone();
        world.end(&task, TaskState::Complete).await;
    }
    // A change of the node makes both be looked at.
    world.change_node("n1", |node| set_label(node.spec.as_mut().unwrap(), "a")).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.nodes(once), "n2");
    assert_eq!(world.nodes(always), "n1 n2");
    world.change_leader();
    world.pass(seconds(10)).await;
    assert_eq!(world.nodes(once), "n2");
}

#[tokio::test]
async fn attempts_are_limited_for_each_node() {
    let mut world = World::of(2).await;
    world.images.insert("v1".into(), Image::Ends(seconds(1), TaskState::Failed));
    let mut spec = global();
    spec.task.as_mut().unwrap().restart = Some(RestartPolicy {
        condition: RestartCondition::Any.into(),
        max_attempts: 2,
        ..Default::default()
    });
    let agent = world.add_service("agent", spec).await;
    world.pass(seconds(100)).await;
    assert_eq!(world.tasks(agent).len(), 2 * 3);
    assert!(world.wanted(agent).is_empty());
}

#[tokio::test]
async fn an_update_goes_from_node_to_node_and_waits_for_no_paused_one() {
    let mut world = World::of(3).await;
    let agent = world.add_service("agent", global()).await;
    world.settle().await;
    world.set_availability("n2", Availability::Pause).await;
    world.reset_watchdog();
    world.update(agent, |spec| set_image(spec, "v2")).await;
    world.pass(seconds(60)).await;
    assert!(world.watchdog().fewest_running(agent) >= 2, "one at a time");
    assert_eq!(world.update_message(agent), "update completed");
    assert_eq!(world.running_images(agent), "v1 v2");
    world.set_availability("n2", Availability::Active).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.running_images(agent), "v2");
    assert_eq!(world.nodes(agent), "n1 n2 n3");
}
