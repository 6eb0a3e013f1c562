//! Acts on the nodes that stayed silent.

use skep_proto::{
    ids::{NodeId, TaskId},
    swarmkit::Task,
};
use skep_store::{By, StoreError};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::{
    leadership::Leadership,
    liveness::Expired,
    node_state::{NEVER_CAME, NodeChange, SILENT, orphaned},
    sessions::End,
    timing::{SWEEP_INTERVAL, UNKNOWN_RECORDED_AFTER},
};

/// A sweep that comes this many intervals late is skipped: the whole process stood still, and heartbeats that came in
/// meanwhile have to be read first.
const LATE_INTERVALS: u32 = 4;

/// Looks for expired nodes for as long as it is polled.
pub(super) async fn sweep(leadership: &Leadership) {
    let mut ticks = interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last = Instant::now();
    loop {
        let now = ticks.tick().await;
        let late = Instant::now().saturating_duration_since(last) > LATE_INTERVALS * SWEEP_INTERVAL;
        last = now.max(Instant::now());
        if late {
            continue;
        }
        let expired = leadership.liveness.lock().sweep(leadership.now());
        for expired in expired {
            act(leadership, expired).await;
        }
    }
}

/// Records, a while after this manager began to lead, which nodes have not come to it yet.
pub(super) async fn record_unknown(leadership: &Leadership) {
    sleep(UNKNOWN_RECORDED_AFTER).await;
    let nodes = leadership.liveness.lock().still_unknown();
    for node in nodes {
        leadership.write_later(node, NodeChange::Unknown).await;
    }
}

async fn act(leadership: &Leadership, expired: Expired) {
    match expired {
        Expired::Silent { node, session } => {
            tracing::info!(%node, "no heartbeat in time: the node is down");
            leadership.sessions.end_only(&node, &session, End::NotRegistered);
            leadership.write_later(node, NodeChange::Down(SILENT)).await;
        }
        Expired::NeverCame { node } => {
            tracing::info!(%node, "the node did not come to this leader: it is down");
            leadership.write_later(node, NodeChange::Down(NEVER_CAME)).await;
        }
        Expired::GivenUp { node } => give_up(leadership, node).await,
    }
}

/// Gives up the tasks of a node that has been down for too long, so that what they hold becomes free.
async fn give_up(leadership: &Leadership, node: NodeId) {
    let tasks: Vec<TaskId> = leadership
        .store
        .view()
        .find::<Task>(By::Node(node))
        .filter_map(|task| task.id.parse().ok())
        .collect();
    tracing::info!(%node, tasks = tasks.len(), "the node is down for too long: its tasks are given up");
    let results = leadership
        .store
        .batch(tasks, |tx, id| {
            let task = tx.get::<Task>(&id).filter(|task| task.node_id == node.as_str());
            match task.and_then(|task| orphaned(task)) {
                Some(task) => tx.update(task).map(drop),
                None => Ok::<(), StoreError>(()),
            }
        })
        .await;
    if let Some(error) = results.into_iter().find_map(Result::err) {
        tracing::warn!(%node, %error, "not all of the node's tasks were given up");
    }
}
