//! Services that go, and tasks that nobody needs any more.

use skep_proto::swarmkit::{Task, TaskState};

use super::world::{World, replicated, seconds};
use crate::orchestrator::task::{Place, new_task};

#[tokio::test]
async fn a_removed_services_tasks_are_stopped_and_deleted() {
    for new_leader in [false, true] {
        let mut world = World::of(2).await;
        let web = world.add_service("web", replicated(5)).await;
        let other = world.add_service("other", replicated(2)).await;
        world.settle().await;
        world.remove_service(web).await;
        if new_leader {
            world.change_leader();
        }
        world.orchestrator().pass().await.unwrap();
        let told: Vec<_> = world.tasks(web).iter().map(|t| t.desired_state()).collect();
        assert_eq!(told, [TaskState::Remove; 5], "workers are told before tasks vanish");
        world.settle().await;
        assert_eq!(world.tasks(web).len(), 0);
        assert_eq!(world.slots(other), "1 2");
    }
}

#[tokio::test]
async fn tasks_that_no_worker_has_go_at_once() {
    let mut world = World::of(0).await;
    let web = world.add_service("web", replicated(5)).await;
    world.settle().await;
    assert_eq!(world.tasks(web).len(), 5);
    world.remove_service(web).await;
    world.settle().await;
    assert_eq!(world.tasks(web).len(), 0);
}

#[tokio::test]
async fn of_each_slot_as_many_tasks_are_kept_as_the_cluster_says() {
    for (limit, kept) in [(5, 5), (2, 2), (0, 1), (-1, 9)] {
        let mut world = World::of(1).await;
        world.history_limit(limit).await;
        let web = world.add_service("web", replicated(1)).await;
        world.settle().await;
        for _ in 0..8 {
            let task = world.running(web)[0].id.clone();
            world.end(&task, TaskState::Failed).await;
            world.pass(seconds(10)).await;
        }
        assert_eq!(world.running(web).len(), 1);
        assert_eq!(world.tasks(web).len(), kept, "limit {limit}");
    }
}

#[tokio::test]
async fn a_lost_attachment_is_deleted_and_others_are_left_alone() {
    let mut world = World::of(1).await;
    let attachment = |id: &str| Task {
        id: id.into(),
        node_id: "n1".into(),
        desired_state: TaskState::Running.into(),
        ..Default::default()
    };
    for id in ["lost", "kept"] {
        world.write(|tx| tx.create(attachment(id)).map(drop)).await;
    }
    world.settle().await;
    world.end("lost", TaskState::Orphaned).await;
    world.settle().await;
    let view = world.store.view();
    assert!(view.get_text::<Task>("lost").is_none());
    assert!(view.get_text::<Task>("kept").is_some());
}

#[tokio::test]
async fn a_new_leader_takes_up_tasks_whose_service_is_gone() {
    let mut world = World::of(1).await;
    let web = world.add_service("web", replicated(1)).await;
    let service = world.service(web);
    world.remove_service(web).await;
    let task = new_task(None, &service, Place::Slot(7), Default::default(), &mut world.rng.clone());
    world.write(|tx| tx.create(task).map(drop)).await;
    world.settle().await;
    assert_eq!(world.tasks(web).len(), 0);
}
