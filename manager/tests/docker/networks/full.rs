//! A network whose addresses are all taken.

use std::time::{Duration, Instant};

use skep_proto::swarmkit::TaskState;

use super::{spec::overlay, web};
use crate::services::scene::{Scene, describe, running, state};

/// Six addresses: the gateway's, one for the engine, and four for tasks.
const SUBNET: &str = "10.99.9.0/29";
const TASKS: usize = 4;
/// A task that waits goes on when an address is free, not when somebody looks again; some time for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(10);

/// It says what it waits for, and goes on as soon as an address is free.
pub async fn a_task_waits_for_an_address(scene: &Scene) {
    let network = scene.create_network(overlay("small").subnet(SUBNET)).await;
    let here = format!("node.hostname=={}", scene.engine(0).name());
    let spec = |name: &str, replicas| {
        web(name, replicas).network(&network).without_address().constraints(&[&here])
    };
    let first = scene.create(&spec("first", 1)).await;
    scene.wait_running(&first, 1).await;
    let late = scene.create(&spec("late", TASKS as u64)).await;
    let waits = scene
        .wait("one task to wait for an address", async |scene| {
            let tasks = scene.tasks(&late).await?;
            let waits = |task: &&skep_proto::swarmkit::Task| state(task) == TaskState::New;
            let waiting: Vec<_> = tasks.iter().filter(waits).collect();
            match waiting[..] {
                [waiting] if running(&tasks).count() == TASKS - 1 => Ok(waiting.clone()),
                _ => Err(describe(&tasks)),
            }
        })
        .await;
    assert!(waits.networks.iter().all(|attachment| attachment.addresses.is_empty()), "{waits:?}");
    let status = waits.status.unwrap_or_default();
    let said = format!("{} {}", status.message, status.err);
    for word in ["small", SUBNET] {
        assert!(said.contains(word), "it does not say that network {word} is full: {status:?}");
    }

    let freed = Instant::now();
    scene.remove(&first).await;
    assert_eq!(scene.wait_running(&late, TASKS).await, [TASKS, 0, 0]);
    assert!(freed.elapsed() < AT_ONCE, "it went on only after {:?}", freed.elapsed());
    scene.let_go(&late).await;
}
