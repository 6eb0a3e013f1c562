//! How many tasks go to which node, where all would do.

use super::{rejected_by, said_by};
use crate::services::{scene::Scene, spec::replicated};

/// Two of the engines are in one zone and the third alone in the other.
pub async fn is_even_over_a_label(scene: &Scene) {
    let zones = scene.create(&replicated("zones", 4).spread_over("node.labels.zone")).await;
    assert_eq!(scene.wait_running(&zones, 4).await, [1, 1, 2]);
    // A node without the label is one more branch.
    let disks = scene.create(&replicated("disks", 6).spread_over("engine.labels.disk")).await;
    assert_eq!(scene.wait_running(&disks, 6).await, [2, 2, 2]);
    scene.let_go(&zones).await;
    scene.let_go(&disks).await;
}

pub async fn is_limited_on_each_node(scene: &Scene) {
    let spec = replicated("few", 5).updated_at_once().max_per_node(1);
    let service = scene.create(&spec).await;
    let words = ["max replicas per node limit exceed", "3 nodes not available for new tasks"];
    let placement = scene.wait_waiting(&service, 2, &words).await;
    assert_eq!(rejected_by(&placement, "max-replicas"), 3);
    let said = said_by(&placement, "max-replicas");
    let expected = "1 of at most 1 tasks of the service are here";
    assert!(said.iter().all(|said| said == expected), "{said:?}");
    scene.wait_containers(&service, &[1, 1, 1]).await;
    scene.update(&service, &spec.max_per_node(2)).await;
    let mut on_each = scene.wait_running(&service, 5).await;
    on_each.sort_unstable();
    assert_eq!(on_each, [1, 2, 2]);
    scene.let_go(&service).await;
}
