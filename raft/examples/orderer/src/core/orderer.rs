//! The replicated state, the leader and the keeper together: everything that an orderer decides.
//!
//! Whoever owns one gives it what raft, submitters, the clock and the disk say, and afterwards takes what is to be proposed and who is to
//! be answered.

use std::time::Duration;

use bytes::Bytes;
use skep_raft::{Epoch, Membership, Ticket};

use super::chain::{ChainError, Header, Kept, Tip};
use super::consenters::{Change, ChangeError, Configuration, Step};
use super::envelope::Submission;
use super::keeper::{Keeper, KeeperError, PullError, Work};
use super::leader::{Counts, Leader, Outcome, Proposal, Refused};
use super::state::{Captured, SnapshotError, State, decode_proposal};

/// A committed entry or a snapshot that this orderer cannot take: it must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrdererError {
    /// It does not follow from the chain.
    #[error("the committed entry {index} is not the next block: {source}")]
    Chain {
        /// Its place in raft's log.
        index: u64,
        /// How it does not.
        source: ChainError,
    },
    /// The ledger is of another chain.
    #[error(transparent)]
    Ledger(#[from] KeeperError),
    /// The snapshot is none.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
}

/// See the module. `W` is whoever waits for an answer.
#[derive(Debug)]
pub struct Orderer<W> {
    state: State,
    leader: Leader<W>,
    keeper: Keeper,
    members: Membership,
    /// What the founder begins the chain with.
    genesis: Option<Configuration>,
}

impl<W> Orderer<W> {
    /// An orderer whose ledger ends at `ledger`. `proposer` tells its entries from those of others; `genesis` is for whoever founds the
    /// chain.
    pub fn new(proposer: u64, ledger: Option<Tip>, genesis: Option<Configuration>) -> Self {
        Orderer {
            state: State::default(),
            leader: Leader::new(proposer, Tip::next_number(ledger)),
            keeper: Keeper::new(ledger),
            members: Membership::default(),
            genesis,
        }
    }

    /// The replicated state.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Where the ledger ends.
    pub fn ledger(&self) -> Option<Tip> {
        self.keeper.ledger()
    }

    /// Whether the ledger holds the whole chain, as far as raft has told it here.
    pub fn is_complete(&self) -> bool {
        self.keeper.is_complete()
    }

    /// Whether it takes submissions, now or soon.
    pub fn leads(&self) -> bool {
        self.leader.leads()
    }

    /// What it has proposed.
    pub fn counts(&self) -> Counts {
        self.leader.counts()
    }

    /// A committed entry.
    ///
    /// # Errors
    /// When this orderer must not go on.
    pub fn apply(
        &mut self,
        index: u64,
        term: u64,
        data: Bytes,
        ticket: Option<Ticket>,
    ) -> Result<(), OrdererError> {
        let chain = |source| OrdererError::Chain { index, source };
        let block = decode_proposal(data).map_err(chain)?;
        let number = block.header.number;
        let kept = Kept { block, index, term };
        self.state.apply(&kept).map_err(chain)?;
        self.keeper.applied(kept)?;
        self.leader.applied(number, ticket);
        self.hold();
        Ok(())
    }

    /// Raft refused a proposal.
    pub fn refused(&mut self, ticket: Ticket) {
        self.leader.refused(ticket);
    }

    /// It leads, and has applied everything up to its election.
    pub fn leading(&mut self, epoch: Epoch) {
        self.leader.lead(epoch, self.state.tip());
        if self.state.tip().is_none()
            && let Some(genesis) = &self.genesis
        {
            let begun = self.leader.configure(genesis, None);
            debug_assert!(begun.is_ok(), "it leads");
        }
    }

    /// It does not lead any more.
    pub fn following(&mut self) {
        self.leader.follow();
    }

    /// Captures the replicated state.
    pub fn snapshot(&self) -> Captured {
        self.state.capture()
    }

    /// Replaces the replicated state by a snapshot's.
    ///
    /// # Errors
    /// When the bytes are no snapshot, or the ledger is of another chain.
    pub fn restore(&mut self, data: Bytes) -> Result<Membership, OrdererError> {
        let (state, members) = State::restore(data)?;
        self.keeper.restored(state.tip())?;
        self.leader.restored(Tip::next_number(state.tip()));
        self.state = state;
        Ok(members)
    }

    /// Raft's members.
    pub fn members(&mut self, members: Membership) {
        self.members = members;
        self.hold();
    }

    /// Nothing is ordered while raft's members are not those that the chain says.
    fn hold(&mut self) {
        self.leader.hold(self.step().is_some());
    }

    /// What brings raft's membership nearer to what the chain says; for the leader to do.
    pub fn step(&self) -> Option<Step> {
        self.state.configuration()?.steps(&self.members).into_iter().next()
    }

    /// Takes an envelope, or gives it back with the reason.
    ///
    /// # Errors
    /// See [`Leader::submit`].
    pub fn submit(
        &mut self,
        now: Duration,
        since: Option<Epoch>,
        submission: Submission,
        waiter: W,
    ) -> Result<Epoch, (Submission, W, Refused)> {
        self.leader.submit(now, &self.state, since, submission, waiter)
    }

    /// Orders a change of the orderers, if it may be made now. The outer error is that it does not lead.
    ///
    /// # Errors
    /// Why it is not.
    pub fn change(&mut self, change: &Change, waiter: W) -> Result<Result<(), ChangeError>, W> {
        if !self.leads() {
            return Err(waiter);
        }
        let next = match self.state.configuration() {
            _ if self.leader.changing() => Err(ChangeError::InProgress),
            None => Err(ChangeError::NoChain),
            Some(configuration) => configuration.changed(change, &self.members),
        };
        match next {
            Err(error) => Ok(Err(error)),
            Ok(next) => match self.leader.configure(&next, Some(waiter)) {
                Err(Some(waiter)) => Err(waiter),
                Err(None) | Ok(()) => Ok(Ok(())),
            },
        }
    }

    /// Takes back the part of the configuration that raft would not make true. Without effect on one that does not lead.
    pub fn take_back(&mut self, step: &Step) {
        let configuration = self.state.configuration();
        let next = configuration.and_then(|now| now.without(step, &self.members));
        if let Some(next) = next.filter(|_| self.leads() && !self.leader.changing()) {
            let ordered = self.leader.configure(&next, None);
            debug_assert!(ordered.is_ok(), "it leads");
        }
    }

    /// Closes the open block if its time is up.
    pub fn tick(&mut self, now: Duration) {
        self.leader.tick(now, &self.state);
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.leader.deadline()
    }

    /// What the ledger needs next.
    ///
    /// # Errors
    /// When it cannot be brought up to the chain.
    pub fn work(&mut self) -> Result<Option<Work>, KeeperError> {
        self.keeper.work()
    }

    /// The ledger is durable up to here.
    pub fn wrote(&mut self, now: Duration, ledger: Tip) {
        self.keeper.wrote(ledger);
        self.leader.durable(ledger.header.number + 1);
        self.tick(now);
    }

    /// A peer sent headers.
    ///
    /// # Errors
    /// When they do not lead to the chain.
    pub fn headers(&mut self, headers: &[Header]) -> Result<(), PullError> {
        self.keeper.headers(headers)
    }

    /// A peer sent blocks.
    ///
    /// # Errors
    /// When one is not what its header said.
    pub fn pulled(&mut self, blocks: Vec<Kept>) -> Result<(), PullError> {
        self.keeper.pulled(blocks)
    }

    /// What is to be proposed, in order.
    pub fn take_proposals(&mut self) -> Vec<Proposal> {
        self.leader.take_proposals()
    }

    /// Who is to be told what.
    pub fn take_answers(&mut self) -> Vec<(W, Outcome)> {
        self.leader.take_answers()
    }
}

#[cfg(test)]
mod tests;
