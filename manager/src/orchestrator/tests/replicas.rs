//! Numbers of replicas, and which slots they are in.

use skep_proto::swarmkit::{
    TaskState, node_spec::Availability, node_status::State, service_spec::Mode,
};

use super::world::{World, replicated, seconds};

fn set_replicas(n: u64) -> impl FnOnce(&mut skep_proto::swarmkit::ServiceSpec) {
    move |spec| {
        if let Some(Mode::Replicated(mode)) = &mut spec.mode {
            mode.replicas = n;
        }
    }
}

#[tokio::test]
async fn a_service_gets_its_replicas_in_the_lowest_slots() {
    let mut world = World::of(2).await;
    let web = world.add_service("web", replicated(3)).await;
    world.settle().await;
    assert_eq!(world.slots(web), "1 2 3");
    let task = &world.tasks(web)[0];
    assert_eq!(task.desired_state(), TaskState::Running);
    assert_eq!(task.service_annotations.as_ref().unwrap().name, "web");
}

#[tokio::test]
async fn growing_fills_and_shrinking_takes_from_the_fullest_node() {
    let mut world = World::of(1).await;
    let web = world.add_service("web", replicated(4)).await;
    world.settle().await;
    // All four are on n1; the fifth and sixth go to n2.
    world.add_node("n2").await;
    world.update(web, set_replicas(6)).await;
    world.settle().await;
    assert_eq!(world.nodes(web), "n1 n1 n1 n1 n2 n2");
    world.update(web, set_replicas(4)).await;
    world.settle().await;
    assert_eq!(world.slots(web), "1 2 5 6");
    assert_eq!(world.nodes(web), "n1 n1 n2 n2");
    world.update(web, set_replicas(5)).await;
    world.settle().await;
    assert_eq!(world.slots(web), "1 2 3 5 6");
    assert_eq!(world.tasks(web).len(), 5, "what was given up is deleted");
}

#[tokio::test]
async fn to_zero_and_back() {
    let mut world = World::of(2).await;
    let web = world.add_service("web", replicated(5)).await;
    world.settle().await;
    world.update(web, set_replicas(0)).await;
    world.settle().await;
    assert_eq!(world.tasks(web).len(), 0);
    world.update(web, set_replicas(2)).await;
    world.settle().await;
    assert_eq!(world.slots(web), "1 2");
}

#[tokio::test]
async fn replicas_leave_nodes_that_are_drained_or_down_and_only_those() {
    let mut world = World::of(3).await;
    let web = world.add_service("web", replicated(6)).await;
    world.settle().await;
    assert_eq!(world.nodes(web), "n1 n1 n2 n2 n3 n3");
    world.set_availability("n1", Availability::Drain).await;
    world.settle().await;
    assert_eq!(world.running(web).len(), 6, "a drained node's tasks are replaced without delay");
    assert!(!world.nodes(web).contains("n1"));
    // Unheard of, but not given up.
    world.set_state("n2", State::Disconnected).await;
    world.set_state("n2", State::Unknown).await;
    world.settle().await;
    assert!(world.nodes(web).contains("n2"));
    world.set_state("n2", State::Down).await;
    world.pass(seconds(6)).await;
    assert_eq!(world.nodes(web), "n3 n3 n3 n3 n3 n3");
    assert_eq!(world.slots(web), "1 2 3 4 5 6");
}

#[tokio::test]
async fn a_removed_nodes_replicas_come_back_elsewhere() {
    let mut world = World::of(2).await;
    let web = world.add_service("web", replicated(4)).await;
    world.settle().await;
    world.remove_node("n1").await;
    world.pass(seconds(6)).await;
    assert_eq!(world.nodes(web), "n2 n2 n2 n2");
    assert_eq!(world.slots(web), "1 2 3 4");
}

#[tokio::test]
async fn a_change_in_the_middle_of_a_large_scale_out_is_followed() {
    let mut world = World::of(2).await;
    let web = world.add_service("web", replicated(5_000)).await;
    let small = world.add_service("small", replicated(3)).await;
    world.turn().await;
    // The large one keeps nobody waiting.
    assert_eq!(world.tasks(small).len(), 3);
    assert!(world.tasks(web).len() < 5_000);
    world.update(web, set_replicas(10)).await;
    world.settle().await;
    assert_eq!((world.running(web).len(), world.tasks(web).len()), (10, 10));
}
