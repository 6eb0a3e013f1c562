//! Rolling updates: how many containers run at every moment of one, how many places are in change at a time, and what
//! runs in the end.

use std::{collections::BTreeSet, time::Duration};

use skep_proto::{
    prost_types,
    swarmkit::{
        UpdateConfig,
        update_config::{FailureAction, UpdateOrder},
        update_status::UpdateState,
    },
};

use super::{
    recording::{Recording, least_and_most},
    scene::Scene,
    spec::{Spec, replicated},
};
use crate::support::docker;

const REPLICAS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn updates_keep_what_runs_within_bounds() {
    let Some(scene) = Scene::new(2).await else { return };
    let spec = replicated("web", REPLICAS as u64);
    let service = scene.create(&spec).await;
    scene.wait_running(&service, REPLICAS).await;
    start_first_never_runs_less(&scene, &service, &spec.clone().env("SPEC", "2")).await;
    stop_first_never_runs_more(&scene, &service, &spec.env("SPEC", "3")).await;
    scene.remove(&service).await;
}

async fn start_first_never_runs_less(scene: &Scene, service: &str, spec: &Spec) {
    let (parallelism, delay) = (2, Duration::from_millis(800));
    let config = config(UpdateOrder::StartFirst, parallelism, delay);
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, &spec.clone().updates(config)).await;
    recording.until(UpdateState::Completed).await;
    all_have(scene, service, "SPEC=2").await;

    recording.keeps(parallelism, delay);
    assert_eq!(recording.turns(), REPLICAS);
    // How many more ran depends on how soon the old ones stop, which nobody waits for.
    assert_eq!(recording.least, REPLICAS, "tasks ran");
    assert!(recording.most > REPLICAS, "{} tasks ran", recording.most);
    let (least, most) = least_and_most(&recording.containers(scene, service), REPLICAS);
    assert_eq!(least, REPLICAS, "containers ran");
    assert!(most > REPLICAS, "{most} containers ran");
}

async fn stop_first_never_runs_more(scene: &Scene, service: &str, spec: &Spec) {
    let (parallelism, delay) = (1, Duration::from_millis(300));
    let config = config(UpdateOrder::StopFirst, parallelism, delay);
    let mut recording = Recording::begin(scene, service).await;
    scene.update(service, &spec.clone().updates(config)).await;
    recording.until(UpdateState::Completed).await;
    all_have(scene, service, "SPEC=3").await;

    recording.keeps(parallelism, delay);
    assert_eq!(recording.turns(), REPLICAS);
    let least = REPLICAS - parallelism;
    assert_eq!((recording.least, recording.most), (least, REPLICAS), "tasks ran");
    let ran = least_and_most(&recording.containers(scene, service), REPLICAS);
    assert_eq!(ran, (least, REPLICAS), "containers ran");
}

fn config(order: UpdateOrder, parallelism: usize, delay: Duration) -> UpdateConfig {
    UpdateConfig {
        parallelism: parallelism as u64,
        delay: Some(prost_types::Duration::try_from(delay).unwrap()),
        failure_action: FailureAction::Pause.into(),
        monitor: Some(prost_types::Duration { seconds: 0, nanos: 500_000_000 }),
        max_failure_ratio: 0.0,
        order: order.into(),
    }
}

/// Waits until as many containers run as should, and looks into the environment of each.
pub async fn all_have(scene: &Scene, service: &str, variable: &str) {
    scene.wait_running(service, REPLICAS).await;
    let found = environments(scene, service);
    assert!(found.iter().all(|env| env.contains(variable)), "{variable}: {found:?}");
}

/// The environment of each running container.
pub fn environments(scene: &Scene, service: &str) -> Vec<BTreeSet<String>> {
    let mut found = Vec::new();
    for engine in scene.engines() {
        for container in scene.containers(engine, service).unwrap() {
            let format = "{{range .Config.Env}}{{println .}}{{end}}";
            let env = docker(engine, &["inspect", "--format", format, &container]).unwrap();
            found.push(env.lines().map(str::to_owned).collect());
        }
    }
    found
}
