//! Engines that are lost: killed as by a power cut, cut off while their containers run on, or removed.

use std::time::Duration;

use skep_proto::swarmkit::{RemoveNodeRequest, TaskState, node_status::State};

use super::{
    notes::{Notes, WORK},
    scene::{Scene, describe, running, state},
    spec::{global, replicated, replicated_job},
};
use crate::support::{docker, node_of};

/// Short, so that the test need not wait for long until a node is down.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// What runs: two tasks on each engine, and one on each.
struct Services {
    web: String,
    agent: String,
}

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_an_engine_that_is_lost_move() {
    let Some(mut scene) = Scene::new(3).await else { return };
    let web = scene.create(&replicated("web", 6)).await;
    let agent = scene.create(&global("agent")).await;
    assert_eq!(scene.wait_running(&web, 6).await, [2, 2, 2]);
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);
    let services = Services { web, agent };
    killed_and_back_before_it_is_missed(&scene, &services).await;
    killed_and_away(&scene, &services).await;
    cut_off_when_the_leader_dies(&mut scene, &services).await;
    removed_for_good(&scene, &services).await;
    scene.remove_all(&[&services.web, &services.agent]).await;
    nothing_is_left(&scene).await;
}

async fn killed_and_back_before_it_is_missed(scene: &Scene, Services { web, agent }: &Services) {
    let engine = scene.engine(0);
    engine.kill().unwrap();
    // Whoever comes back is told at once, the others with their next heartbeat.
    scene.set_heartbeat(HEARTBEAT).await;
    engine.start().unwrap();
    engine.wait_until_up().unwrap();
    scene
        .wait("its containers to be known to be dead", async |scene| {
            let all = [scene.tasks(web).await?, scene.tasks(agent).await?].concat();
            let failed = all.iter().filter(|task| state(task) == TaskState::Failed).count();
            if failed == 3 { Ok(()) } else { Err(describe(&all)) }
        })
        .await;
    assert_eq!(scene.wait_running(agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.wait_running(web, 6).await, [2, 2, 2]);
}

/// Its tasks go to the others, and what of a job it had begun is begun again. When it is back, what it had stays away, and
/// what belongs on every node comes.
async fn killed_and_away(scene: &Scene, Services { web, agent }: &Services) {
    let engine = scene.engine(0);
    let notes = Notes::new();
    let job = scene.create(&notes.kept_by(replicated_job("reports", 3, 3), WORK)).await;
    scene.wait_until("the work to begin", || notes.began() == 3).await;
    engine.kill().unwrap();
    scene.wait_state(engine, State::Down).await;
    assert_eq!(scene.wait_running(web, 6).await, [0, 3, 3], "they are not moved");
    assert_eq!(scene.wait_running(agent, 2).await, [0, 1, 1]);
    scene.wait_complete(&job, 3).await;
    assert_eq!((notes.began(), notes.ended()), (4, 3), "what it did not end is done elsewhere");

    engine.start().unwrap();
    engine.wait_until_up().unwrap();
    scene.wait_state(engine, State::Ready).await;
    assert_eq!(scene.wait_running(agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.wait_running(web, 6).await, [0, 3, 3]);
    scene.remove(&job).await;
}

/// Its containers run on, so that for a while there are more than were asked for. Nothing happens to what runs elsewhere.
async fn cut_off_when_the_leader_dies(scene: &mut Scene, Services { web, agent }: &Services) {
    let elsewhere = scene.containers(scene.engine(2), web).unwrap();
    scene.engine(1).freeze();
    let killed = scene.kill_leader().await;
    let engine = scene.engine(1);
    scene.wait_state(engine, State::Down).await;
    assert_eq!(scene.wait_running(web, 6).await, [3, 0, 3], "they are not moved");
    assert_eq!(scene.wait_running(agent, 2).await, [1, 0, 1]);
    engine.thaw();
    scene.wait_state(engine, State::Ready).await;
    assert_eq!(scene.wait_running(web, 6).await, [3, 0, 3], "the old ones are not stopped");
    assert_eq!(scene.wait_running(agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.containers(scene.engine(2), web).unwrap(), elsewhere, "they were replaced");
    scene.revive(killed).await;
}

/// Nobody may tell it anything any more: what it runs goes on until it is told that it is out.
async fn removed_for_good(scene: &Scene, Services { web, agent }: &Services) {
    let engine = scene.engine(2);
    let node_id = node_of(scene.manager(), engine).await.unwrap().id;
    let request = RemoveNodeRequest { node_id, force: true };
    scene.manager().control_client().remove_node(request).await.unwrap();
    scene
        .wait("its tasks to move", async |scene| {
            let tasks = scene.tasks(web).await?;
            if running(&tasks).count() == 6 { Ok(()) } else { Err(describe(&tasks)) }
        })
        .await;
    scene.wait_containers(web, &[3, 3, 3]).await;
    docker(engine, &["swarm", "leave", "--force"]).unwrap();
    scene.swarm.join(engine, scene.manager()).await;
    assert_eq!(scene.wait_running(agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.wait_running(web, 6).await, [3, 3, 0]);
}

async fn nothing_is_left(scene: &Scene) {
    scene
        .wait("no container to be left, running or not", async |scene| {
            for engine in scene.engines() {
                let left = docker(engine, &["ps", "--all"]).unwrap();
                if left.lines().count() > 1 {
                    return Err(left);
                }
            }
            Ok(())
        })
        .await;
}
