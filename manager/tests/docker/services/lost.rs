//! Engines that are lost: killed as by a power cut, or cut off while their containers run on.

use std::time::Duration;

use skep_proto::swarmkit::{TaskState, node_status::State};

use super::{
    notes::{Notes, WORK},
    scene::{Scene, describe, state},
    spec::{global, replicated, replicated_job},
};
use crate::support::docker;

/// Short, so that the test need not wait for long until a node is down.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_an_engine_that_is_lost_move() {
    let Some(mut scene) = Scene::new(3).await else { return };
    let web = scene.create(&replicated("web", 6)).await;
    let agent = scene.create(&global("agent")).await;
    assert_eq!(scene.wait_running(&web, 6).await, [2, 2, 2]);
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);

    // Killed, and back before it is missed.
    let engine = scene.engine(0);
    engine.kill().unwrap();
    scene.set_heartbeat(HEARTBEAT).await;
    engine.start().unwrap();
    engine.wait_until_up().unwrap();
    scene
        .wait("its containers to be replaced", async |scene| {
            let all = [scene.tasks(&web).await?, scene.tasks(&agent).await?].concat();
            let failed = all.iter().filter(|task| state(task) == TaskState::Failed).count();
            if failed == 3 { Ok(()) } else { Err(describe(&all)) }
        })
        .await;
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.wait_running(&web, 6).await, [2, 2, 2]);

    // Killed with all that it runs, and away.
    let notes = Notes::new();
    let job = scene.create(&notes.kept_by(replicated_job("reports", 3, 3), WORK)).await;
    scene.wait_until("the work to begin", || notes.began() == 3).await;
    engine.kill().unwrap();
    scene.wait_state(engine, State::Down).await;
    assert_eq!(scene.wait_running(&web, 6).await, [0, 3, 3], "they are not moved");
    assert_eq!(scene.wait_running(&agent, 2).await, [0, 1, 1]);
    scene.wait_complete(&job, 3).await;
    assert_eq!((notes.began(), notes.ended()), (4, 3), "what it did not end is done elsewhere");
    // It is back: what ran on it has been replaced and stays away, and what belongs on every node comes.
    engine.start().unwrap();
    engine.wait_until_up().unwrap();
    scene.wait_state(engine, State::Ready).await;
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.wait_running(&web, 6).await, [0, 3, 3]);

    // Cut off in the moment in which the leader dies: its containers run on, so that for a while there are more than were
    // asked for. Nothing happens to what runs elsewhere.
    let elsewhere = scene.containers(scene.engine(2), &web).unwrap();
    scene.engine(1).freeze();
    let killed = scene.kill_leader().await;
    let engine = scene.engine(1);
    scene.wait_state(engine, State::Down).await;
    assert_eq!(scene.wait_running(&web, 6).await, [3, 0, 3], "they are not moved");
    assert_eq!(scene.wait_running(&agent, 2).await, [1, 0, 1]);
    engine.thaw();
    assert_eq!(scene.containers(engine, &web).unwrap().len(), 3, "they did not run on");
    scene.wait_state(engine, State::Ready).await;
    assert_eq!(scene.wait_running(&web, 6).await, [3, 0, 3], "the old ones are not stopped");
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.containers(scene.engine(2), &web).unwrap(), elsewhere, "they were replaced");
    scene.revive(killed).await;

    scene.remove_all(&[&web, &agent, &job]).await;
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
