//! Ports that are published on the node itself: one task to a node, which answers at the node's address.

use super::said_by;
use crate::{
    services::{
        scene::Scene,
        spec::{Spec, replicated},
    },
    support::http_get,
};

const PORT: u16 = 8080;
/// A web server that says on which node it is.
const SCRIPT: &str = "echo $NODE > /tmp/index.html; exec httpd -f -p 80 -h /tmp";

pub async fn are_one_to_a_node(scene: &Scene) {
    let first = scene.create(&server("first", 4)).await;
    let words = ["host-mode port already in use on 3 nodes", "3 nodes not available"];
    let placement = scene.wait_waiting(&first, 1, &words).await;
    let said = said_by(&placement, "host-ports");
    assert!(said[0].starts_with("port 8080/tcp is in use by task "), "{said:?}");
    scene.update(&first, &server("first", 3)).await;
    assert_eq!(scene.wait_running(&first, 3).await, [1, 1, 1]);
    all_answer(scene).await;
    // The port of a container that died is free for the next.
    scene.kill_one(scene.engine(0), &first).await;
    all_answer(scene).await;

    // Another service wants the same port: it waits until somebody leaves.
    let second = scene.create(&server("second", 1)).await;
    scene.wait_waiting(&second, 1, &words).await;
    scene.let_go(&first).await;
    assert_eq!(scene.wait_running(&second, 1).await.iter().sum::<usize>(), 1);
    scene.let_go(&second).await;
}

async fn all_answer(scene: &Scene) {
    for engine in scene.engines() {
        scene
            .wait("the container to answer", async |_| {
                match http_get((engine.addr(), PORT).into()) {
                    Ok(answer) if answer.trim_end().ends_with(engine.name()) => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await;
    }
}

fn server(name: &str, replicas: u64) -> Spec {
    let port = u32::from(PORT);
    replicated(name, replicas).script(SCRIPT).env("NODE", "{{.Node.Hostname}}").host_port(port, 80)
}
