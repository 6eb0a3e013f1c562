//! The two heads, behind one short lock that is never held across an await: what is committed, and on a leader the
//! transactions that are proposed on top of it.

use std::{collections::VecDeque, mem, sync::Arc};

use arc_swap::ArcSwap;
use bytes::Bytes;
use prost_types::Timestamp;
use rand::RngCore;
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use crate::{
    ApplyError, Clock, Commit, Event, LogEntry, Proposer, Refusal, RestoreError, Tables, Tx, View,
    entry, snapshot, view::Version, watch::Watches,
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

/// A proposed transaction, and the state that it makes once it is committed.
struct Pending {
    epoch: u64,
    ticket: u64,
    version: u64,
    entry: Bytes,
    tables: Tables,
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
    committed: Arc<Version>,
    leading: Option<Leading>,
    /// In the order of their tickets, each built on the one before, the first on `committed`.
    pending: VecDeque<Pending>,
    next_ticket: u64,
    pub(crate) watches: Watches,
}

impl Writer {
    pub(crate) fn new(clock: Clock, rng: Box<dyn RngCore + Send>) -> Writer {
        Writer {
            clock,
            rng,
            committed: Arc::new(Version::default()),
            leading: None,
            pending: VecDeque::new(),
            next_ticket: 1,
            watches: Watches::new(),
        }
    }

    pub(crate) fn view(&self) -> View {
        View::new(self.committed.clone())
    }

    pub(crate) fn leads(&self) -> bool {
        self.leading.is_some()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.pending.len()
    }

    /// A transaction on the head.
    ///
    /// Its version is at least the commit index, and greater than that of every transaction that it is built on, so that no two
    /// transactions in flight give the same version to an object.
    pub(crate) fn begin(&self) -> Result<Tx, Refusal> {
        let leading = self.leading.as_ref().ok_or(Refusal::NotLeader)?;
        let commit_index = leading.commit_index.max(self.committed.version);
        let last = self.pending.back();
        let version = last.map_or(commit_index, |p| commit_index.max(p.version + 1));
        let tables = last.map_or(&self.committed.tables, |p| &p.tables).clone();
        Ok(Tx::new(tables, version, Timestamp::from((self.clock)())))
    }

    /// Proposes what the transaction has changed, and moves the head on.
    pub(crate) fn propose(
        &mut self,
        tx: Tx,
        mut permit: OwnedSemaphorePermit,
        room: usize,
    ) -> Result<Waiter, Refusal> {
        let leading = self.leading.as_ref().ok_or(Refusal::NotLeader)?;
        let (tables, events, version) = tx.finish();
        let entry = entry::encode(self.rng.next_u64() | REQUEST_ID_HIGH_BIT, &events);
        if entry.len() > PROPOSAL_BYTES_MAX {
            return Err(Refusal::TooLarge);
        }
        let (epoch, ticket) = (leading.epoch, self.next_ticket);
        leading.proposer.propose(epoch, ticket, entry.clone())?;
        self.next_ticket += 1;
        drop(permit.split(permit.num_permits().saturating_sub(entry.len().max(room))));
        let (sender, waiter) = oneshot::channel();
        self.pending.push_back(Pending {
            epoch,
            ticket,
            version,
            entry,
            tables,
            events,
            waiters: vec![sender],
            _permit: permit,
        });
        Ok(waiter)
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
        Verdicts(mem::take(&mut self.pending).into_iter().map(|p| (p, Fate::Unknown)).collect())
    }

    /// Drops a refused transaction and all that are built on it. Nothing more is proposed in this epoch.
    pub(crate) fn refused(&mut self, ticket: u64, why: Refusal) -> Verdicts {
        let Some(first) = self.pending.iter().position(|p| p.ticket == ticket) else {
            return Verdicts::default();
        };
        self.leading = None;
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

    /// Applies committed entries in order and publishes them together; watchers still get one commit for each. What precedes
    /// an entry that fails is applied.
    pub(crate) fn apply(
        &mut self,
        entries: impl IntoIterator<Item = LogEntry>,
        published: &ArcSwap<Version>,
    ) -> (Verdicts, Result<(), ApplyError>) {
        let mut version = self.committed.version;
        // Until it is published nobody else sees this copy, so what several entries touch is copied once.
        let mut tables = self.committed.tables.clone();
        let mut commits = Vec::new();
        let mut verdicts = Verdicts::default();
        let mut result = Ok(());
        for LogEntry { index, ticket, data } in entries {
            if index <= version {
                result = Err(ApplyError::OutOfOrder { index, applied: version });
                break;
            }
            if data.is_empty() {
                version = index;
                continue;
            }
            let events = match self.pending.front() {
                // Ids in entries are random, so equal bytes are this very proposal, whatever became of its ticket.
                Some(first) if first.entry == data => {
                    let mut first = self.pending.pop_front().expect("it was just looked at");
                    let events = mem::take(&mut first.events);
                    tables = first.tables.clone();
                    verdicts.0.push((first, Fate::Committed));
                    events
                }
                first => {
                    if let Some(first) = first {
                        tracing::warn!(
                            index,
                            ticket,
                            in_flight = self.pending.len(),
                            expected = first.ticket,
                            "another manager's write was committed below ours: dropping ours",
                        );
                        verdicts.0.append(&mut self.follow().0);
                    }
                    match entry::apply(&mut tables, &data) {
                        Ok(events) => events,
                        Err(source) => {
                            result = Err(ApplyError::Entry { index, source });
                            break;
                        }
                    }
                }
            };
            version = index;
            commits.push((Commit { version, events }, data.len()));
        }
        self.publish(Version { tables, version }, published);
        for (commit, bytes) in commits {
            self.watches.publish(commit, bytes);
        }
        (verdicts, result)
    }

    pub(crate) fn restore(
        &mut self,
        index: u64,
        data: &[u8],
        published: &ArcSwap<Version>,
    ) -> Result<(Verdicts, skep_proto::swarmkit::ClusterSnapshot), RestoreError> {
        let restored = snapshot::restore(&self.committed.tables, data)?;
        let verdicts = self.follow();
        self.publish(Version { tables: restored.tables, version: index }, published);
        self.watches.publish_leap(Commit { version: index, events: restored.events });
        Ok((verdicts, restored.membership))
    }

    fn publish(&mut self, version: Version, published: &ArcSwap<Version>) {
        self.committed = Arc::new(version);
        published.store(self.committed.clone());
    }
}
