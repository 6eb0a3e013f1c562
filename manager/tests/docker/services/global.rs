//! Global services: a task on every node, also on those that come later, and on none that is drained.

use std::collections::BTreeSet;

use skep_proto::swarmkit::node_spec::Availability;

use super::{
    scene::Scene,
    spec::{global, global_job},
};
use crate::support::PLAIN;

#[tokio::test(flavor = "multi_thread")]
async fn a_global_service_is_on_every_node() {
    let Some(scene) = Scene::with_none_joined(&[PLAIN; 3]).await else { return };
    scene.join(scene.engine(0)).await;
    scene.join(scene.engine(1)).await;
    let service = scene.create(&global("agent")).await;
    let job = scene.create(&global_job("setup").script("true")).await;
    // The managers are drained, and have none.
    assert_eq!(scene.wait_running(&service, 2).await, [1, 1, 0]);
    scene.wait_complete(&job, 2).await;
    scene.join(scene.engine(2)).await;
    assert_eq!(scene.wait_running(&service, 3).await, [1, 1, 1]);
    let done = scene.wait_complete(&job, 3).await;
    let nodes: BTreeSet<&str> = done.iter().map(|task| task.node_id.as_str()).collect();
    assert_eq!(nodes.len(), 3, "it is done twice on a node");

    scene.set_availability(scene.engine(0), Availability::Drain).await;
    assert_eq!(scene.wait_running(&service, 2).await, [0, 1, 1]);
    // A node that takes nothing new keeps what it has.
    scene.set_availability(scene.engine(1), Availability::Pause).await;
    scene.set_availability(scene.engine(0), Availability::Active).await;
    assert_eq!(scene.wait_running(&service, 3).await, [1, 1, 1]);

    scene.kill_one(scene.engine(2), &service).await;
    assert_eq!(scene.wait_running(&service, 3).await, [1, 1, 1]);
    follows_its_constraints(&scene).await;
    scene.remove_all(&[&service, &job]).await;
}

/// A node that comes to be as the service wants gets a task, and loses it when it is so no more.
async fn follows_its_constraints(scene: &Scene) {
    let service = scene.create(&global("zoned").constraints(&["node.labels.zone==a"])).await;
    scene.label(scene.engine(0), "zone", "a").await;
    assert_eq!(scene.wait_running(&service, 1).await, [1, 0, 0]);
    scene.label(scene.engine(2), "zone", "a").await;
    assert_eq!(scene.wait_running(&service, 2).await, [1, 0, 1]);
    scene.label(scene.engine(0), "zone", "b").await;
    assert_eq!(scene.wait_running(&service, 1).await, [0, 0, 1]);
    scene.remove(&service).await;
}
