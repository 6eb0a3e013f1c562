//! What becomes of containers that end, of themselves or because they cannot begin: replaced as often and as soon as the
//! policy says.

use std::time::{Duration, SystemTime};

use skep_proto::{
    prost_types,
    swarmkit::{RestartPolicy, TaskState, restart_policy::RestartCondition},
};

use super::{
    recording::{Happening, happenings},
    scene::{Scene, describe, state},
    spec::{Spec, replicated},
};

#[tokio::test(flavor = "multi_thread")]
async fn containers_that_end_are_replaced_as_the_policy_says() {
    let Some(scene) = Scene::new(2).await else { return };
    success_is_the_end(&scene).await;
    failures_are_tried_again_so_often_and_no_sooner(&scene).await;
    an_image_that_is_not_there_is_named_and_asked_for_so_often(&scene).await;
}

/// With on-failure, what exits with 0 has done its work.
async fn success_is_the_end(scene: &Scene) {
    let (began, replicas) = (SystemTime::now(), 2);
    let policy = policy(RestartCondition::OnFailure, Duration::ZERO, 0);
    let spec = replicated("errand", replicas).script("exit 0").restarts(policy);
    let service = scene.create(&spec).await;
    wait_for(scene, &service, TaskState::Complete, replicas as usize).await;
    nothing_more_comes(scene, &service, began, replicas as usize).await;
    scene.remove(&service).await;
}

async fn failures_are_tried_again_so_often_and_no_sooner(scene: &Scene) {
    let began = SystemTime::now();
    let (attempts, delay) = (2, Duration::from_millis(1_500));
    let policy = policy(RestartCondition::Any, delay, attempts);
    let spec = replicated("stubborn", 1).script("exit 1").restarts(policy);
    let service = scene.create(&spec).await;
    let containers = 1 + attempts as usize;
    let tasks = wait_for(scene, &service, TaskState::Failed, containers).await;
    for task in &tasks {
        let status = task.status.as_ref().unwrap();
        assert_eq!(status.err, "task: non-zero exit (1)");
    }
    let all = nothing_more_comes(scene, &service, began, containers).await;
    let ends = all.iter().filter(|happening| !happening.starts);
    let again = all.iter().filter(|happening| happening.starts).skip(1);
    for (end, start) in ends.zip(again) {
        let waited = start.at.duration_since(end.at).unwrap_or_default();
        assert!(waited >= delay, "{waited:?} between {end:?} and {start:?}");
    }
    scene.remove(&service).await;
}

async fn an_image_that_is_not_there_is_named_and_asked_for_so_often(scene: &Scene) {
    let (began, attempts) = (SystemTime::now(), 2);
    let policy = policy(RestartCondition::Any, Duration::from_millis(100), attempts);
    let mut spec = replicated("mistyped", 1).restarts(policy);
    spec.container().image = "skep-absent:1".to_owned();
    let service = scene.create(&spec).await;
    let tasks = wait_for(scene, &service, TaskState::Rejected, 1 + attempts as usize).await;
    for task in &tasks {
        let status = task.status.as_ref().unwrap();
        assert_eq!(status.err, "No such image: skep-absent:1", "{status:?}");
    }
    nothing_more_comes(scene, &service, began, 0).await;
    assert_eq!(scene.tasks(&service).await.unwrap().len(), tasks.len());
    scene.remove(&service).await;
}

/// Waits until so many tasks have ended like this, and there are no others.
async fn wait_for(
    scene: &Scene,
    service: &str,
    wanted: TaskState,
    count: usize,
) -> Vec<skep_proto::swarmkit::Task> {
    scene
        .wait(&format!("{count} tasks to be {wanted:?}"), async |scene| {
            let tasks = scene.tasks(service).await?;
            match tasks.len() == count && tasks.iter().all(|task| state(task) == wanted) {
                true => Ok(tasks),
                false => Err(describe(&tasks)),
            }
        })
        .await
}

/// The service had so many containers, and has no more after a whole other service has come and gone.
async fn nothing_more_comes(
    scene: &Scene,
    service: &str,
    since: SystemTime,
    count: usize,
) -> Vec<Happening> {
    let other: Spec = replicated("meanwhile", 2);
    let other = scene.create(&other).await;
    scene.wait_running(&other, 2).await;
    scene.remove(&other).await;
    let mut all: Vec<Happening> =
        scene.engines().iter().flat_map(|engine| happenings(engine, service, since)).collect();
    all.sort_by_key(|happening| happening.at);
    let started = all.iter().filter(|happening| happening.starts).count();
    assert_eq!(started, count, "{all:#?}");
    all
}

fn policy(condition: RestartCondition, delay: Duration, attempts: u64) -> RestartPolicy {
    RestartPolicy {
        condition: condition.into(),
        delay: Some(prost_types::Duration::try_from(delay).unwrap()),
        max_attempts: attempts,
        ..Default::default()
    }
}
