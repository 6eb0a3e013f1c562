//! What follows when tasks end: conditions, delays, limits, windows, and what a new leader makes of them.

use skep_proto::swarmkit::{
    RestartPolicy, ServiceSpec, TaskState, node_spec::Availability,
    restart_policy::RestartCondition,
};

use super::world::{Image, World, replicated, seconds, wire_seconds};
use crate::orchestrator::task::state;

fn with_policy(policy: RestartPolicy) -> ServiceSpec {
    let mut spec = replicated(1);
    spec.task.as_mut().unwrap().restart = Some(policy);
    spec
}

fn policy(condition: RestartCondition) -> RestartPolicy {
    RestartPolicy { condition: condition.into(), ..Default::default() }
}

#[tokio::test]
async fn the_condition_decides_whether_a_task_is_replaced() {
    use RestartCondition::{Any, None, OnFailure};
    for (condition, ending, replaced) in [
        (Any, TaskState::Complete, true),
        (Any, TaskState::Failed, true),
        (OnFailure, TaskState::Complete, false),
        (OnFailure, TaskState::Failed, true),
        (OnFailure, TaskState::Rejected, true),
        (None, TaskState::Complete, false),
        (None, TaskState::Failed, false),
    ] {
        let mut world = World::of(1).await;
        let web = world.add_service("web", with_policy(policy(condition))).await;
        world.settle().await;
        let first = world.running(web)[0].id.clone();
        world.end(&first, ending).await;
        world.pass(seconds(60)).await;
        let case = format!("{condition:?} after {ending:?}");
        assert_eq!(world.running(web).len(), usize::from(replaced), "{case}");
        assert_eq!(world.tasks(web).len(), 1 + usize::from(replaced), "{case}");
        // A new leader sees it the same way.
        world.change_leader();
        world.pass(seconds(60)).await;
        assert_eq!(world.tasks(web).len(), 1 + usize::from(replaced), "{case}, new leader");
    }
}

#[tokio::test]
async fn a_replacement_waits_for_the_delay_also_under_a_new_leader() {
    for (delay, changes) in [(None, false), (Some(20), false), (None, true), (Some(20), true)] {
        let mut world = World::of(1).await;
        let mut policy = policy(RestartCondition::Any);
        policy.delay = delay.and_then(wire_seconds);
        let web = world.add_service("web", with_policy(policy)).await;
        world.settle().await;
        let first = world.running(web)[0].id.clone();
        world.end(&first, TaskState::Failed).await;
        world.settle().await;
        let wanted = world.wanted(web);
        assert_eq!(wanted.len(), 1);
        assert_eq!(wanted[0].desired_state(), TaskState::Ready, "it may pull its image meanwhile");
        let delay = delay.unwrap_or(5) as u64;
        world.pass(seconds(delay - 1)).await;
        if changes {
            world.change_leader();
            world.settle().await;
        }
        assert_eq!(world.running(web).len(), 0);
        world.pass(seconds(1)).await;
        assert_eq!(world.running(web).len(), 1);
    }
}

#[tokio::test]
async fn a_replacement_waits_until_the_one_before_has_stopped_but_not_for_ever() {
    let mut world = World::of(2).await;
    let web = world.add_service("web", replicated(1)).await;
    world.settle().await;
    let node = world.running(web)[0].node_id.clone();
    world.hung.insert(node.parse().unwrap());
    world.set_availability(&node, Availability::Drain).await;
    world.pass(seconds(59)).await;
    assert_eq!(world.wanted(web)[0].desired_state(), TaskState::Ready);
    assert_eq!(world.running(web).len(), 0);
    world.pass(seconds(2)).await;
    assert_eq!(world.running(web).len(), 1);
}

#[tokio::test]
async fn attempts_are_limited_for_each_spec_and_counted_across_leaders() {
    let mut world = World::of(1).await;
    world.images.insert("v1".into(), Image::Ends(seconds(1), TaskState::Failed));
    let mut limited = policy(RestartCondition::Any);
    limited.max_attempts = 3;
    let web = world.add_service("web", with_policy(limited)).await;
    for _ in 0..20 {
        world.pass(seconds(4)).await;
        world.change_leader();
    }
    assert_eq!(world.tasks(web).len(), 4, "one and three more");
    assert!(world.wanted(web).is_empty());
    // Another spec begins to count anew.
    world.update(web, |spec| spec.task.as_mut().unwrap().force_update += 1).await;
    world.pass(seconds(120)).await;
    assert_eq!(world.tasks(web).len(), 4, "the older ones are not needed any more");
    assert!(world.wanted(web).is_empty());
}

#[tokio::test]
async fn only_restarts_within_the_window_count() {
    // (seconds that a task lives, window, delay, whether the limit of 2 stops it)
    for (lives, window, delay, stops) in [
        (1, 60, 1, true),
        (20, 60, 1, true),
        (70, 60, 1, false),
        (40, 60, 1, false),
        // A window that could never hold two restarts: those count whose task did not live for a window.
        (1, 2, 5, true),
        (1, 5, 5, true),
        (7, 5, 5, false),
    ] {
        let mut world = World::of(1).await;
        world.images.insert("v1".into(), Image::Ends(seconds(lives), TaskState::Failed));
        let mut limited = policy(RestartCondition::Any);
        limited.max_attempts = 2;
        limited.window = wire_seconds(window);
        limited.delay = wire_seconds(delay);
        let web = world.add_service("web", with_policy(limited)).await;
        world.pass(seconds(1_000)).await;
        assert_eq!(
            world.wanted(web).is_empty(),
            stops,
            "{lives} s, window {window} s, delay {delay} s"
        );
        assert!(world.tasks(web).len() <= 4, "no more are kept than are counted");
    }
}

#[tokio::test]
async fn a_crash_loop_keeps_its_pace_and_its_history() {
    for limit in [5, 1, 0] {
        let mut world = World::of(1).await;
        world.history_limit(limit).await;
        world.images.insert("v1".into(), Image::Ends(seconds(0), TaskState::Failed));
        let web = world.add_service("web", replicated(1)).await;
        let events = super::world::task_events(&world.store);
        world.pass(seconds(100)).await;
        let created = created(events);
        assert!((19..=22).contains(&created), "{created} tasks in 100 s, limit {limit}");
        assert!(world.tasks(web).len() as i64 <= limit.max(2), "limit {limit}");
    }
}

fn created(mut events: skep_store::Watcher) -> usize {
    let mut count = 0;
    while let Some(commit) = events.try_next().unwrap() {
        count += commit.events.iter().filter(|e| e.action() == skep_store::Action::Create).count();
    }
    count
}

#[tokio::test]
async fn a_task_that_is_refused_while_it_waits_keeps_the_pace_too() {
    let mut world = World::of(1).await;
    world.images.insert("v1".into(), Image::Rejected);
    let web = world.add_service("web", replicated(1)).await;
    let events = super::world::task_events(&world.store);
    world.pass(seconds(100)).await;
    let created = created(events);
    assert!((19..=22).contains(&created), "{created}");
    assert_eq!(world.wanted(web).len(), 1);
}

#[tokio::test]
async fn two_leaders_do_not_make_two_replacements() {
    let mut world = World::of(2).await;
    let web = world.add_service("web", replicated(3)).await;
    world.settle().await;
    let first = world.running(web)[0].id.clone();
    world.end(&first, TaskState::Failed).await;
    // The write is made, and the next leader has not seen it yet.
    let _ = world.orchestrator().pass().await;
    world.lose_leadership().await;
    world.pass(seconds(10)).await;
    assert_eq!(world.slots(web), "1 2 3");
    assert_eq!(world.tasks(web).iter().filter(|t| state(t) == TaskState::Failed as i32).count(), 1);
    assert_eq!(world.tasks(web).len(), 4);
}
