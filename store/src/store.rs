//! The store as its users hold it: reading, writing, watching, and what the raft group tells it.

use std::{sync::Arc, time::SystemTime};

use bytes::Bytes;
use parking_lot::Mutex;
use rand::{RngCore, SeedableRng, rngs::StdRng};
use skep_proto::swarmkit::ClusterSnapshot;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{
    ApplyError, Proposer, Refusal, RestoreError, ResumeError, Selector, StoreSnapshotCapture, Tx,
    UpdateError, View, Watcher,
    view::Committed,
    writer::{Fate, PROPOSAL_BYTES_MAX, Waiter, Writer},
};

/// Room for proposals in flight, in bytes. What is in flight is held in memory twice, and is what a new leader may have to
/// catch up with.
pub const IN_FLIGHT_BYTES_MAX: usize = 32 << 20;
/// The least room that a proposal takes, which bounds their number to 8,192.
pub const IN_FLIGHT_BYTES_EACH_MIN: usize = 4 << 10;
/// Changes after which a batch goes on in the next proposal, as in SwarmKit.
pub const BATCH_CHANGES_MAX: usize = 200;
/// Size after which a batch goes on in the next proposal, as in SwarmKit: three quarters of the largest.
pub const BATCH_BYTES_MAX: usize = PROPOSAL_BYTES_MAX / 4 * 3;
/// Size of one part of a batch, in bytes: what always fits after [`BATCH_BYTES_MAX`]. The rest is the entry's own frame.
pub const BATCH_PART_BYTES_MAX: usize = PROPOSAL_BYTES_MAX / 4 - 64;

/// Gives the time of day; a test gives its own.
pub type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

/// A committed entry of the log.
#[derive(Clone, Debug)]
pub struct LogEntry {
    /// Its index. Indexes rise, but not every one is the store's.
    pub index: u64,
    /// The ticket under which this store proposed it, if it did.
    pub ticket: Option<u64>,
    /// An InternalRaftRequest, or nothing.
    pub data: Bytes,
}

struct Shared {
    committed: Arc<Committed>,
    writer: Mutex<Writer>,
    room: Arc<Semaphore>,
}

/// The replicated objects. Cheap to clone; all clones are one store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Store {
    /// An empty store that follows. Times of objects come from `clock`, ids of log entries from `rng`.
    pub fn new(clock: Clock, rng: impl RngCore + Send + 'static) -> Store {
        let committed = Arc::<Committed>::default();
        Store {
            shared: Arc::new(Shared {
                committed: committed.clone(),
                writer: Mutex::new(Writer::new(clock, Box::new(rng), committed)),
                room: Arc::new(Semaphore::new(IN_FLIGHT_BYTES_MAX)),
            }),
        }
    }

    /// An empty store with the machine's clock and randomness.
    pub fn system() -> Store {
        Store::new(Arc::new(SystemTime::now), StdRng::from_os_rng())
    }

    /// What is committed now. O(1); waits for no transaction, at most for the entry that is being applied.
    pub fn view(&self) -> View {
        self.shared.committed.view()
    }

    /// Whether transactions are taken.
    pub fn leads(&self) -> bool {
        self.shared.writer.lock().leads()
    }

    /// How many proposals are in flight.
    pub fn in_flight(&self) -> usize {
        self.shared.writer.lock().in_flight()
    }

    /// Runs a transaction, on the leader only, and returns what the closure returned once its changes are committed and in
    /// [`view`](Store::view).
    ///
    /// The closure runs at most once, on the head: it sees what earlier transactions wrote, committed or not, and its own writes. It
    /// must be quick, since every writer waits for it, and must not call the store. What it returns, its error too, is given to the caller
    /// only when everything that it may have read is committed; if that will not be, the error is [`UpdateError::Refused`].
    ///
    /// When the future is dropped before the closure ran nothing happens; after that the write goes on without it.
    pub async fn update<R, E>(
        &self,
        transaction: impl FnOnce(&mut Tx) -> Result<R, E>,
    ) -> Result<R, UpdateError<E>> {
        let permit = self.room().await?;
        let (result, outcome) = self.run(permit, transaction)?;
        let fate = outcome.fate().await;
        match (result, fate) {
            (Ok(value), Fate::Committed) => Ok(value),
            (Err(error), Fate::Committed) => Err(UpdateError::Aborted(error)),
            (_, Fate::Refused(why)) => Err(UpdateError::Refused(why)),
            (_, Fate::Unknown) => Err(UpdateError::Unknown),
        }
    }

    /// Runs the closure for each item, many of them in one proposal (up to [`BATCH_CHANGES_MAX`] changes or
    /// [`BATCH_BYTES_MAX`]), and returns a result for each, in order, once all are settled.
    ///
    /// Each call is a part that is committed whole or not at all: when it returns an error, what it wrote is taken back and the
    /// other parts go on. The batch as a whole is not atomic, and other transactions may come between its proposals. A part of more than
    /// [`BATCH_PART_BYTES_MAX`] is refused as too large: use [`update`](Store::update) for such. After a refused proposal the
    /// rest of the items is refused without a call. The closure is bound by the same rules as that of `update`.
    ///
    /// When the future is dropped, what is proposed by then goes on without it.
    pub async fn batch<T, R, E>(
        &self,
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Tx, T) -> Result<R, E>,
    ) -> Vec<Result<R, UpdateError<E>>> {
        let mut items = items.into_iter().peekable();
        let mut proposals = Vec::new();
        let mut refused = None;
        while items.peek().is_some() {
            if !proposals.is_empty() {
                // Others have a turn between two proposals.
                tokio::task::yield_now().await;
            }
            let proposed = match self.room().await {
                Ok(permit) => self.run_parts(permit, &mut items, &mut each),
                Err(why) => Err(why),
            };
            match proposed {
                Ok(proposal) => proposals.push(proposal),
                Err(why) => {
                    refused = Some(why);
                    break;
                }
            }
        }
        let mut results = Vec::new();
        for (parts, outcome) in proposals {
            let fate = outcome.fate().await;
            if let Fate::Refused(why) = fate {
                refused = refused.or(Some(why));
            }
            results.extend(parts.into_iter().map(|part| match (part, fate) {
                (part, Fate::Committed) => part,
                (Err(UpdateError::Refused(why)), _) | (_, Fate::Refused(why)) => {
                    Err(UpdateError::Refused(why))
                }
                (_, Fate::Unknown) => Err(UpdateError::Unknown),
            }));
        }
        if let Some(why) = refused {
            results.extend(items.map(|_| Err(UpdateError::Refused(why))));
        }
        results
    }

    /// A view and a watcher that sees everything after it, and nothing that is in it.
    pub fn watch(&self, selector: Selector) -> (View, Watcher) {
        let mut writer = self.shared.writer.lock();
        (writer.view(), writer.watches.watch(selector))
    }

    /// A watcher that sees every commit after `version`, as far as those are still kept in memory.
    pub fn watch_from(&self, version: u64, selector: Selector) -> Result<Watcher, ResumeError> {
        let mut writer = self.shared.writer.lock();
        let newest = writer.view().version();
        writer.watches.watch_from(version, newest, selector)
    }

    /// This manager leads in a new epoch, and everything up to its election is applied: from now on transactions are taken.
    pub fn lead(&self, epoch: u64, commit_index: u64, proposer: Arc<dyn Proposer>) {
        self.shared.writer.lock().lead(epoch, commit_index, proposer);
    }

    /// This manager leads no more. What is in flight may or may not be committed; callers are told so.
    pub fn follow(&self) {
        let verdicts = self.shared.writer.lock().follow();
        verdicts.deliver();
    }

    /// The proposal with this ticket, and everything after it in its epoch, will not be committed. Transactions are refused until
    /// the next [`lead`](Store::lead). A ticket that is not in flight is ignored.
    pub fn refused(&self, ticket: u64, why: Refusal) {
        let verdicts = self.shared.writer.lock().refused(ticket, why);
        verdicts.deliver();
    }

    /// Applies one committed entry; see [`apply_all`](Store::apply_all).
    pub fn apply(&self, index: u64, ticket: Option<u64>, data: &Bytes) -> Result<(), ApplyError> {
        self.apply_all([LogEntry { index, ticket, data: data.clone() }])
    }

    /// Applies committed entries in the order of the log. Many at once cost less than one by one. Entries without data only move
    /// the version on.
    ///
    /// An entry that this store proposed moves it to the state that was computed then. Any other is applied as it stands, all or
    /// nothing; if proposals are in flight it came below them, so these are dropped, their callers are told that they may or may not
    /// be committed, and transactions are refused until the next [`lead`](Store::lead).
    ///
    /// An error is final: this replica differs from the others and must stop. Entries before the failing one are applied.
    pub fn apply_all(&self, entries: impl IntoIterator<Item = LogEntry>) -> Result<(), ApplyError> {
        let (verdicts, result) = self.shared.writer.lock().apply(entries);
        verdicts.deliver();
        result
    }

    /// Captures what is committed. O(1); encoding it may happen elsewhere.
    pub fn snapshot(&self) -> StoreSnapshotCapture {
        StoreSnapshotCapture::new(self.view())
    }

    /// Replaces everything by a snapshot whose last log entry has this index, and returns the members of the raft group in it.
    /// Watchers get what differs as one commit. On an error nothing is changed.
    pub fn restore(&self, index: u64, data: &[u8]) -> Result<ClusterSnapshot, RestoreError> {
        let (verdicts, membership) = self.shared.writer.lock().restore(index, data)?;
        verdicts.deliver();
        Ok(membership)
    }

    /// Waits for room for the largest proposal; what the real one does not need is given back when it is made.
    async fn room(&self) -> Result<OwnedSemaphorePermit, Refusal> {
        let most = PROPOSAL_BYTES_MAX as u32;
        self.shared.room.clone().acquire_many_owned(most).await.map_err(|_| Refusal::ShuttingDown)
    }

    fn run<R, E>(
        &self,
        permit: OwnedSemaphorePermit,
        transaction: impl FnOnce(&mut Tx) -> Result<R, E>,
    ) -> Result<(Result<R, E>, Outcome), Refusal> {
        let mut writer = self.shared.writer.lock();
        let mut tx = writer.begin()?;
        let result = transaction(&mut tx);
        let outcome = match result.is_ok() && tx.changes() > 0 {
            true => Outcome::Proposed(writer.propose(tx, permit, IN_FLIGHT_BYTES_EACH_MIN)?),
            false => {
                writer.abort(tx);
                Outcome::Read(writer.settled())
            }
        };
        Ok((result, outcome))
    }

    /// Runs as many parts as go into one proposal.
    #[allow(clippy::type_complexity, reason = "named where it is taken apart, in batch")]
    fn run_parts<T, R, E>(
        &self,
        permit: OwnedSemaphorePermit,
        items: &mut impl Iterator<Item = T>,
        each: &mut impl FnMut(&mut Tx, T) -> Result<R, E>,
    ) -> Result<(Vec<Result<R, UpdateError<E>>>, Outcome), Refusal> {
        let mut writer = self.shared.writer.lock();
        let mut tx = writer.begin()?;
        let mut parts = Vec::new();
        while tx.changes() < BATCH_CHANGES_MAX && tx.bytes() < BATCH_BYTES_MAX {
            let Some(item) = items.next() else { break };
            let (changes, bytes) = (tx.changes(), tx.bytes());
            let mut part = each(&mut tx, item).map_err(UpdateError::Aborted);
            if part.is_ok() && tx.bytes() - bytes > BATCH_PART_BYTES_MAX {
                part = Err(UpdateError::Refused(Refusal::TooLarge));
            }
            if part.is_err() {
                tx.roll_back(changes);
            }
            parts.push(part);
        }
        let outcome = match tx.changes() {
            0 => {
                writer.abort(tx);
                Outcome::Read(writer.settled())
            }
            _ => match writer.propose(tx, permit, IN_FLIGHT_BYTES_EACH_MIN) {
                Ok(waiter) => Outcome::Proposed(waiter),
                Err(why) => Outcome::Refused(why),
            },
        };
        Ok((parts, outcome))
    }
}

/// Where the result of a transaction comes from.
enum Outcome {
    /// It is in flight.
    Proposed(Waiter),
    /// It wrote nothing; what it read may be in flight.
    Read(Option<Waiter>),
    /// It was refused at once.
    Refused(Refusal),
}

impl Outcome {
    async fn fate(self) -> Fate {
        match self {
            // The sender goes only with the store, which tells nothing more.
            Outcome::Proposed(waiter) => waiter.await.unwrap_or(Fate::Unknown),
            Outcome::Read(None) => Fate::Committed,
            Outcome::Read(Some(waiter)) => match waiter.await.unwrap_or(Fate::Unknown) {
                // It wrote nothing, so nothing of it can happen.
                Fate::Unknown => Fate::Refused(Refusal::NotLeader),
                fate => fate,
            },
            Outcome::Refused(why) => Fate::Refused(why),
        }
    }
}
