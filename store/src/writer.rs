//! The two heads, behind short locks that are never held across an await: what is committed, and on a leader the state with
//! the transactions that are proposed on top of it.
//!
//! Each head has tables of its own and is changed in place. What a transaction did on one is done again on the other when it
//! is committed, by putting the same objects in their places; that is cheaper than to keep a version of the tables for each
//! transaction in flight, of which every next one would have to copy what it touches.

use std::{collections::VecDeque, mem, sync::Arc};

use bytes::Bytes;
use prost_types::Timestamp;
use rand::RngCore;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    ApplyError, Clock, Commit, EntryError, Event, LogEntry, Proposer, Refusal, RestoreError,
    Tables, Tx, View, entry, packed, snapshot, view::Committed, watch::Watches,
};

/// The largest proposal, in bytes: 1.5 MiB, as in SwarmKit. A peer refuses what is larger.
pub const PROPOSAL_BYTES_MAX: usize = 3 << 19;
/// Request ids have this bit set: ids that SwarmKit makes are below it for a long time to come, and 63 random bits do not meet.
const REQUEST_ID_HIGH_BIT: u64 = 1 << 63;

/// What became of a proposal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    Committed,
    Refused(Refusal),
    Unknown,
}

pub(crate) type Waiter = oneshot::Receiver<Fate>;

/// What is to be said once the lock is released, and what is to be freed then.
#[derive(Default)]
#[must_use]
pub(crate) struct Verdicts(Vec<(Pending, Fate)>);

impl Verdicts {
    pub(crate) fn deliver(self) {
        for (pending, fate) in self.0 {
            for waiter in pending.waiters {
                // Nobody listens any more: the caller was dropped.
                let _ = waiter.send(fate);
            }
        }
    }
}

/// A proposed transaction, and what it changes once it is committed.
struct Pending {
    epoch: u64,
    ticket: u64,
    version: u64,
    /// As the log has it.
    entry: Bytes,
    /// The entry's length before it was packed.
    bytes: usize,
    events: Vec<Event>,
    waiters: Vec<oneshot::Sender<Fate>>,
    /// The room it takes in flight; given back with it, whether or not its caller still waits.
    _permit: OwnedSemaphorePermit,
}

struct Leading {
    epoch: u64,
    commit_index: u64,
    proposer: Arc<dyn Proposer>,
}

pub(crate) struct Writer {
    clock: Clock,
    rng: Box<dyn RngCore + Send>,
    committed: Arc<Committed>,
    leading: Option<Leading>,
    /// In the order of their tickets, each built on the one before, the first on `committed`.
    pending: VecDeque<Pending>,
    /// What is committed with all that is pending. None while a transaction works on it, and until the first one.
    head: Option<Tables>,
    /// Of the head; see [`Tx::lineage`].
    lineage: u64,
    next_ticket: u64,
    packing_room: Vec<u8>,
    pub(crate) watches: Watches,
}

impl Writer {
    pub(crate) fn new(
        clock: Clock,
        rng: Box<dyn RngCore + Send>,
        committed: Arc<Committed>,
    ) -> Writer {
        Writer {
            clock,
            rng,
            committed,
            leading: None,
            pending: VecDeque::new(),
            head: None,
            lineage: 0,
            next_ticket: 1,
            packing_room: Vec::new(),
            watches: Watches::new(),
        }
    }

    pub(crate) fn view(&self) -> View {
        self.committed.view()
    }

    pub(crate) fn leads(&self) -> bool {
        self.leading.is_some()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// A transaction on the head, which is to be given back by [`propose`](Writer::propose) or [`abort`](Writer::abort). When
    /// it is lost instead, the next one builds the head anew.
    ///
    /// Its version is at least the commit index, and greater than that of every transaction that it is built on, so that no two
    /// transactions in flight give the same version to an object.
    pub(crate) fn begin(&mut self) -> Result<Tx, Refusal> {
        let leading = self.leading.as_ref().ok_or(Refusal::NotLeader)?;
        let commit_index = leading.commit_index.max(self.committed.version());
        let last = self.pending.back();
        let version = last.map_or(commit_index, |p| commit_index.max(p.version + 1));
        let tables = self.head.take().unwrap_or_else(|| {
            let mut tables = self.committed.tables();
            self.pending.iter().for_each(|pending| entry::redo(&mut tables, &pending.events));
            self.lineage += 1;
            tables
        });
        Ok(Tx::new(tables, version, self.lineage, Timestamp::from((self.clock)())))
    }

    /// Takes back what the transaction did.
    pub(crate) fn abort(&mut self, tx: Tx) {
        let (tables, lineage) = tx.abort();
        (self.head, self.lineage) = (Some(tables), lineage);
    }

    /// Proposes what the transaction has changed, and moves the head on; takes it back if it is refused.
    pub(crate) fn propose(
        &mut self,
        tx: Tx,
        mut permit: OwnedSemaphorePermit,
        room: usize,
    ) -> Result<Waiter, Refusal> {
        let version = tx.version();
        self.lineage = tx.lineage();
        let (mut tables, events, entry) = tx.finish(self.rng.next_u64() | REQUEST_ID_HIGH_BIT);
        let bytes = entry.len();
        let (epoch, entry) = match self.propose_entry(entry, &tables) {
            Ok(epoch) => epoch,
            Err(why) => {
                entry::undo(&mut tables, events);
                self.head = Some(tables);
                self.lineage += 1;
                return Err(why);
            }
        };
        self.head = Some(tables);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        drop(permit.split(permit.num_permits().saturating_sub(bytes.max(room))));
        let (sender, waiter) = oneshot::channel();
        self.pending.push_back(Pending {
            epoch,
            ticket,
            version,
            entry,
            bytes,
            events,
            waiters: vec![sender],
            _permit: permit,
        });
        Ok(waiter)
    }

    /// Proposes an entry under the next ticket, and gives the epoch and the entry as the log will have it. `tables` are as the
    /// entry leaves them: from the one on that says so, entries are packed, or are not.
    fn propose_entry(&mut self, entry: Bytes, tables: &Tables) -> Result<(u64, Bytes), Refusal> {
        let leading = self.leading.as_ref().ok_or(Refusal::NotLeader)?;
        if entry.len() > PROPOSAL_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let entry = match leading.proposer.packs(tables) {
            true => packed::pack(entry, &mut self.packing_room),
            false => entry,
        };
        leading.proposer.propose(leading.epoch, self.next_ticket, entry.clone())?;
        Ok((leading.epoch, entry))
    }

    /// Resolves when everything that the head holds now is committed; none if it is already.
    pub(crate) fn settled(&mut self) -> Option<Waiter> {
        let last = self.pending.back_mut()?;
        let (sender, waiter) = oneshot::channel();
        last.waiters.push(sender);
        Some(waiter)
    }

    pub(crate) fn lead(&mut self, epoch: u64, commit_index: u64, proposer: Arc<dyn Proposer>) {
        self.leading = Some(Leading { epoch, commit_index, proposer });
    }

    /// Drops the head: what is in flight may or may not be committed.
    pub(crate) fn follow(&mut self) -> Verdicts {
        self.leading = None;
        self.head = None;
        Verdicts(mem::take(&mut self.pending).into_iter().map(|p| (p, Fate::Unknown)).collect())
    }

    /// Drops a refused transaction and all that are built on it. Nothing more is proposed in this epoch.
    pub(crate) fn refused(&mut self, ticket: u64, why: Refusal) -> Verdicts {
        let Some(first) = self.pending.iter().position(|p| p.ticket == ticket) else {
            return Verdicts::default();
        };
        self.leading = None;
        self.head = None;
        let dropped = self.pending.split_off(first);
        let epoch = dropped.front().map(|p| p.epoch);
        let fate = |p: &Pending| match Some(p.epoch) == epoch {
            true => Fate::Refused(why),
            // The proposer promised only for the epoch of the refused one.
            false => Fate::Unknown,
        };
        Verdicts(
            dropped
                .into_iter()
                .map(|p| {
                    let fate = fate(&p);
                    (p, fate)
                })
                .collect(),
        )
    }

    /// Applies committed entries in order, and tells the watchers of each once all are applied. What precedes an entry that fails
    /// is applied.
    pub(crate) fn apply(
        &mut self,
        entries: impl IntoIterator<Item = LogEntry>,
    ) -> (Verdicts, Result<(), ApplyError>) {
        let mut applied = self.committed.version();
        let mut commits = Vec::new();
        let mut verdicts = Verdicts::default();
        let mut result = Ok(());
        for LogEntry { index, ticket, data } in entries {
            if index <= applied {
                result = Err(ApplyError::OutOfOrder { index, applied });
                break;
            }
            match self.apply_one(index, ticket, &data, &mut verdicts) {
                Ok((events, 0)) => debug_assert!(events.is_empty()),
                Ok((events, bytes)) => commits.push((Commit { version: index, events }, bytes)),
                Err(source) => {
                    result = Err(ApplyError::Entry { index, source });
                    break;
                }
            }
            applied = index;
        }
        for (commit, bytes) in commits {
            self.watches.publish(commit, bytes);
        }
        (verdicts, result)
    }

    /// Gives what changed, and how many bytes the entry has unpacked.
    fn apply_one(
        &mut self,
        index: u64,
        ticket: Option<u64>,
        data: &Bytes,
        verdicts: &mut Verdicts,
    ) -> Result<(Vec<Event>, usize), EntryError> {
        if data.is_empty() {
            return self.committed.advance(index, |_| Ok((Vec::new(), 0)));
        }
        // Ids in entries are random, so equal bytes are this very proposal, whatever became of its ticket.
        let is_next = self.pending.front().is_some_and(|first| first.entry == data);
        if is_next && let Some(mut first) = self.pending.pop_front() {
            let (events, bytes) = (mem::take(&mut first.events), first.bytes);
            verdicts.0.push((first, Fate::Committed));
            return self.committed.advance(index, |tables| {
                entry::redo(tables, &events);
                Ok((events, bytes))
            });
        }
        if let Some(first) = self.pending.front() {
            tracing::warn!(
                index,
                ticket,
                in_flight = self.pending.len(),
                expected = first.ticket,
                "another manager's write was committed below ours: dropping ours",
            );
            verdicts.0.append(&mut self.follow().0);
        }
        // It knows nothing of this entry.
        self.head = None;
        let entry = packed::unpack(data)?;
        let events = self.committed.advance(index, |tables| entry::apply(tables, &entry))?;
        Ok((events, entry.len()))
    }

    pub(crate) fn restore(
        &mut self,
        index: u64,
        data: &[u8],
    ) -> Result<(Verdicts, skep_proto::swarmkit::ClusterSnapshot), RestoreError> {
        let restored = snapshot::restore(&self.committed.view(), data)?;
        let verdicts = self.follow();
        let replaced: Result<(), RestoreError> = self.committed.advance(index, |tables| {
            *tables = restored.tables;
            Ok(())
        });
        replaced?;
        self.watches.publish_leap(Commit { version: index, events: restored.events });
        Ok((verdicts, restored.membership))
    }
}
