//! Ports of the hosts that lead to containers on an overlay.

use super::web;
use crate::{services::scene::Scene, support::http_get};

const PORT: u16 = 8085;

/// The container is on a network of the swarm, and on the host's port all the same.
pub async fn ports_of_hosts_answer_from_outside(scene: &Scene, network: &str) {
    let spec = web("published", 3).network(network);
    let service = scene.create(&spec.host_port(PORT.into(), super::WEB_PORT.into())).await;
    assert_eq!(scene.wait_running(&service, 3).await, [1, 1, 1]);
    for place in scene.places(&service, network).await {
        scene
            .wait("the container to answer", async |_| {
                match http_get((place.engine.addr(), PORT).into()) {
                    Ok(answer) if answer.trim_end().ends_with(&place.says) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
    }
    scene.let_go(&service).await;
}
