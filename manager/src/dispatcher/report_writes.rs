//! Writes what nodes report about their tasks and volumes, a batch at a time.

use std::sync::Arc;

use skep_proto::{
    ids::{NodeId, TaskId, VolumeId},
    swarmkit::{Task, TaskStatus, Volume},
};
use skep_store::{StoreError, Tx, UpdateError};
use tokio::time::timeout;

use super::{
    leadership::Leadership,
    status_reports::{Batch, with_status, without_node},
    timing::{REPORT_BATCH_DELAY, REPORT_BATCH_MAX},
};

/// Writes reports for as long as it is polled.
pub(super) async fn run(leadership: &Leadership) {
    loop {
        gather(leadership).await;
        let Batch { tasks, released } = leadership.reports.lock().take();
        let by = &leadership.own_node;
        let written = leadership
            .store
            .batch(tasks.iter(), |tx, (task, status)| write_task(tx, *task, status, by))
            .await;
        let let_go = leadership
            .store
            .batch(released.iter(), |tx, (volume, node)| write_volume(tx, *volume, *node))
            .await;

        // What the store did not take for now is tried again, unless something later has been reported.
        let mut reports = leadership.reports.lock();
        let refused = |result: &Result<(), UpdateError<StoreError>>| {
            matches!(result, Err(UpdateError::Refused(_) | UpdateError::Unknown))
        };
        for ((task, status), _) in tasks.into_iter().zip(&written).filter(|(_, r)| refused(r)) {
            reports.task_again(task, status);
        }
        for ((volume, node), _) in released.into_iter().zip(&let_go).filter(|(_, r)| refused(r)) {
            reports.unpublished(volume, node);
        }
    }
}

/// Waits for the first report, then until no more are to be waited for.
async fn gather(leadership: &Leadership) {
    while leadership.reports.lock().is_empty() {
        leadership.reported.notified().await;
    }
    let full = async {
        while leadership.reports.lock().len() < REPORT_BATCH_MAX {
            leadership.reported.notified().await;
        }
    };
    // Either way there is something to write: enough of it, or what came in time.
    let _ = timeout(REPORT_BATCH_DELAY, full).await;
}

fn write_task(tx: &mut Tx, id: TaskId, status: &TaskStatus, by: &str) -> Result<(), StoreError> {
    let now = tx.now();
    let Some(task) = tx.get::<Task>(&id).map(Arc::clone) else { return Ok(()) };
    match with_status(&task, status, by, now) {
        Some(task) => tx.update(task).map(drop),
        None => Ok(()),
    }
}

fn write_volume(tx: &mut Tx, id: VolumeId, node: NodeId) -> Result<(), StoreError> {
    let Some(volume) = tx.get::<Volume>(&id).map(Arc::clone) else { return Ok(()) };
    match without_node(&volume, &node) {
        Some(volume) => tx.update(volume).map(drop),
        None => Ok(()),
    }
}
