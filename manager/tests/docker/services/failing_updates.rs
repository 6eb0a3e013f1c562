//! Updates to something that cannot run: paused, rolled back, or gone on with; and going back by hand.

use std::collections::BTreeSet;

use skep_proto::{
    prost_types,
    swarmkit::{
        RestartPolicy, Service, TaskState, UpdateConfig, UpdateServiceRequest,
        restart_policy::RestartCondition,
        update_config::{FailureAction, UpdateOrder},
        update_service_request::Rollback,
        update_status::UpdateState,
    },
};

use super::{
    recording::Recording,
    rolling_updates::all_have,
    scene::{Scene, running, state},
    spec::{Spec, replicated},
};

const REPLICAS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn updates_that_fail_are_paused_rolled_back_or_gone_on_with() {
    let Some(scene) = Scene::new(2).await else { return };
    let mut spec = replicated("web", REPLICAS as u64)
        .updates(watchful(FailureAction::Pause))
        .restarts(seldom());
    spec.0.rollback = Some(quick(FailureAction::Pause));
    let service = scene.create(&spec).await;
    scene.wait_running(&service, REPLICAS).await;
    let broken = spec.clone().script("exit 1").env("SPEC", "broken");

    it_is_paused_and_the_rest_is_left_alone(&scene, &service, &broken).await;
    let spec = spec.updates(quick(FailureAction::Pause));
    let good = spec.clone().env("SPEC", "2");
    another_update_goes_on(&scene, &service, &good).await;
    what_is_started_first_and_does_not_start_takes_nothing_away(&scene, &service, &good).await;
    let broken = broken.updates(watchful(FailureAction::Rollback));
    it_is_rolled_back_by_itself(&scene, &service, &broken).await;
    it_is_rolled_back_by_hand(&scene, &service, &spec.env("SPEC", "3")).await;
    let broken = broken.updates(quick(FailureAction::Continue));
    who_goes_on_loses_all(&scene, &service, &broken).await;
    scene.remove(&service).await;
}

async fn it_is_paused_and_the_rest_is_left_alone(scene: &Scene, service: &str, broken: &Spec) {
    let before = containers(scene, service);
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, broken).await;
    let paused = recording.until(UpdateState::Paused).await;
    let failed = recording.newcomers().find(|t| state(t) == TaskState::Failed).unwrap();
    assert_eq!(
        message(&paused),
        format!("update paused due to failure or early termination of task {}", failed.id)
    );
    assert_eq!(recording.places(), 1, "one place was tried");
    let after = containers(scene, service);
    assert!(after.is_subset(&before) && after.len() == REPLICAS - 1, "{before:?} {after:?}");
}

async fn another_update_goes_on(scene: &Scene, service: &str, good: &Spec) {
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, good).await;
    let completed = recording.until(UpdateState::Completed).await;
    assert_eq!(message(&completed), "update completed");
    all_have(scene, service, "SPEC=2").await;
}

/// Nor does it restart anything to go back to what runs still.
async fn what_is_started_first_and_does_not_start_takes_nothing_away(
    scene: &Scene,
    service: &str,
    good: &Spec,
) {
    let before = containers(scene, service);
    let mut config = watchful(FailureAction::Pause);
    config.set_order(UpdateOrder::StartFirst);
    let mut recording = Recording::begin(scene, service).await;
    let mut mistyped = good.clone().updates(config);
    mistyped.container().command = vec!["no-such-program".to_owned()];
    scene.update(service, &mistyped).await;
    recording.until(UpdateState::Paused).await;
    assert_eq!(recording.places(), 1, "one place was tried");
    let failed = recording.newcomers().find(|task| state(task) == TaskState::Failed).unwrap();
    let err = &failed.status.as_ref().unwrap().err;
    assert!(err.contains("no-such-program"), "{err}");
    assert_eq!(containers(scene, service), before);

    scene.update(service, good).await;
    recording.until(UpdateState::Completed).await;
    all_have(scene, service, "SPEC=2").await;
    assert_eq!(containers(scene, service), before);
}

async fn it_is_rolled_back_by_itself(scene: &Scene, service: &str, broken: &Spec) {
    let before = containers(scene, service);
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, broken).await;
    let begun = recording.until(UpdateState::RollbackStarted).await;
    let failed = recording.newcomers().find(|t| state(t) == TaskState::Failed).unwrap();
    assert_eq!(
        message(&begun),
        format!("update rolled back due to failure or early termination of task {}", failed.id)
    );
    let done = recording.until(UpdateState::RollbackCompleted).await;
    assert_eq!(message(&done), "rollback completed");
    assert_eq!(recording.places(), 1, "one place was tried");
    all_have(scene, service, "SPEC=2").await;
    let kept = containers(scene, service).intersection(&before).count();
    assert_eq!(kept, REPLICAS - 1, "the others were left alone");
}

async fn it_is_rolled_back_by_hand(scene: &Scene, service: &str, other: &Spec) {
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, other).await;
    recording.until(UpdateState::Completed).await;
    all_have(scene, service, "SPEC=3").await;

    let now = scene.service(service).await.unwrap();
    let request = UpdateServiceRequest {
        service_id: now.id,
        service_version: now.meta.and_then(|meta| meta.version),
        spec: now.spec,
        rollback: Rollback::Previous.into(),
    };
    scene.manager().control_client().update_service(request).await.unwrap();
    let begun = recording.until(UpdateState::RollbackStarted).await;
    assert_eq!(message(&begun), "manually requested rollback");
    recording.until(UpdateState::RollbackCompleted).await;
    all_have(scene, service, "SPEC=2").await;
}

async fn who_goes_on_loses_all(scene: &Scene, service: &str, broken: &Spec) {
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, broken).await;
    recording.until(UpdateState::Completed).await;
    let tasks = scene.tasks(service).await.unwrap();
    assert_eq!(running(&tasks).count(), 0, "all were moved to a spec that cannot run");
    assert!(containers(scene, service).is_empty());
}

fn message(service: &Service) -> &str {
    service.update_status.as_ref().map_or("", |status| &status.message)
}

fn containers(scene: &Scene, service: &str) -> BTreeSet<String> {
    let on_each = scene.engines().iter().map(|engine| scene.containers(engine, service).unwrap());
    on_each.flatten().collect()
}

/// One place at a time, and each for long enough that what fails has failed before the next one's turn.
fn watchful(action: FailureAction) -> UpdateConfig {
    UpdateConfig {
        parallelism: 1,
        delay: Some(prost_types::Duration { seconds: 3, nanos: 0 }),
        ..quick(action)
    }
}

/// All places at once.
fn quick(action: FailureAction) -> UpdateConfig {
    UpdateConfig {
        parallelism: 0,
        delay: None,
        failure_action: action.into(),
        monitor: Some(prost_types::Duration { seconds: 1, nanos: 0 }),
        ..Default::default()
    }
}

/// What fails is not replaced while the test looks on.
fn seldom() -> RestartPolicy {
    RestartPolicy {
        condition: RestartCondition::Any.into(),
        delay: Some(prost_types::Duration { seconds: 3_600, nanos: 0 }),
        ..Default::default()
    }
}
