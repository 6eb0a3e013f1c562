//! The scheduler: gives every PENDING task a node, or tells it why it has to wait.
//!
//! `state` follows the store and knows what is free where, `place` decides, `decision` writes; the rules of a single
//! node are in `filter`, the choice among nodes in `spread`. Deciding is pure; only [`run`] knows the store.
//!
//! Decisions are made on kept state and counted at once, so the next pass does not wait for the write of the one
//! before; the transaction asks again whether the task still waits and the node is still the same.

mod decision;
mod explain;
mod failures;
mod filter;
mod group;
mod needs;
mod nodes;
mod place;
mod plan;
mod service;
mod spread;
mod state;
#[cfg(test)]
mod tests;

use std::time::Duration;

use skep_ca::Clock;
use skep_proto::swarmkit::Task;
use skep_store::{Kind, Lagged, Refusal, Selector, Store, UpdateError, View, Watcher};
use tokio::{task::JoinSet, time::sleep};

pub use decision::Decision;
pub use place::TEXT_INTERVAL;
pub use service::SchedulingService;
pub use state::State;

/// Tasks decided on before they are written: some transactions' worth, so that the first do not wait for the last.
pub const DECISIONS_MAX: usize = 2_000;
/// Passes being written at a time. A few keep the log busy while the next one is decided; what is in flight beyond that
/// only waits.
const WRITES_MAX: usize = 4;
/// Pause before the scheduler begins again after the store refused a write.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// A pass that was written, and what became of each decision.
type Written = Vec<(Decision, Result<(), UpdateError<decision::WriteError>>)>;

/// Schedules for as long as this manager leads. Never returns; safe to drop: the next leader goes on from the store.
pub async fn run(store: Store, clock: Clock) {
    loop {
        let (view, watcher) = store.watch(Selector::kinds(&[Kind::Node, Kind::Task]));
        let Some(state) = load(view, clock.clone()).await else { continue };
        let scheduler = Scheduler { store: store.clone(), clock: clock.clone(), state };
        match scheduler.work(watcher).await {
            Stopped::Lagged => tracing::info!("the scheduler fell behind and begins again"),
            Stopped::Refused => sleep(RETRY_DELAY).await,
        }
    }
}

/// Off the async threads: a large cluster takes a tenth of a second.
async fn load(view: View, clock: Clock) -> Option<State> {
    let loading = tokio::task::spawn_blocking(move || State::load(&view, clock.now()));
    match loading.await {
        Ok(state) => Some(state),
        Err(error) => {
            tracing::error!(%error, "reading the tasks failed; the scheduler tries again");
            sleep(RETRY_DELAY).await;
            None
        }
    }
}

/// Why the scheduler begins again.
enum Stopped {
    /// It fell behind the store.
    Lagged,
    /// The store took a pass no more, or may not have: what was counted may be wrong.
    Refused,
}

struct Scheduler {
    store: Store,
    clock: Clock,
    state: State,
}

impl Scheduler {
    async fn work(mut self, mut watcher: Watcher) -> Stopped {
        let mut writes: JoinSet<Written> = JoinSet::new();
        loop {
            if let Err(Lagged) = self.follow(&mut watcher) {
                return Stopped::Lagged;
            }
            while let Some(written) = writes.try_join_next() {
                if let Err(stopped) = self.settle(written.ok()) {
                    return stopped;
                }
            }
            if writes.len() < WRITES_MAX {
                let decisions = self.state.decide(self.clock.now(), DECISIONS_MAX);
                if !decisions.is_empty() {
                    writes.spawn(write(self.store.clone(), decisions));
                    // Others have a turn between two passes.
                    tokio::task::yield_now().await;
                    continue;
                }
            }
            tokio::select! {
                commit = watcher.next() => match commit {
                    Ok(commit) => self.state.apply(&commit, self.clock.now()),
                    Err(Lagged) => return Stopped::Lagged,
                },
                Some(written) = writes.join_next() => {
                    if let Err(stopped) = self.settle(written.ok()) {
                        return stopped;
                    }
                }
                () = sleep(TEXT_INTERVAL), if self.state.texts_due() => {}
            }
        }
    }

    /// Takes note of every commit that is there.
    fn follow(&mut self, watcher: &mut Watcher) -> Result<(), Lagged> {
        while let Some(commit) = watcher.try_next()? {
            self.state.apply(&commit, self.clock.now());
        }
        Ok(())
    }

    /// Takes back what was decided in vain. What was written comes with its commit, which changes nothing more.
    fn settle(&mut self, written: Option<Written>) -> Result<(), Stopped> {
        // None: the write panicked, which leaves it open what is in the store.
        for (decision, result) in written.ok_or(Stopped::Refused)? {
            match result {
                Ok(()) => {}
                Err(UpdateError::Aborted(error)) => {
                    tracing::debug!(%error, "decided in vain");
                    if let Decision::Assign { task: id, .. } = decision {
                        self.state.take_back(id);
                        if let Some(task) = self.store.view().get::<Task>(&id) {
                            self.state.put_task(id, task, self.clock.now());
                        }
                    }
                }
                Err(error @ (UpdateError::Refused(_) | UpdateError::Unknown)) => {
                    tracing::debug!(%error, "a pass of the scheduler was not written");
                    return Err(Stopped::Refused);
                }
            }
        }
        Ok(())
    }
}

async fn write(store: Store, decisions: Vec<Decision>) -> Written {
    let results = store.batch(&decisions, |tx, decision| decision.write(tx)).await;
    let mut written = Vec::with_capacity(decisions.len());
    for (decision, mut result) in decisions.into_iter().zip(results) {
        if matches!(result, Err(UpdateError::Refused(Refusal::TooLarge))) {
            // A task with a spec that is too large for a part of a batch has a transaction of its own.
            result = store.update(|tx| decision.write(tx)).await;
        }
        written.push((decision, result));
    }
    written
}
