//! The leader is killed in every phase of a scale-out, a drain and a rolling update, under workers that check what must
//! hold for them. What the workers run is simulated; their certificates, sessions and messages are real.

mod scene;

use scene::Scene;
use skep_proto::swarmkit::{TaskState, node_spec::Availability, update_status::UpdateState};

const WORKERS: usize = 20;
/// Tasks of the service before and after each operation.
const TASKS: usize = 40;
/// Tasks that it is scaled out to.
const MANY: usize = 100;

/// When the leader is killed: at once after the call that starts the operation was answered, or when this share of the
/// operation is done.
const PHASES: [f64; 4] = [0.0, 0.2, 0.5, 0.9];

#[tokio::test(flavor = "multi_thread")]
async fn a_scale_out_ends_right_whenever_the_leader_is_killed() {
    let mut scene = Scene::new(WORKERS, TASKS).await;
    for phase in PHASES {
        scene.scale(MANY).await;
        let done = |scene: &Scene| {
            let more = scene.running().saturating_sub(TASKS);
            more as f64 / (MANY - TASKS) as f64
        };
        scene.kill_leader_at(phase, done).await;
        scene.settle(MANY).await;
        assert_eq!(scene.take_stops(), [], "{phase}: a scale-out stops nothing");

        scene.scale(TASKS).await;
        scene.settle(TASKS).await;
        assert_eq!(scene.take_stops().len(), MANY - TASKS, "{phase}: what is too much, once");
        scene.revive().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_drain_ends_right_whenever_the_leader_is_killed() {
    let mut scene = Scene::new(WORKERS, TASKS).await;
    for (number, phase) in PHASES.into_iter().enumerate() {
        let drained = &scene.fleet.workers()[4 * number..][..4];
        let drained: Vec<String> = drained.iter().map(|worker| worker.id().to_owned()).collect();
        let held = |scene: &Scene| -> usize {
            let worker = |id: &String| scene.fleet.worker_of(id).expect("it is one of the fleet");
            drained.iter().map(|id| worker(id).node().count(TaskState::Running)).sum()
        };
        // So that what leaves one of them does not go to the next.
        for id in &drained {
            scene.availability(id, Availability::Pause).await;
        }
        let before = held(&scene);
        assert!(before > 0, "{phase}: there is nothing to drain");
        for id in &drained {
            scene.availability(id, Availability::Drain).await;
        }
        let done = |scene: &Scene| 1.0 - held(scene) as f64 / before as f64;
        scene.kill_leader_at(phase, done).await;
        scene.settle(TASKS).await;
        assert_eq!(held(&scene), 0, "{phase}: the drained nodes are empty");
        let stops = scene.take_stops();
        assert_eq!(stops.len(), before, "{phase}: what they ran, once: {stops:?}");
        let elsewhere = stops.iter().find(|stop| !drained.contains(&stop.node_id));
        assert_eq!(elsewhere, None, "{phase}: nothing else is stopped");

        for id in &drained {
            scene.availability(id, Availability::Active).await;
        }
        scene.revive().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_ends_right_whenever_the_leader_is_killed() {
    let mut scene = Scene::new(WORKERS, TASKS).await;
    for (number, phase) in PHASES.into_iter().enumerate() {
        let old = scene.image().to_owned();
        let new = format!("example/web:{}", number + 2);
        scene.update_image(&new).await;
        let done = |scene: &Scene| scene.running_image(&new) as f64 / TASKS as f64;
        scene.kill_leader_at(phase, done).await;
        scene.wait_until_updated(UpdateState::Completed).await;
        scene.settle(TASKS).await;
        assert_eq!(scene.running_image(&new), TASKS, "{phase}: all run the new image");
        let stops = scene.take_stops();
        assert_eq!(stops.len(), TASKS, "{phase}: every task is replaced once: {stops:?}");
        let other = stops.iter().find(|stop| stop.image != old);
        assert_eq!(other, None, "{phase}: only what is replaced is stopped");
        scene.revive().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_ran_that_lost_its_power_runs_again() {
    let scene = Scene::new(WORKERS, TASKS).await;
    let worker = &scene.fleet.workers()[0];
    assert!(worker.node().count(TaskState::Running) > 0);
    worker.crash();
    worker.start();
    let lost = |scene: &Scene| {
        let tasks = scene.fleet.workers()[0].node().tasks();
        tasks.iter().any(|(_, state)| *state == TaskState::Failed)
    };
    scene.wait_until("the worker to say that its tasks are gone", lost).await;
    scene.settle(TASKS).await;
    assert_eq!(scene.take_stops().len(), 0, "what has failed is not stopped");
}
