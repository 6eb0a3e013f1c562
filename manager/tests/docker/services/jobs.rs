//! Jobs: what is to be done a number of times is done that many times, whoever leads. What was done is read from a file
//! that the containers write to.

use std::collections::BTreeSet;

use skep_proto::swarmkit::Task;

use super::{
    notes::{Notes, WORK},
    scene::Scene,
    spec::{global_job, replicated_job},
};
use crate::support::docker;

/// The first two that run it fail.
const FAILS_TWICE: &str = "busybox mkdir /done/one || busybox mkdir /done/two || \
     { echo begin $TASK >> /done/log; echo end $TASK >> /done/log; exit 0; }; exit 1";

#[tokio::test(flavor = "multi_thread")]
async fn jobs_are_done_once_each_also_when_the_leader_dies() {
    let Some(mut scene) = Scene::new(2).await else { return };
    a_replicated_job(&mut scene).await;
    a_global_job(&mut scene).await;
    a_job_whose_first_tasks_fail(&scene).await;
}

async fn a_replicated_job(scene: &mut Scene) {
    const TOTAL: usize = 10;
    const AT_A_TIME: usize = 3;
    let notes = Notes::new();
    let spec = notes.kept_by(replicated_job("reports", TOTAL as u64, AT_A_TIME as u64), WORK);
    let job = scene.create(&spec).await;
    scene.wait_until("some of the work to be done", || notes.ended() >= 3).await;
    let killed = scene.kill_leader().await;
    let ended = notes.ended();
    assert!(ended < TOTAL, "the leader was not killed in the midst: all {ended} are done");
    let tasks = scene.wait_complete(&job, TOTAL).await;
    scene.revive(killed).await;

    assert_eq!(notes.done_by(), ids(&tasks), "who did it and who is said to have done it");
    assert_eq!((notes.began(), notes.ended()), (TOTAL, TOTAL), "it is done more than once");
    assert!(notes.at_a_time() <= AT_A_TIME, "{} at a time", notes.at_a_time());
    let slots: BTreeSet<u64> = tasks.iter().map(|task| task.slot).collect();
    assert_eq!(slots, (0..TOTAL as u64).collect());
    assert_eq!(containers(scene, &job), TOTAL, "there were more containers");

    // Once more, as a whole, and nothing is left of the first time.
    scene.update(&job, &spec.again()).await;
    scene.wait_until("it to be done again", || notes.ended() == 2 * TOTAL).await;
    let again = scene.wait_complete(&job, TOTAL).await;
    assert!(ids(&again).is_disjoint(&ids(&tasks)), "tasks of the first time are left");
    assert_eq!(notes.began(), 2 * TOTAL);
    assert!(notes.at_a_time() <= AT_A_TIME, "{} at a time", notes.at_a_time());
    scene.remove(&job).await;
}

async fn a_global_job(scene: &mut Scene) {
    let count = scene.engines().len();
    let notes = Notes::new();
    let job = scene.create(&notes.kept_by(global_job("rounds"), WORK)).await;
    scene.wait_until("the work to begin", || notes.began() > 0).await;
    let killed = scene.kill_leader().await;
    let tasks = scene.wait_complete(&job, count).await;
    scene.revive(killed).await;
    let nodes: BTreeSet<&str> = tasks.iter().map(|task| task.node_id.as_str()).collect();
    assert_eq!(nodes.len(), count, "it is done twice on a node");
    assert_eq!(notes.done_by(), ids(&tasks));
    assert_eq!((notes.began(), notes.ended()), (count, count), "it is done more than once");
    assert_eq!(containers(scene, &job), count, "there were more containers");
    scene.remove(&job).await;
}

async fn a_job_whose_first_tasks_fail(scene: &Scene) {
    const TOTAL: usize = 3;
    let notes = Notes::new();
    let spec = notes.kept_by(replicated_job("flaky", TOTAL as u64, TOTAL as u64), FAILS_TWICE);
    let job = scene.create(&spec).await;
    let tasks = scene.wait_complete(&job, TOTAL).await;
    assert_eq!(notes.done_by(), ids(&tasks));
    assert_eq!(notes.ended(), TOTAL);
    assert_eq!(containers(scene, &job), TOTAL + 2, "two have failed");
    scene.remove(&job).await;
}

/// All containers of a job that there are on the engines, those that have ended too.
fn containers(scene: &Scene, job: &str) -> usize {
    let filter = format!("label=com.docker.swarm.service.id={job}");
    let listed = scene.engines().iter().map(|engine| {
        docker(engine, &["ps", "--all", "--quiet", "--filter", &filter]).unwrap().lines().count()
    });
    listed.sum()
}

fn ids(tasks: &[Task]) -> BTreeSet<String> {
    tasks.iter().map(|task| task.id.clone()).collect()
}
