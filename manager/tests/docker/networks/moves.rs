//! A service leaves a network for another by an update.

use std::collections::BTreeSet;

use super::{places::addresses, web};
use crate::services::scene::Scene;

/// Those who stay lose sight of it, those on its new network find it, and there is no way between the two.
pub async fn a_service_to_another_network(scene: &Scene, front: &str, back: &str, stays: &str) {
    let behind = scene.create(&web("behind", 1).network(back)).await;
    let mover = scene.create(&web("mover", 2).network(front)).await;
    scene.wait_running(&behind, 1).await;
    scene.wait_running(&mover, 2).await;
    let (stay, behind_places) =
        (scene.places(stays, front).await, scene.places(&behind, back).await);
    let moving = scene.places(&mover, front).await;
    scene.wait_reach(&stay, &moving).await;
    for name in ["behind", "tasks.behind"] {
        scene.wait_name(&stay, name, &BTreeSet::new()).await;
    }
    for place in &stay {
        let answer = place.get(&behind_places[0].address);
        assert!(answer.is_err(), "the networks are not apart: {answer:?}");
    }
    let before = addresses(&moving);

    scene.update(&mover, &web("mover", 2).only_network(back)).await;
    scene
        .wait("the tasks to be on the other network", async |scene| {
            let tasks = scene.tasks(&mover).await?;
            let wanted = crate::services::scene::running(&tasks);
            let networks: Vec<Vec<&str>> = wanted
                .map(|task| {
                    let networks = task.networks.iter().filter_map(|a| a.network.as_ref());
                    networks.map(|network| network.id.as_str()).collect()
                })
                .collect();
            if networks == [[back], [back]] { Ok(()) } else { Err(format!("{networks:?}")) }
        })
        .await;
    scene.wait_running(&mover, 2).await;
    let moved = scene.places(&mover, back).await;
    scene.wait_reach(&behind_places, &moved).await;
    scene.wait_name(&behind_places, "tasks.mover", &addresses(&moved)).await;
    for name in ["mover", "tasks.mover"] {
        scene.wait_name(&stay, name, &BTreeSet::new()).await;
    }
    for address in before.iter().chain(&addresses(&moved)) {
        let answer = stay[0].get(address);
        assert!(answer.is_err(), "{address} is still reached: {answer:?}");
    }
    let service = scene.service(&mover).await.unwrap();
    let own = &service.endpoint.unwrap_or_default().virtual_ips;
    let on: Vec<&str> = own.iter().map(|vip| vip.network_id.as_str()).collect();
    assert_eq!(on, [back], "the service has an address on its new network only");
    scene.let_go(&mover).await;
    scene.let_go(&behind).await;
}
