//! Writes what nodes report about their tasks and volumes.
//!
//! A task passes through half a dozen states on its way to running, often within a few milliseconds. What it passes
//! through is waited for, so that it becomes one write; where it stays is written almost at once, since that is what the
//! control loops and people wait for. Several writes are in flight: each is decided on the head, which holds the ones
//! before it.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream::FuturesUnordered};
use skep_proto::{
    ids::{NodeId, TaskId, VolumeId},
    prost_types::Timestamp,
    swarmkit::{Task, TaskState, TaskStatus, Volume},
};
use skep_store::{Refusal, StoreError, Tx, UpdateError};
use tokio::time::{Instant, sleep_until};

use super::{
    leadership::Leadership,
    status_reports::{Batch, with_status, without_node},
    timing::{
        PASSING_GATHERED, READY_GATHERED, REPORT_RETRY_DELAY, REPORT_WRITE_MAX,
        REPORT_WRITES_IN_FLIGHT_MAX,
    },
};

/// Writes reports for as long as it is polled.
pub(super) async fn run(leadership: &Leadership) {
    let mut writes = FuturesUnordered::new();
    let mut pace = Pace::begin(Instant::now());
    loop {
        tokio::select! {
            batch = next_batch(leadership, &mut pace), if writes.len() < REPORT_WRITES_IN_FLIGHT_MAX => {
                writes.push(write(leadership, batch));
            }
            Some(()) = writes.next() => {}
        }
    }
}

/// When which reports are due.
struct Pace {
    /// When the last reports that were due were taken.
    wrote: Instant,
    /// Since when the oldest report of a passing task waits.
    passing_since: Option<Instant>,
}

impl Pace {
    fn begin(now: Instant) -> Pace {
        Pace { wrote: now - READY_GATHERED, passing_since: None }
    }
}

/// Waits until reports are due, and takes as many as go into one write. Safe to drop: it takes them at last.
async fn next_batch(leadership: &Leadership, pace: &mut Pace) -> Batch {
    loop {
        let (due, batch) = {
            let mut reports = leadership.reports.lock();
            let now = Instant::now();
            if reports.is_passing_empty() {
                pace.passing_since = None;
            } else {
                pace.passing_since.get_or_insert(now);
            }
            if pace.passing_since.is_some_and(|since| since + PASSING_GATHERED <= now) {
                // What comes from now on is gathered anew.
                pace.passing_since = None;
                reports.pass_on();
            }
            let passing = pace.passing_since.map(|since| since + PASSING_GATHERED);
            let ready = (!reports.is_ready_empty()).then(|| pace.wrote + READY_GATHERED);
            if ready.is_some_and(|due| due <= now) {
                let batch = reports.take(REPORT_WRITE_MAX);
                if reports.is_ready_empty() {
                    pace.wrote = now;
                }
                (None, Some(batch))
            } else {
                (ready.into_iter().chain(passing).min(), None)
            }
        };
        if let Some(batch) = batch {
            return batch;
        }
        let come = leadership.reported.notified();
        match due {
            Some(due) => tokio::select! {
                () = come => {}
                () = sleep_until(due) => {}
            },
            None => come.await,
        }
    }
}

async fn write(leadership: &Leadership, batch: Batch) {
    let Batch { tasks, released } = batch;
    let by = &leadership.own_node;
    let written = leadership
        .store
        .batch(tasks.iter(), |tx, (task, status)| write_task(tx, *task, status, by))
        .await;
    let let_go = leadership
        .store
        .batch(released.iter(), |tx, (volume, node)| write_volume(tx, *volume, *node))
        .await;
    for started in written.iter().filter_map(|result| result.as_ref().ok()).flatten() {
        leadership.metrics.started(started.delay);
    }
    let changed = written.iter().filter(|result| matches!(result, Ok(Some(_)))).count();
    leadership.metrics.statuses_written.inc_by(changed as u64);

    // What the store did not take for now is tried again, unless something later has been reported.
    let mut again = Batch::default();
    for ((task, status), result) in tasks.into_iter().zip(written) {
        if is_refused(&result.map(drop), "task", &task) {
            again.tasks.push((task, status));
        }
    }
    for ((volume, node), result) in released.into_iter().zip(let_go) {
        if is_refused(&result, "volume", &volume) {
            again.released.push((volume, node));
        }
    }
    if !again.tasks.is_empty() || !again.released.is_empty() {
        sleep_until(Instant::now() + REPORT_RETRY_DELAY).await;
        leadership.reports.lock().put_back(again);
        leadership.reported.notify_one();
    }
}

/// Whether the write may succeed later.
fn is_refused(
    result: &Result<(), UpdateError<StoreError>>,
    kind: &str,
    id: &dyn std::fmt::Display,
) -> bool {
    match result {
        Ok(()) => false,
        Err(UpdateError::Refused(Refusal::TooLarge)) => {
            tracing::error!(
                "a report about {kind} {id} is dropped: with it the {kind} is too large to be stored"
            );
            false
        }
        Err(UpdateError::Refused(_) | UpdateError::Unknown) => true,
        Err(UpdateError::Aborted(error)) => {
            tracing::error!(%error, "a report about {kind} {id} is dropped");
            false
        }
    }
}

/// A status that was written.
struct Written {
    /// How long after its creation the task runs, if that is what was reported.
    delay: Option<Duration>,
}

fn write_task(
    tx: &mut Tx,
    id: TaskId,
    status: &TaskStatus,
    by: &str,
) -> Result<Option<Written>, StoreError> {
    let now = tx.now();
    let Some(task) = tx.get::<Task>(&id).map(Arc::clone) else { return Ok(None) };
    let Some(changed) = with_status(&task, status, by, now) else { return Ok(None) };
    let ran =
        |task: &Task| task.status.as_ref().is_some_and(|s| s.state >= TaskState::Running as i32);
    let begins = status.state() == TaskState::Running && !ran(&task);
    let created = task.meta.as_ref().and_then(|meta| meta.created_at);
    let delay = created.filter(|_| begins).map(|created| between(&created, &now));
    tx.update(changed)?;
    Ok(Some(Written { delay }))
}

/// The time from one moment to another; nothing when the clock went back.
fn between(from: &Timestamp, to: &Timestamp) -> Duration {
    let nanos = |t: &Timestamp| i128::from(t.seconds) * 1_000_000_000 + i128::from(t.nanos);
    let nanos = u64::try_from((nanos(to) - nanos(from)).max(0)).unwrap_or(u64::MAX);
    Duration::from_nanos(nanos)
}

fn write_volume(tx: &mut Tx, id: VolumeId, node: NodeId) -> Result<(), StoreError> {
    let Some(volume) = tx.get::<Volume>(&id).map(Arc::clone) else { return Ok(()) };
    match without_node(&volume, &node) {
        Some(volume) => tx.update(volume).map(drop),
        None => Ok(()),
    }
}
