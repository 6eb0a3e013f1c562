//! Containers on different engines find and reach each other.

use std::collections::BTreeSet;

use super::{operations::without_length, places::addresses, web};
use crate::services::scene::Scene;

/// Every container of the service reaches every other by its address; the names stand for what they should.
pub async fn by_address_and_by_name(scene: &Scene, network: &str, web_service: &str) {
    let places = scene.places(web_service, network).await;
    let engines: BTreeSet<&str> = places.iter().map(|place| place.engine.name()).collect();
    assert_eq!((places.len(), engines.len()), (3, 3), "they are on different engines");
    assert_eq!(addresses(&places).len(), 3, "no two have the same address");
    scene.wait_reach(&places, &places).await;
    scene.wait_name(&places, "tasks.web", &addresses(&places)).await;
    let service = scene.service(web_service).await.unwrap();
    let own = &service.endpoint.unwrap_or_default().virtual_ips;
    let own: BTreeSet<String> = own.iter().map(|vip| without_length(&vip.addr)).collect();
    assert_eq!(own.len(), 1, "one address of the service, on its only network: {own:?}");
    assert!(own.is_disjoint(&addresses(&places)));
    scene.wait_name(&places, "web", &own).await;

    // Without an address of its own, the name of a service stands for its tasks.
    let plain = scene.create(&web("plain", 2).network(network).without_address()).await;
    scene.wait_running(&plain, 2).await;
    let service = scene.service(&plain).await.unwrap();
    assert_eq!(service.endpoint.unwrap_or_default().virtual_ips, []);
    let others = scene.places(&plain, network).await;
    scene.wait_name(&places, "plain", &addresses(&others)).await;
    scene.wait_reach(&places, &others).await;
    scene.wait_reach(&others, &places).await;
    scene.let_go(&plain).await;
    scene.wait_name(&places, "plain", &BTreeSet::new()).await;
}

/// What is connected stays so when nobody leads, and what is new is connected by the next leader.
pub async fn outlives_the_leader(scene: &mut Scene, network: &str, web_service: &str) {
    let before = scene.places(web_service, network).await;
    let known = addresses(&before);
    drop(before);
    scene.kill_leader().await;
    let more = 6;
    let spec = web("web", more).network(network);
    scene.update(web_service, &spec).await;
    scene.wait_running(web_service, more as usize).await;
    let places = scene.places(web_service, network).await;
    assert!(addresses(&places).is_superset(&known), "addresses of running containers changed");
    assert_eq!(addresses(&places).len(), more as usize, "no two have the same address");
    scene.wait_reach(&places, &places).await;
    scene.wait_name(&places, "tasks.web", &addresses(&places)).await;
}
