//! Services that run to an end.

use skep_proto::swarmkit::{
    GlobalJob, RestartPolicy, ServiceSpec, TaskState, node_spec::Availability, node_status::State,
    restart_policy::RestartCondition, service_spec::Mode,
};

use super::world::{Image, World, job, seconds, with_mode};
use crate::orchestrator::task::state;

fn done(world: &World, id: skep_proto::ids::ServiceId) -> usize {
    world.tasks(id).iter().filter(|task| state(task) == TaskState::Complete as i32).count()
}

fn ends(world: &mut World, after: u64, how: TaskState) {
    world.images.insert("v1".into(), Image::Ends(seconds(after), how));
}

fn attempts(mut spec: ServiceSpec, max_attempts: u64) -> ServiceSpec {
    spec.task.as_mut().unwrap().restart = Some(RestartPolicy {
        condition: RestartCondition::Any.into(),
        max_attempts,
        ..Default::default()
    });
    spec
}

#[tokio::test]
async fn a_job_completes_exactly_as_often_as_it_should_and_no_faster() {
    for (concurrent, total) in [(1, 3), (3, 10), (10, 3), (0, 3), (3, 0)] {
        let mut world = World::of(2).await;
        ends(&mut world, 10, TaskState::Complete);
        let job = world.add_service("job", job(concurrent, total)).await;
        world.pass(seconds(200)).await;
        let expected = if concurrent == 0 { 0 } else { total };
        assert_eq!(done(&world, job) as u64, expected, "{concurrent} of {total}");
        assert_eq!(world.tasks(job).len() as u64, expected);
        assert!(world.watchdog().most_running(job) as u64 <= concurrent);
        let slots: Vec<u64> = world.tasks(job).iter().map(|task| task.slot).collect();
        assert_eq!(slots, (0..expected).collect::<Vec<_>>());
        assert!(world.tasks(job).iter().all(|t| t.desired_state() == TaskState::Complete));
    }
}

#[tokio::test]
async fn a_job_goes_on_under_new_leaders() {
    let mut world = World::of(2).await;
    ends(&mut world, 7, TaskState::Complete);
    let job = world.add_service("job", job(3, 12)).await;
    for _ in 0..30 {
        world.pass(seconds(2)).await;
        world.lose_leadership().await;
    }
    world.pass(seconds(60)).await;
    assert_eq!((done(&world, job), world.tasks(job).len()), (12, 12));
    assert!(world.watchdog().most_running(job) <= 3);
}

#[tokio::test]
async fn what_fails_is_tried_again_until_policy_gives_up() {
    let mut world = World::of(1).await;
    ends(&mut world, 1, TaskState::Failed);
    let job = world.add_service("job", attempts(job(2, 3), 2)).await;
    world.pass(seconds(500)).await;
    assert_eq!(world.tasks(job).len(), 3 * 3, "each slot three times, and then no more");
    assert!(world.wanted(job).is_empty());
    world.change_leader();
    world.pass(seconds(100)).await;
    assert_eq!(world.tasks(job).len(), 9);
    // Another run is another chance.
    ends(&mut world, 1, TaskState::Complete);
    world.update(job, |_| {}).await;
    world.pass(seconds(100)).await;
    assert_eq!((done(&world, job), world.tasks(job).len()), (3, 3));
}

#[tokio::test]
async fn tasks_of_a_job_move_off_a_node_that_goes() {
    let mut world = World::of(2).await;
    ends(&mut world, 100, TaskState::Complete);
    let job = world.add_service("job", job(4, 4)).await;
    world.pass(seconds(10)).await;
    world.set_availability("n1", Availability::Drain).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.nodes(job), "n2 n2 n2 n2");
    world.set_state("n2", State::Down).await;
    world.set_availability("n1", Availability::Active).await;
    world.pass(seconds(10)).await;
    assert_eq!(world.nodes(job), "n1 n1 n1 n1");
    world.pass(seconds(200)).await;
    assert_eq!(done(&world, job), 4);
    // What is done is done, wherever its node goes.
    world.set_state("n1", State::Down).await;
    world.set_state("n2", State::Ready).await;
    world.pass(seconds(200)).await;
    assert_eq!(done(&world, job), 4);
    assert!(world.running(job).is_empty());
}

/// In SwarmKit the number to create is computed as a difference of unsigned numbers, which then is below zero.
#[tokio::test]
async fn fewer_at_a_time_than_run_already_is_no_trouble() {
    let mut world = World::of(2).await;
    ends(&mut world, 10, TaskState::Complete);
    let id = world.add_service("job", job(5, 10)).await;
    world.pass(seconds(5)).await;
    // The same run goes on with another limit.
    world
        .write(|tx| {
            tx.modify::<skep_proto::swarmkit::Service>(&id, |service| {
                service.spec.as_mut().unwrap().mode = job(2, 10).mode;
            })
            .map(drop)
        })
        .await;
    world.pass(seconds(6)).await;
    world.reset_watchdog();
    world.pass(seconds(100)).await;
    assert!(world.watchdog().most_running(id) <= 2);
    assert_eq!((done(&world, id), world.tasks(id).len()), (10, 10));
}

#[tokio::test]
async fn another_run_takes_the_tasks_of_the_last_away() {
    let mut world = World::of(2).await;
    ends(&mut world, 10, TaskState::Complete);
    let job = world.add_service("job", job(2, 6)).await;
    world.pass(seconds(15)).await;
    assert_eq!(done(&world, job), 2);
    world.update(job, |_| {}).await;
    world.settle().await;
    let run = world.service(job).job_status.as_ref().unwrap().job_iteration;
    assert!(world.tasks(job).iter().all(|task| task.job_iteration == run));
    world.pass(seconds(100)).await;
    assert_eq!((done(&world, job), world.tasks(job).len()), (6, 6));
}

fn global_job() -> ServiceSpec {
    with_mode(Mode::GlobalJob(GlobalJob {}))
}

#[tokio::test]
async fn a_global_job_runs_once_on_every_node() {
    let mut world = World::of(3).await;
    ends(&mut world, 10, TaskState::Complete);
    world.set_availability("n3", Availability::Pause).await;
    let job = world.add_service("job", global_job()).await;
    world.pass(seconds(5)).await;
    assert_eq!(world.nodes(job), "n1 n2");
    // n2 is drained before its task is done, and comes back.
    world.set_availability("n2", Availability::Drain).await;
    world.pass(seconds(20)).await;
    assert_eq!(done(&world, job), 1);
    for node in ["n2", "n3"] {
        world.set_availability(node, Availability::Active).await;
    }
    world.pass(seconds(50)).await;
    assert_eq!(done(&world, job), 3);
    // Nothing is run again where it is done.
    world.set_state("n1", State::Down).await;
    world.settle().await;
    world.set_state("n1", State::Ready).await;
    world.change_leader();
    world.pass(seconds(50)).await;
    assert_eq!(done(&world, job), 3);
    world.update(job, |_| {}).await;
    world.pass(seconds(50)).await;
    assert_eq!((done(&world, job), world.tasks(job).len()), (3, 3));
}

/// SwarmKit never finds what it has recorded of a global job's attempts.
#[tokio::test]
async fn a_global_jobs_attempts_are_limited() {
    let mut world = World::of(2).await;
    ends(&mut world, 1, TaskState::Failed);
    let job = world.add_service("job", attempts(global_job(), 2)).await;
    world.pass(seconds(100)).await;
    assert_eq!(world.tasks(job).len(), 2 * 3);
    assert!(world.wanted(job).is_empty());
    world.change_leader();
    world.pass(seconds(100)).await;
    assert_eq!(world.tasks(job).len(), 2 * 3);
}
