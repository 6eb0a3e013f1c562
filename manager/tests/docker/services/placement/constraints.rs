//! Constraints, on everything that can be known of a node.

use super::{rejected_by, said_by};
use crate::{
    services::{scene::Scene, spec::replicated},
    support::node_of,
};

pub async fn hold(scene: &Scene) {
    let mut ids = Vec::new();
    for engine in scene.engines() {
        ids.push(node_of(scene.manager(), engine).await.unwrap().id);
    }
    let id_is_not = |place: usize| format!("node.id!={}", ids[place]);
    let hostname_is = |place: usize| format!("node.hostname == {}", scene.engine(place).name());
    let cases: &[(&[&str], [usize; 3])] = &[
        (&["node.labels.zone==a"], [1, 1, 0]),
        (&["node.labels.zone!=a"], [0, 0, 2]),
        (&[&hostname_is(1)], [0, 2, 0]),
        (&[&id_is_not(0), &id_is_not(1)], [0, 0, 2]),
        (&["engine.labels.disk==ssd"], [2, 0, 0]),
        (&["engine.labels.disk!=ssd"], [0, 1, 1]),
        (&["node.labels.zone==a", "engine.labels.disk==hdd"], [0, 2, 0]),
        (&["node.role==worker", "node.platform.os==linux"], [1, 1, 1]),
    ];
    let mut services = Vec::new();
    for (number, (constraints, expected)) in cases.iter().enumerate() {
        let count: usize = expected.iter().sum();
        let spec = replicated(&format!("at-{number}"), count as u64).constraints(constraints);
        services.push(scene.create(&spec).await);
    }
    for ((constraints, expected), service) in cases.iter().zip(&services) {
        let count = expected.iter().sum();
        assert_eq!(scene.wait_running(service, count).await, *expected, "{constraints:?}");
    }

    // The managers are drained, so that nothing is left when the workers are excluded.
    let nowhere = replicated("nowhere", 1);
    let words = ["scheduling constraints not satisfied on 3 nodes", "3 nodes not available"];
    let cases = ["node.role==manager", "node.platform.os==windows", "node.labels.zone==c"];
    for (number, constraint) in cases.iter().enumerate() {
        let spec = nowhere.clone().named(&format!("nowhere-{number}")).constraints(&[constraint]);
        let service = scene.create(&spec).await;
        let placement = scene.wait_waiting(&service, 1, &words).await;
        assert!(rejected_by(&placement, "constraints") >= 3, "{placement:?}");
        services.push(service);
    }
    let service = scene.create(&nowhere.named("abroad").platform("linux", "s390x")).await;
    let words = ["unsupported platform on 3 nodes", "3 nodes not available"];
    scene.wait_waiting(&service, 1, &words).await;
    services.push(service);
    let service = scene.create(&replicated("logs", 1).log_driver("pigeon")).await;
    let words = ["missing plugin on 3 nodes", "3 nodes not available"];
    let placement = scene.wait_waiting(&service, 1, &words).await;
    let said = said_by(&placement, "plugins");
    assert!(said.iter().all(|said| said == "it lacks the Log plugin pigeon"), "{said:?}");
    services.push(service);
    for service in services {
        scene.let_go(&service).await;
    }
}

/// A task waits until a node is as it wants, and leaves a node that is so no more.
pub async fn are_enforced_when_a_node_changes(scene: &Scene) {
    let spec = replicated("quiet", 1).constraints(&["node.labels.noise==none"]);
    let service = scene.create(&spec).await;
    let words = ["scheduling constraints not satisfied on 3 nodes"];
    let placement = scene.wait_waiting(&service, 1, &words).await;
    let said = said_by(&placement, "constraints");
    assert!(said.iter().all(|said| said == "node.labels.noise==none: it has none"), "{said:?}");
    scene.label(scene.engine(1), "noise", "none").await;
    assert_eq!(scene.wait_running(&service, 1).await, [0, 1, 0]);
    scene.label(scene.engine(1), "noise", "loud").await;
    scene.wait_waiting(&service, 1, &words).await;
    scene.wait_containers(&service, &[0, 0, 0]).await;
    scene.label(scene.engine(2), "noise", "none").await;
    assert_eq!(scene.wait_running(&service, 1).await, [0, 0, 1]);
    scene.let_go(&service).await;
}
