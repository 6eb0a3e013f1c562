//! Replicated services: spread over the engines, mended, scaled, and moved from a node that is drained.

use std::time::Duration;

use skep_proto::swarmkit::{
    Annotations, CreateSecretRequest, FileTarget, RestartPolicy, SecretReference, SecretSpec,
    TaskState, node_spec::Availability, restart_policy::RestartCondition, secret_reference,
};

use super::{
    scene::{Scene, running, state},
    spec::replicated,
};
use crate::support::docker;

const PASSWORD: &str = "correct horse";
/// Longer than any wait of the tests.
const LONG: Duration = Duration::from_secs(600);

#[tokio::test(flavor = "multi_thread")]
async fn replicas_are_spread_mended_scaled_and_go() {
    let Some(scene) = Scene::new(3).await else { return };
    let spec = replicated("sleepers", 6).secret(secret(&scene).await);
    let service = scene.create(&spec).await;
    assert_eq!(scene.wait_running(&service, 6).await, [2, 2, 2], "they are not spread");
    has_the_secret_for_itself_alone(&scene, &service);
    a_container_that_dies_is_replaced(&scene, &service, 6).await;

    let spec = spec.replicas(9);
    scene.update(&service, &spec).await;
    assert_eq!(scene.wait_running(&service, 9).await, [3, 3, 3], "they are not spread");
    let spec = spec.replicas(4);
    scene.update(&service, &spec).await;
    let on_each = scene.wait_running(&service, 4).await;
    assert!(on_each.iter().all(|count| (1..=2).contains(count)), "{on_each:?}");
    a_drained_node_is_left(&scene, &service, &spec.clone().replicas(6)).await;
    // A node that takes nothing new keeps what it has.
    scene.set_availability(scene.engine(0), Availability::Pause).await;
    scene.update(&service, &spec.replicas(10)).await;
    assert_eq!(scene.wait_running(&service, 10).await, [2, 4, 4]);
    scene.remove(&service).await;
}

fn has_the_secret_for_itself_alone(scene: &Scene, service: &str) {
    let engine = scene.engine(0);
    let container = scene.containers(engine, service).unwrap().remove(0);
    let read = docker(engine, &["exec", &container, "cat", "/run/secrets/password"]).unwrap();
    assert_eq!(read, PASSWORD);
    let listed =
        docker(engine, &["exec", &container, "ls", "-l", "/run/secrets/password"]).unwrap();
    assert!(listed.starts_with("-r--------"), "{listed}");
}

async fn a_container_that_dies_is_replaced(scene: &Scene, service: &str, count: usize) {
    let engine = scene.engine(0);
    let container = scene.containers(engine, service).unwrap().remove(0);
    docker(engine, &["kill", &container]).unwrap();
    scene
        .wait("the container to be replaced", async |scene| {
            let all = scene.tasks(service).await?;
            let failed = all.iter().filter(|task| state(task) == TaskState::Failed).count();
            let running = running(&all).count();
            let now = scene.containers(engine, service)?;
            if failed == 1 && running == count && !now.contains(&container) {
                Ok(())
            } else {
                Err(format!("{failed} failed, {running} running; {now:?}"))
            }
        })
        .await;
}

/// Its tasks go to the others; when it is back, nothing is moved for its sake, and what is new comes to it.
async fn a_drained_node_is_left(scene: &Scene, service: &str, more: &super::spec::Spec) {
    let count = 4;
    // A delay is for what has failed, not for what is moved.
    let delay = Some(LONG.try_into().unwrap());
    let condition = RestartCondition::Any.into();
    let policy = RestartPolicy { condition, delay, ..Default::default() };
    let patient = scene.create(&replicated("patient", 3).restarts(policy)).await;
    scene.wait_running(&patient, 3).await;
    scene.set_availability(scene.engine(0), Availability::Drain).await;
    assert_eq!(scene.wait_running(service, count).await, [0, 2, 2], "they are not moved");
    assert_eq!(scene.wait_running(&patient, 3).await.iter().sum::<usize>(), 3, "they are delayed");
    scene.remove(&patient).await;
    let before = ids(scene, service).await;
    scene.set_availability(scene.engine(0), Availability::Active).await;
    scene.update(service, more).await;
    assert_eq!(scene.wait_running(service, 6).await, [2, 2, 2], "what is new goes elsewhere");
    let after = ids(scene, service).await;
    assert!(before.iter().all(|id| after.contains(id)), "{before:?} {after:?}");
}

async fn ids(scene: &Scene, service: &str) -> Vec<String> {
    let tasks = scene.tasks(service).await.unwrap();
    running(&tasks).map(|task| task.id.clone()).collect()
}

async fn secret(scene: &Scene) -> SecretReference {
    let name = "password".to_owned();
    let secret = SecretSpec {
        annotations: Some(Annotations { name: name.clone(), ..Default::default() }),
        data: PASSWORD.as_bytes().to_vec().into(),
        ..Default::default()
    };
    let request = CreateSecretRequest { spec: Some(secret) };
    let created = scene.manager().control_client().create_secret(request).await.unwrap();
    let (uid, gid) = ("0".to_owned(), "0".to_owned());
    let target = FileTarget { name: name.clone(), uid, gid, mode: 0o400 };
    SecretReference {
        secret_id: created.into_inner().secret.unwrap().id,
        secret_name: name,
        target: Some(secret_reference::Target::File(target)),
    }
}
