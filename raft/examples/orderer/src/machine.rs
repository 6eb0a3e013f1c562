//! Where raft and the orderer meet: each call of the raft node becomes a call of the orderer, and what the orderer wants proposed and
//! answered goes out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use skep_raft::{
    ApplyError, Committed, Epoch, Membership, Refusal, RestoreError, SnapshotError, SnapshotWriter,
    StateMachine, Ticket,
};

use crate::core::chain::Tip;
use crate::core::envelope::Submission;
use crate::core::keeper::{KeeperError, Work};
use crate::core::leader::{Outcome, Proposal, Refused};
use crate::core::orderer::Orderer;

/// What is around an orderer: a process, or a simulation. No method blocks but [`await_ledger`](Self::await_ledger).
pub trait Surroundings<W>: Send + Sync + 'static {
    /// Proposes an entry, as [`skep_raft::NodeHandle::propose`].
    ///
    /// # Errors
    /// As there.
    fn propose(&self, proposal: Proposal) -> Result<(), Refusal>;

    /// Tells a submitter what has become of its envelope.
    fn answer(&self, waiter: W, outcome: Outcome);

    /// There may be work for the ledger, another deadline, or room for submitters.
    fn changed(&self);

    /// Returns once this block is durable in the ledger. Blocks; called on a thread where it may.
    ///
    /// # Errors
    /// When that takes too long.
    fn await_ledger(&self, number: u64) -> Result<(), SnapshotError>;
}

/// An orderer, shared between raft's node, submitters, the clock and the ledger. The lock is held for moments only.
pub struct Shared<W, S> {
    orderer: Mutex<Orderer<W>>,
    /// The last block that the newest snapshot includes, plus one.
    snapshot: AtomicU64,
    /// What is around it.
    pub around: S,
}

impl<W, S: Surroundings<W>> Shared<W, S> {
    /// An orderer in its surroundings.
    pub fn new(orderer: Orderer<W>, around: S) -> Arc<Self> {
        Arc::new(Shared { orderer: Mutex::new(orderer), snapshot: AtomicU64::new(0), around })
    }

    /// Looks at the orderer.
    pub fn look<R>(&self, look: impl FnOnce(&Orderer<W>) -> R) -> R {
        look(&self.orderer.lock())
    }

    /// What the ledger needs next. Nothing follows from asking.
    ///
    /// # Errors
    /// See [`Orderer::work`].
    pub fn work(&self) -> Result<Option<Work>, KeeperError> {
        self.orderer.lock().work()
    }

    /// The last block that the newest snapshot includes.
    pub fn snapshot_block(&self) -> Option<u64> {
        self.snapshot.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Submits an envelope. Nothing but proposals follows from it: nobody is answered under a lock, nobody is woken for nothing.
    ///
    /// # Errors
    /// See [`Orderer::submit`].
    pub fn submit(
        &self,
        now: Duration,
        since: Option<Epoch>,
        submission: Submission,
        waiter: W,
    ) -> Result<Epoch, (Submission, W, Refused)> {
        let mut orderer = self.orderer.lock();
        let deadline = orderer.deadline();
        let outcome = orderer.submit(now, since, submission, waiter);
        let proposals = orderer.take_proposals();
        let changed = !proposals.is_empty() || orderer.deadline() != deadline;
        self.propose(&mut orderer, proposals);
        let answers = orderer.take_answers();
        drop(orderer);
        self.settle(answers, changed);
        outcome
    }

    /// Under the lock: proposals must reach raft in their order.
    fn propose(&self, orderer: &mut Orderer<W>, proposals: Vec<Proposal>) {
        for proposal in proposals {
            let ticket = proposal.ticket;
            if self.around.propose(proposal).is_err() {
                orderer.refused(ticket);
            }
        }
    }

    fn settle(&self, answers: Vec<(W, Outcome)>, changed: bool) {
        for (waiter, outcome) in answers {
            self.around.answer(waiter, outcome);
        }
        if changed {
            self.around.changed();
        }
    }

    fn snapshotted(&self, tip: Option<Tip>) {
        self.snapshot.store(Tip::next_number(tip), Ordering::Relaxed);
    }

    /// Has the orderer do something, and sees to what follows from it.
    pub fn act<R>(&self, act: impl FnOnce(&mut Orderer<W>) -> R) -> R {
        let mut orderer = self.orderer.lock();
        let outcome = act(&mut orderer);
        let proposals = orderer.take_proposals();
        self.propose(&mut orderer, proposals);
        let answers = orderer.take_answers();
        drop(orderer);
        self.settle(answers, true);
        outcome
    }
}

/// The orderer as raft's state machine.
pub struct Machine<W, S>(pub Arc<Shared<W, S>>);

impl<W: Send + 'static, S: Surroundings<W>> StateMachine for Machine<W, S> {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        let applied = self.0.act(|orderer| {
            entries.into_iter().try_for_each(|entry| {
                orderer.apply(entry.index, entry.term, entry.data, entry.ticket)
            })
        });
        applied.map_err(ApplyError::new)
    }

    fn refused(&mut self, ticket: Ticket, _why: Refusal) {
        self.0.act(|orderer| orderer.refused(ticket));
    }

    fn leading(&mut self, epoch: Epoch, _commit_index: u64) {
        self.0.act(|orderer| orderer.leading(epoch));
    }

    fn following(&mut self) {
        self.0.act(Orderer::following);
    }

    fn snapshot(&self) -> SnapshotWriter {
        let captured = self.0.look(Orderer::snapshot);
        let shared = self.0.clone();
        Box::new(move |membership| {
            // What raft may forget must be in the ledger.
            if let Some(tip) = captured.tip() {
                shared.around.await_ledger(tip.header.number)?;
            }
            let snapshot = captured.encode(membership);
            shared.snapshotted(captured.tip());
            Ok(snapshot.into())
        })
    }

    fn restore(&mut self, _index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let restored = self.0.act(|orderer| orderer.restore(data)).map_err(RestoreError::new)?;
        self.0.snapshotted(self.0.look(|orderer| orderer.state().tip()));
        Ok(restored)
    }
}
