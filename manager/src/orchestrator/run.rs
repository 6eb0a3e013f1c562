//! The loop: takes in what was committed, plans, writes a batch, and takes note of what came of it.

use std::{sync::Arc, time::Duration};

use rand::rngs::StdRng;
use skep_ca::Clock;
use skep_proto::prost_types::Timestamp;
use skep_store::{
    Commit, Kind, Lagged, Refusal, Selector, Store, StoreError, UpdateError, Watcher,
};

use super::{
    act::{Outcome, Part, act},
    mind::{Mind, Wake},
    moment::Moment,
};
use crate::allocator::Book;

/// Pause after a refused write before everything is looked at anew: until the group takes proposals again, or this manager
/// hears that it leads no more.
pub(super) const RETRY_DELAY: Duration = Duration::from_millis(100);
/// Pause before a service is looked at again of which a write was refused for its own sake.
const SERVICE_RETRY_DELAY: Duration = Duration::from_secs(5);

/// Why what is in memory may not be what is in the store.
#[derive(Debug, thiserror::Error)]
pub(super) enum Lost {
    #[error("commits came faster than they were taken in: looking at everything anew")]
    Lagged(#[from] Lagged),
    #[error("tasks were not written, looking at everything anew: {0}")]
    Write(UpdateError<StoreError>),
}

/// The orchestrator at work. What it knows is gone when it is dropped, and the next one finds it in the store.
pub(super) struct Orchestrator {
    store: Store,
    book: Book,
    clock: Clock,
    rng: StdRng,
    watcher: Watcher,
    mind: Mind,
}

impl Orchestrator {
    /// Begins from what is committed.
    pub(super) fn new(store: Store, book: Book, clock: Clock, rng: StdRng) -> Orchestrator {
        let kinds = [Kind::Task, Kind::Service, Kind::Node];
        let (view, watcher) = store.watch(Selector::kinds(&kinds));
        Orchestrator { store, book, clock, rng, watcher, mind: Mind::of(&view) }
    }

    /// Works until it has to begin anew, and says why. Safe to drop.
    pub(super) async fn work(&mut self) -> Lost {
        loop {
            match self.pass().await {
                Err(lost) => return lost,
                Ok(true) => {}
                Ok(false) => match self.wait().await {
                    Ok(commit) => self.take_in(commit.as_deref()),
                    Err(lost) => return lost.into(),
                },
            }
        }
    }

    /// Takes in what was committed, and writes one batch of what follows from it. Says whether there was anything to write.
    pub(super) async fn pass(&mut self) -> Result<bool, Lost> {
        while let Some(commit) = self.watcher.try_next()? {
            self.take_in(Some(&commit));
        }
        let now = self.now();
        self.mind.wake(now);
        // The view is given back before writing: who changes what nobody looks at need not copy it.
        self.mind.plan(&self.store.view(), Timestamp::from(self.clock.now()));
        let parts = self.mind.take(now);
        if parts.is_empty() {
            return Ok(false);
        }
        self.write(parts).await?;
        Ok(true)
    }

    /// When something is due that no commit will tell of.
    pub(super) fn next_wake(&self) -> Option<Moment> {
        self.mind.next_wake()
    }

    /// Waits for a commit, or until something is due.
    async fn wait(&mut self) -> Result<Option<Arc<Commit>>, Lagged> {
        let due = self.next_wake();
        let clock = self.clock.clone();
        let sleep = async {
            match due {
                Some(at) => clock.sleep_until(at.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            commit = self.watcher.next() => commit.map(Some),
            () = sleep => Ok(None),
        }
    }

    fn take_in(&mut self, commit: Option<&Commit>) {
        let now = self.now();
        if let Some(commit) = commit {
            self.mind.observe(commit, now);
        }
    }

    async fn write(&mut self, parts: Vec<Part>) -> Result<(), Lost> {
        let (rng, book) = (&mut self.rng, &self.book);
        let results = self.store.batch(&parts, |tx, part| act(tx, book, part, rng)).await;
        for (part, result) in parts.iter().zip(results) {
            let result = match result {
                // Alone it has more room.
                Err(UpdateError::Refused(Refusal::TooLarge)) => {
                    let (rng, book) = (&mut self.rng, &self.book);
                    self.store.update(|tx| act(tx, book, part, rng)).await
                }
                result => result,
            };
            self.settle(part, result)?;
        }
        Ok(())
    }

    fn settle(
        &mut self,
        part: &Part,
        result: Result<Outcome, UpdateError<StoreError>>,
    ) -> Result<(), Lost> {
        let now = self.now();
        match result {
            Ok(outcome) => self.mind.absorb(part, outcome, now),
            // Its own object is to blame, and no other part need wait for that.
            Err(error @ (UpdateError::Aborted(_) | UpdateError::Refused(Refusal::TooLarge))) => {
                tracing::error!(?part, %error, "a task could not be written; its service is looked at again");
                if let Some(service) = part.service() {
                    self.mind.wake_at(now.after(SERVICE_RETRY_DELAY), Wake::Service(service));
                }
            }
            Err(error) => return Err(Lost::Write(error)),
        }
        Ok(())
    }

    fn now(&self) -> Moment {
        self.clock.now().into()
    }
}
