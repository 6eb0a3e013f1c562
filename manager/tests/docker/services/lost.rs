//! Engines that are lost: killed as by a power cut, or cut off while their containers run on.

use std::time::Duration;

use skep_proto::swarmkit::node_status::State;

use super::{
    scene::Scene,
    spec::{global, replicated},
};
use crate::support::docker;

/// Short, so that the test need not wait for long until a node is down.
const HEARTBEAT: Duration = Duration::from_secs(1);

#[tokio::test(flavor = "multi_thread")]
async fn the_tasks_of_an_engine_that_is_lost_move() {
    let Some(scene) = Scene::new(3).await else { return };
    scene.set_heartbeat(HEARTBEAT).await;
    let web = scene.create(&replicated("web", 6)).await;
    let agent = scene.create(&global("agent")).await;
    assert_eq!(scene.wait_running(&web, 6).await, [2, 2, 2]);
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);

    // Killed with all that it runs.
    let engine = scene.engine(0);
    engine.kill().unwrap();
    scene.wait_state(engine, State::Down).await;
    assert_eq!(scene.wait_running(&web, 6).await, [0, 3, 3], "they are not moved");
    assert_eq!(scene.wait_running(&agent, 2).await, [0, 1, 1]);
    // It is back: what ran on it has been replaced and stays away, and what belongs on every node comes.
    engine.start().unwrap();
    engine.wait_until_up().unwrap();
    scene.wait_state(engine, State::Ready).await;
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);
    assert_eq!(scene.wait_running(&web, 6).await, [0, 3, 3]);

    // Cut off: its containers run on, so that for a while there are more than were asked for.
    let engine = scene.engine(1);
    engine.freeze();
    scene.wait_state(engine, State::Down).await;
    assert_eq!(scene.wait_running(&web, 6).await, [3, 0, 3], "they are not moved");
    assert_eq!(scene.wait_running(&agent, 2).await, [1, 0, 1]);
    engine.thaw();
    assert_eq!(scene.containers(engine, &web).unwrap().len(), 3, "they ran on");
    scene.wait_state(engine, State::Ready).await;
    assert_eq!(scene.wait_running(&web, 6).await, [3, 0, 3], "the old ones are not stopped");
    assert_eq!(scene.wait_running(&agent, 3).await, [1, 1, 1]);

    scene.remove(&web).await;
    scene.remove(&agent).await;
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
