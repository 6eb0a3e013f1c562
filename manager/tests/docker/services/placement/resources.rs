//! Reservations of processors, memory, and things of a kind that only some nodes have.

use super::{rejected_by, said_by};
use crate::{
    services::{
        scene::Scene,
        spec::{cpus, generic, memory, replicated},
    },
    support::{docker, node_of},
};

const TIB: i64 = 1 << 40;
const MIB: i64 = 1 << 20;

/// What is too much for every node waits and says so, and runs once it asks for less.
pub async fn are_set_aside(scene: &Scene) {
    let node = node_of(scene.manager(), scene.engine(0)).await.unwrap();
    let has = node.description.unwrap().resources.unwrap();
    let words = ["insufficient resources on 3 nodes", "3 nodes not available for new tasks"];

    let spec = replicated("big", 1).updated_at_once();
    let service = scene.create(&spec.clone().reserve(memory(1000 * TIB))).await;
    let placement = scene.wait_waiting(&service, 1, &words).await;
    let said = said_by(&placement, "resources");
    assert!(said.iter().any(|s| s.ends_with("memory free, 1000 TiB reserved")), "{said:?}");
    scene.update(&service, &spec.clone().reserve(memory(16 * MIB))).await;
    scene.wait_running(&service, 1).await;
    scene.let_go(&service).await;

    // Each task takes more than half of a node.
    let service =
        scene.create(&spec.clone().replicas(4).reserve(cpus(has.nano_cpus * 6 / 10))).await;
    let placement = scene.wait_waiting(&service, 1, &words).await;
    assert_eq!(rejected_by(&placement, "resources"), 3);
    scene.update(&service, &spec.replicas(4).reserve(cpus(has.nano_cpus * 3 / 10))).await;
    let mut on_each = scene.wait_running(&service, 4).await;
    on_each.sort_unstable();
    assert_eq!(on_each, [1, 1, 2]);
    scene.let_go(&service).await;
}

/// Counted ones are taken off a number; of those with names, each task has some for itself. Containers are told.
pub async fn of_a_kind_are_given_out(scene: &Scene) {
    let words = ["insufficient resources on 3 nodes", "3 nodes not available for new tasks"];
    let spec = replicated("trained", 3).reserve(generic("gpu", 1));
    let service = scene.create(&spec).await;
    let placement = scene.wait_waiting(&service, 1, &words).await;
    let said = said_by(&placement, "resources");
    assert!(said.contains(&"0 of gpu free, 1 reserved".to_owned()), "{said:?}");
    scene.update(&service, &spec.replicas(2)).await;
    assert_eq!(scene.wait_running(&service, 2).await, [2, 0, 0]);
    assert_eq!(given(scene, 0, &service, "GPU"), ["1", "1"]);
    scene.let_go(&service).await;

    let spec = replicated("routed", 2).reserve(generic("fpga", 1));
    let service = scene.create(&spec).await;
    assert_eq!(scene.wait_running(&service, 2).await, [0, 2, 0]);
    assert_eq!(given(scene, 1, &service, "FPGA"), ["north", "south"]);
    // What a container had that died is free for the next.
    scene.kill_one(scene.engine(1), &service).await;
    assert_eq!(given(scene, 1, &service, "FPGA"), ["north", "south"]);
    let both = spec.replicas(1).reserve(generic("fpga", 2));
    scene.update(&service, &both).await;
    assert_eq!(scene.wait_running(&service, 1).await, [0, 1, 0]);
    assert_eq!(given(scene, 1, &service, "FPGA"), ["north,south"]);
    scene.let_go(&service).await;
}

/// What the containers of a service on an engine are told that they have of a kind.
fn given(scene: &Scene, engine: usize, service: &str, kind: &str) -> Vec<String> {
    let engine = scene.engine(engine);
    let name = format!("DOCKER_RESOURCE_{kind}=");
    let format = "{{range .Config.Env}}{{println .}}{{end}}";
    let told = scene.containers(engine, service).unwrap().into_iter().map(|container| {
        let variables = docker(engine, &["inspect", "--format", format, &container]).unwrap();
        let value = variables.lines().find_map(|line| line.strip_prefix(&name));
        value.unwrap_or_else(|| panic!("no {name} in {variables}")).to_owned()
    });
    let mut told: Vec<String> = told.collect();
    told.sort_unstable();
    told
}
