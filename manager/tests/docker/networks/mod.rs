//! Networks that span engines: what travels over them, who is on them, and that a stock manager would have given the same.
//!
//! `operations` is what the tests do to networks, `places` where a task's container is and what it can reach from there.

mod attached;
mod comparison;
mod full;
mod moves;
mod operations;
mod places;
mod published;
mod reach;
mod spec;

use operations::WEB_PORT;
use spec::overlay;

use crate::services::{
    scene::Scene,
    spec::{Spec, replicated},
};

/// One scene for all of it, as engines take long to start.
#[tokio::test(flavor = "multi_thread")]
async fn overlays_connect_containers_of_all_engines() {
    let Some(mut scene) = Scene::new(3).await else { return };
    let front = scene.create_network(overlay("front")).await;
    let back = scene.create_network(overlay("back")).await;
    let web = scene.create(&web("web", 3).network(&front)).await;
    scene.wait_running(&web, 3).await;

    reach::by_address_and_by_name(&scene, &front, &web).await;
    moves::a_service_to_another_network(&scene, &front, &back, &web).await;
    published::ports_of_hosts_answer_from_outside(&scene, &front).await;
    attached::a_container_of_an_engine_comes_and_goes(&scene).await;
    full::a_task_waits_for_an_address(&scene).await;
    reach::outlives_the_leader(&mut scene, &front, &web).await;
    scene.wait_gone().await;
}

/// A service whose containers answer with the ids of their tasks.
fn web(name: &str, replicas: u64) -> Spec {
    let script = format!("echo $TASK > /tmp/index.html; exec httpd -f -p {WEB_PORT} -h /tmp");
    replicated(name, replicas).script(&script).env("TASK", "{{.Task.ID}}").updated_at_once()
}
