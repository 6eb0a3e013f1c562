//! A container that an engine's user puts on a network of the swarm.

use skep_proto::swarmkit::{Task, TaskState};
use skep_testkit::docker_hosts::HostsError;

use super::{
    operations::{WEB_PORT, addresses_on},
    places::Place,
    spec::overlay,
    web,
};
use crate::{
    services::{
        scene::{Scene, state},
        spec::IMAGE,
    },
    support::docker,
};

const SUBNET: &str = "10.99.7.0/24";
/// What the container is called, and what its web server says.
const NAME: &str = "visitor";

/// It reaches a container of a service on another engine and is reached; when it goes, its task and address do.
pub async fn a_container_of_an_engine_comes_and_goes(scene: &Scene) {
    let network = scene.create_network(overlay("open").subnet(SUBNET).attachable()).await;
    let closed = scene.create_network(overlay("closed")).await;
    let service = scene.create(&web("served", 3).network(&network)).await;
    scene.wait_running(&service, 3).await;
    let served = scene.places(&service, &network).await;

    let refused = run(scene, "lonely", &["--network", "closed"]).unwrap_err().to_string();
    assert!(refused.contains("not manually attachable"), "{refused}");
    assert_eq!(scene.attachments().await.unwrap(), []);

    let container = run(scene, NAME, &["--network", "open"]).unwrap();
    let task = wait_attached(scene, 1).await.remove(0);
    let addresses = addresses_on(&task, &network);
    assert_eq!(addresses.len(), 1, "{task:?}");
    let visitor = Place {
        engine: scene.engine(0),
        container: container.trim().to_owned(),
        says: NAME.to_owned(),
        address: addresses[0].clone(),
    };
    let visitors = [visitor];
    scene.wait_reach(&visitors, &served).await;
    scene.wait_reach(&served, &visitors).await;

    // While it is there, nobody else gets its address; afterwards whoever asks for it.
    let wanted = ["--network", "open", "--ip", &addresses[0]];
    run(scene, "second", &wanted).unwrap_err();
    docker(scene.engine(0), &["rm", "--force", "second", NAME]).unwrap();
    wait_attached(scene, 0).await;
    run(scene, "third", &wanted).unwrap();
    let task = wait_attached(scene, 1).await.remove(0);
    assert_eq!(addresses_on(&task, &network), addresses);
    docker(scene.engine(0), &["rm", "--force", "third"]).unwrap();
    wait_attached(scene, 0).await;

    scene.let_go(&service).await;
    scene.remove_network(&closed).await;
}

/// Runs a container with a web server on the first engine, as a user of the engine does.
fn run(scene: &Scene, name: &str, options: &[&str]) -> Result<String, HostsError> {
    let script = format!("echo {name} > /tmp/index.html; exec httpd -f -p {WEB_PORT} -h /tmp");
    let words = ["run", "--detach", "--name", name];
    let program = [IMAGE, "sh", "-c", &script];
    docker(scene.engine(0), &[&words, options, &program].concat())
}

/// Waits until so many containers are attached and run.
async fn wait_attached(scene: &Scene, count: usize) -> Vec<Task> {
    scene
        .wait(&format!("{count} attachments"), async |scene| {
            let tasks = scene.attachments().await?;
            let all_run = tasks.iter().all(|task| state(task) == TaskState::Running);
            if tasks.len() == count && all_run { Ok(tasks) } else { Err(format!("{tasks:?}")) }
        })
        .await
}
