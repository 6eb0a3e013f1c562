//! Moving a service to another spec, and back.

use skep_proto::swarmkit::{
    ServiceSpec, TaskState, UpdateConfig,
    node_spec::Availability,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};

use super::world::{Image, World, replicated, seconds, set_image, wire_seconds};

fn config(parallelism: u64) -> UpdateConfig {
    UpdateConfig { parallelism, ..Default::default() }
}

fn with_config(replicas: u64, update: UpdateConfig) -> ServiceSpec {
    ServiceSpec { update: Some(update), ..replicated(replicas) }
}

/// A service that runs, and its world.
async fn up(spec: ServiceSpec) -> (World, skep_proto::ids::ServiceId) {
    let mut world = World::of(3).await;
    let web = world.add_service("web", spec).await;
    world.settle().await;
    world.reset_watchdog();
    (world, web)
}

#[tokio::test]
async fn an_update_moves_as_many_at_a_time_as_it_may() {
    // (replicas, parallelism, delay, start first, fewest running, most running, seconds until complete)
    for (replicas, parallelism, delay, start_first, fewest, most, takes) in [
        (6, 1, 0, false, 5, 6, 5),
        (6, 2, 10, false, 4, 6, 35),
        (6, 4, 0, false, 2, 6, 5),
        (6, 0, 0, false, 0, 6, 5),
        (6, 1, 0, true, 6, 7, 5),
        (6, 2, 10, true, 6, 8, 35),
        (6, 0, 0, true, 6, 12, 5),
        (1, 1, 0, true, 1, 2, 5),
    ] {
        let mut update = config(parallelism);
        update.delay = wire_seconds(delay);
        update.set_order(if start_first {
            UpdateOrder::StartFirst
        } else {
            UpdateOrder::StopFirst
        });
        let (mut world, web) = up(with_config(replicas, update)).await;
        world.update(web, |spec| set_image(spec, "v2")).await;
        world.orchestrator().pass().await.unwrap();
        world.settle().await;
        assert_eq!(world.update_message(web), "update in progress");
        let case = format!("{replicas} {parallelism} {delay} {start_first}");
        world.pass(seconds(takes - 1)).await;
        assert_eq!(world.update_state(web), UpdateState::Updating, "{case}");
        world.pass(seconds(1)).await;
        assert_eq!(world.update_message(web), "update completed", "{case}");
        assert_eq!(world.update_state(web), UpdateState::Completed, "{case}");
        assert!(world.service(web).update_status.as_ref().unwrap().completed_at.is_some());
        assert_eq!(world.running_images(web), "v2", "{case}");
        assert_eq!(world.running(web).len() as u64, replicas, "{case}");
        assert_eq!(world.watchdog().fewest_running(web), fewest, "{case}");
        assert!(world.watchdog().most_running(web) <= most, "{case}");
    }
}

#[tokio::test]
async fn a_change_that_tasks_do_not_feel_moves_nothing() {
    let (mut world, web) = up(replicated(3)).await;
    let before = world.tasks(web);
    world
        .update(web, |spec| {
            spec.annotations.as_mut().unwrap().labels.insert("team".into(), "a".into());
        })
        .await;
    world.pass(seconds(60)).await;
    assert_eq!(world.tasks(web), before);
    assert_eq!(world.update_state(web), UpdateState::Unknown);
}

#[tokio::test]
async fn failures_do_what_the_config_says() {
    use FailureAction::{Continue, Pause, Rollback};
    let message = |world: &World, web| {
        let message = world.update_message(web);
        let end = message.find(" of task ").unwrap_or(message.len());
        message[..end].to_owned()
    };
    for (action, ratio, expected, images) in [
        (Pause, 0.0, "update paused due to failure or early termination", "v1"),
        (Pause, 0.5, "update paused due to failure or early termination", "v1"),
        (Continue, 0.0, "update completed", ""),
        (Rollback, 0.0, "rollback completed", "v1"),
        (Pause, 1.0, "update completed", ""),
    ] {
        for start_first in [false, true] {
            let mut update = config(1);
            update.set_failure_action(action);
            update.max_failure_ratio = ratio;
            update.monitor = wire_seconds(20);
            update.delay = wire_seconds(5);
            update.set_order(if start_first {
                UpdateOrder::StartFirst
            } else {
                UpdateOrder::StopFirst
            });
            let (mut world, web) = up(with_config(6, update)).await;
            world.images.insert("bad".into(), Image::Ends(seconds(1), TaskState::Failed));
            world.update(web, |spec| set_image(spec, "bad")).await;
            world.pass(seconds(120)).await;
            let case = format!("{action:?} {ratio} {start_first}");
            assert_eq!(message(&world, web), expected, "{case}");
            if images == "v1" && action == Rollback {
                assert_eq!(world.running_images(web), "v1", "{case}");
                assert_eq!(world.slots(web), "1 2 3 4 5 6", "{case}");
            }
            if images == "v1" {
                let old =
                    world.running(web).iter().filter(|t| super::world::image(t) == "v1").count();
                assert!(old >= 2, "{case}: {old} are left as they were");
            }
        }
    }
}

#[tokio::test]
async fn a_paused_update_goes_on_when_the_operator_says_so() {
    let (mut world, web) = up(replicated(3)).await;
    world.images.insert("bad".into(), Image::Rejected);
    world.update(web, |spec| set_image(spec, "bad")).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.update_state(web), UpdateState::Paused);
    assert_eq!(world.running(web).len(), 2);
    world.change_leader();
    world.pass(seconds(60)).await;
    assert_eq!(world.update_state(web), UpdateState::Paused, "also under a new leader");
    assert_eq!(world.running(web).len(), 2);
    world.update(web, |spec| set_image(spec, "v3")).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.update_message(web), "update completed");
    assert_eq!((world.slots(web), world.running_images(web)), ("1 2 3".into(), "v3".into()));
    assert!(world.watchdog().fewest_running(web) >= 2, "what was down anyway went first");
}

#[tokio::test]
async fn a_rollback_goes_by_its_own_config_and_is_not_rolled_back() {
    let mut spec = with_config(6, UpdateConfig { parallelism: 0, ..config(0) });
    spec.update.as_mut().unwrap().set_failure_action(FailureAction::Rollback);
    spec.rollback = Some(UpdateConfig { parallelism: 2, ..config(2) });
    spec.rollback.as_mut().unwrap().set_failure_action(FailureAction::Rollback);
    let (mut world, web) = up(spec).await;
    // Both are bad now.
    world.images.insert("v2".into(), Image::Rejected);
    world.images.insert("v1".into(), Image::Rejected);
    world.update(web, |spec| set_image(spec, "v2")).await;
    world.pass(seconds(200)).await;
    assert_eq!(
        world.update_state(web),
        UpdateState::RollbackPaused,
        "{}",
        world.update_message(web)
    );
    assert!(
        world
            .update_message(web)
            .starts_with("rollback paused due to failure or early termination of task ")
    );
    world.change_leader();
    world.pass(seconds(200)).await;
    assert_eq!(world.update_state(web), UpdateState::RollbackPaused, "and stays so");
}

#[tokio::test]
async fn an_operator_rolls_back_by_hand() {
    let mut spec = replicated(4);
    spec.rollback = Some(config(2));
    let (mut world, web) = up(spec).await;
    world.update(web, |spec| set_image(spec, "v2")).await;
    world.pass(seconds(3)).await;
    world.reset_watchdog();
    // As UpdateService does it.
    world
        .write(|tx| {
            let now = tx.now();
            tx.modify::<skep_proto::swarmkit::Service>(&web, |service| {
                std::mem::swap(&mut service.spec, &mut service.previous_spec);
                std::mem::swap(&mut service.spec_version, &mut service.previous_spec_version);
                service.update_status = Some(skep_proto::swarmkit::UpdateStatus {
                    state: UpdateState::RollbackStarted.into(),
                    started_at: Some(now),
                    message: "manually requested rollback".into(),
                    ..Default::default()
                });
            })
            .map(drop)
        })
        .await;
    world.pass(seconds(60)).await;
    assert_eq!(world.update_message(web), "rollback completed");
    assert_eq!(world.update_state(web), UpdateState::RollbackCompleted);
    assert_eq!((world.slots(web), world.running_images(web)), ("1 2 3 4".into(), "v1".into()));
    assert!(world.watchdog().fewest_running(web) >= 2);
}

#[tokio::test]
async fn another_update_takes_over_in_the_middle() {
    let (mut world, web) = up(replicated(6)).await;
    world.images.insert("v2".into(), Image::NeverStarts);
    world.update(web, |spec| set_image(spec, "v2")).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.running(web).len(), 5, "the first never comes up, so no second one goes");
    world.update(web, |spec| set_image(spec, "v3")).await;
    world.pass(seconds(60)).await;
    assert_eq!(world.running_images(web), "v3");
    assert_eq!(world.slots(web), "1 2 3 4 5 6");
    assert_eq!(world.watchdog().fewest_running(web), 5);
}

#[tokio::test]
async fn a_drain_in_the_middle_is_no_failure() {
    let mut update = config(1);
    update.delay = wire_seconds(10);
    let (mut world, web) = up(with_config(6, update)).await;
    world.update(web, |spec| set_image(spec, "v2")).await;
    world.pass(seconds(12)).await;
    world.set_availability("n1", Availability::Drain).await;
    world.pass(seconds(100)).await;
    assert_eq!(world.update_message(web), "update completed");
    assert_eq!((world.slots(web), world.running_images(web)), ("1 2 3 4 5 6".into(), "v2".into()));
    assert!(!world.nodes(web).contains("n1"));
}

/// The leader changes at every moment of an update, and at several.
#[tokio::test]
async fn an_update_goes_on_under_a_new_leader_whenever_that_begins() {
    for start_first in [false, true] {
        for changes_at in 0..60 {
            let mut update = config(2);
            update.delay = wire_seconds(3);
            update.set_order(if start_first {
                UpdateOrder::StartFirst
            } else {
                UpdateOrder::StopFirst
            });
            let (mut world, web) = up(with_config(6, update)).await;
            world.update(web, |spec| set_image(spec, "v2")).await;
            for turn in 0..60 {
                if turn == changes_at || turn % 20 == changes_at % 20 {
                    world.lose_leadership().await;
                }
                if !world.turn().await {
                    world.pass(seconds(1)).await;
                }
            }
            world.pass(seconds(60)).await;
            let case = format!("{changes_at}, start first: {start_first}");
            assert_eq!(world.update_message(web), "update completed", "{case}");
            assert_eq!(world.slots(web), "1 2 3 4 5 6", "{case}");
            assert_eq!(world.running_images(web), "v2", "{case}");
            let (fewest, most) = if start_first { (6, 8) } else { (4, 6) };
            assert!(world.watchdog().fewest_running(web) >= fewest, "{case}");
            assert!(world.watchdog().most_running(web) <= most, "{case}");
        }
    }
}

/// A new leader sees the failures that the last one did not live to judge.
#[tokio::test]
async fn failures_count_across_leaders() {
    for changes_at in 0..25 {
        let mut update = config(1);
        update.set_failure_action(FailureAction::Rollback);
        update.monitor = wire_seconds(10);
        let (mut world, web) = up(with_config(4, update)).await;
        world.images.insert("bad".into(), Image::Ends(seconds(2), TaskState::Failed));
        world.update(web, |spec| set_image(spec, "bad")).await;
        for turn in 0..25 {
            if turn == changes_at {
                world.lose_leadership().await;
            }
            if !world.turn().await {
                world.pass(seconds(1)).await;
            }
        }
        world.pass(seconds(200)).await;
        assert_eq!(world.update_message(web), "rollback completed", "{changes_at}");
        assert_eq!(world.slots(web), "1 2 3 4", "{changes_at}");
        assert_eq!(world.running_images(web), "v1", "{changes_at}");
    }
}
