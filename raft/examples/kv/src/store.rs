//! The store on one member: readers' view of the state, writes under way, and those who watch.
//!
//! A write is proposed at once, whatever else is under way; its answer comes when the entry has been applied here. So
//! writes of many clients travel together, in one append and one sync.

use std::{
    collections::BTreeMap,
    sync::{Arc, OnceLock},
};

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use skep_raft::{Epoch, Refusal, Ticket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::{
    command::Outcome,
    state::{Item, State},
    watch::{Watch, Watchers},
};

/// Room for writes under way, in KiB, each counting for one more than it has: 4096 small ones, or a few large. Well below
/// what the raft node takes, so that it never refuses one for being busy, which would take all those behind it along.
const ROOM_KIB: usize = 4096;

/// Why a write brought no outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WriteError {
    /// It was not done and will not be.
    #[error("the write was not taken: {0}")]
    Refused(Refusal),
    /// Leadership was lost meanwhile.
    #[error("leadership was lost before the write was certain: it may or may not have happened")]
    Unknown,
}

/// The way of a proposal into the log.
pub type Propose = dyn Fn(Epoch, Ticket, Bytes) -> Result<(), Refusal> + Send + Sync;

/// A write that waits for its entry to come back.
struct Waiting {
    answer: oneshot::Sender<Result<Outcome, WriteError>>,
    /// Given back with the entry, even if nobody waits for the answer any more.
    _room: Option<OwnedSemaphorePermit>,
}

#[derive(Default)]
struct Writes {
    /// Set while this member leads and takes writes.
    epoch: Option<Epoch>,
    last_ticket: u64,
    waiting: BTreeMap<Ticket, Waiting>,
}

struct Shared {
    state: RwLock<State>,
    writes: Mutex<Writes>,
    watchers: Watchers,
    room: Arc<Semaphore>,
    propose: OnceLock<Box<Propose>>,
}

/// See the module. All clones are the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

impl Default for Store {
    fn default() -> Store {
        let shared = Shared {
            state: RwLock::default(),
            writes: Mutex::default(),
            watchers: Watchers::default(),
            room: Arc::new(Semaphore::new(ROOM_KIB)),
            propose: OnceLock::new(),
        };
        Store { shared: Arc::new(shared) }
    }
}

impl Store {
    /// Says how proposals go into the log; the first call counts. Nothing leads before.
    pub fn connect(
        &self,
        propose: impl Fn(Epoch, Ticket, Bytes) -> Result<(), Refusal> + Send + Sync + 'static,
    ) {
        let _ = self.shared.propose.set(Box::new(propose));
    }

    /// Whether writes are taken here.
    pub fn leads(&self) -> bool {
        self.shared.writes.lock().epoch.is_some()
    }

    /// A key's value as this member has it. Behind a read barrier it is everybody's.
    pub fn get(&self, key: &[u8]) -> Option<Item> {
        self.shared.state.read().items.get(key).cloned()
    }

    /// Everything as of now, in O(1).
    pub fn state(&self) -> State {
        self.shared.state.read().clone()
    }

    /// Begins a watch; `None` when there are too many.
    pub fn watch(&self, prefix: Bytes) -> Option<Watch> {
        // The lock keeps the state as it is until the watcher is among those who are told.
        let state = self.shared.state.read();
        self.shared.watchers.begin(prefix, &state)
    }

    /// How many watch.
    pub fn watchers(&self) -> usize {
        self.shared.watchers.len()
    }

    /// Ends all watches: this member is stopping.
    pub fn end_watches(&self) {
        self.shared.watchers.end();
    }

    /// Writes, on the leader. Waits for room first if a great deal is under way. When the future is dropped after that,
    /// the write may still happen.
    pub async fn write(&self, command: Bytes) -> Result<Outcome, WriteError> {
        let need = (1 + command.len() / 1024).min(ROOM_KIB);
        // It has only so many permits, which is far below the type's range; and it is never closed.
        let need = u32::try_from(need).unwrap_or(u32::MAX);
        let room = self.shared.room.clone().acquire_many_owned(need).await.ok();
        let answer = self.begin(command, room).map_err(WriteError::Refused)?;
        answer.await.unwrap_or(Err(WriteError::Unknown))
    }

    /// Proposes a command now, without a bound on how many are under way.
    pub fn propose(
        &self,
        command: Bytes,
    ) -> Result<oneshot::Receiver<Result<Outcome, WriteError>>, Refusal> {
        self.begin(command, None)
    }

    fn begin(
        &self,
        command: Bytes,
        room: Option<OwnedSemaphorePermit>,
    ) -> Result<oneshot::Receiver<Result<Outcome, WriteError>>, Refusal> {
        let propose = self.shared.propose.get().ok_or(Refusal::NotLeader)?;
        let (answer, answered) = oneshot::channel();
        let mut writes = self.shared.writes.lock();
        let epoch = writes.epoch.ok_or(Refusal::NotLeader)?;
        writes.last_ticket += 1;
        let ticket = Ticket(writes.last_ticket);
        // Before it is proposed: its entry cannot come back first, and tickets reach the log in order.
        writes.waiting.insert(ticket, Waiting { answer, _room: room });
        if let Err(refusal) = propose(epoch, ticket, command) {
            writes.waiting.remove(&ticket);
            // The epoch has ended with it; the next one is on its way if this member still leads.
            writes.epoch = None;
            return Err(refusal);
        }
        Ok(answered)
    }

    /// Changes the state, tells those who watch, and then those who wait. Called by the state machine alone.
    pub(crate) fn apply<E>(
        &self,
        change: impl FnOnce(
            &mut State,
            &mut Vec<(Ticket, Outcome)>,
            &mut Vec<crate::state::Change>,
        ) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut outcomes, mut changes) = (Vec::new(), Vec::new());
        let mut state = self.shared.state.write();
        let changed = change(&mut state, &mut outcomes, &mut changes);
        // Under the lock: a watch that begins now sees a change either in its state or in its queue.
        self.shared.watchers.tell(&changes);
        drop(state);
        changed?;
        if outcomes.is_empty() {
            return Ok(());
        }
        let answers: Vec<_> = {
            let mut writes = self.shared.writes.lock();
            let waiting = |(ticket, outcome)| Some((writes.waiting.remove(&ticket)?, outcome));
            outcomes.into_iter().filter_map(waiting).collect()
        };
        for (waiting, outcome) in answers {
            // Whoever asked may have gone.
            let _ = waiting.answer.send(Ok(outcome));
        }
        Ok(())
    }

    pub(crate) fn replace(&self, next: State) {
        let mut state = self.shared.state.write();
        *state = next;
        self.shared.watchers.restart();
    }

    pub(crate) fn refused(&self, ticket: Ticket, why: Refusal) {
        let waiting = self.shared.writes.lock().waiting.remove(&ticket);
        if let Some(waiting) = waiting {
            let _ = waiting.answer.send(Err(WriteError::Refused(why)));
        }
    }

    pub(crate) fn lead(&self, epoch: Epoch) {
        self.shared.writes.lock().epoch = Some(epoch);
    }

    pub(crate) fn follow(&self) {
        let waiting = {
            let mut writes = self.shared.writes.lock();
            writes.epoch = None;
            std::mem::take(&mut writes.waiting)
        };
        for waiting in waiting.into_values() {
            let _ = waiting.answer.send(Err(WriteError::Unknown));
        }
    }
}
