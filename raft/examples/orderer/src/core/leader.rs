//! What a leader proposes, and what submitters are told.
//!
//! An envelope waits in the open block, then in a block on its way (proposed, not yet applied), then in a block that is committed and
//! not yet durable in this orderer's own ledger; then its submitter is answered. The same envelope submitted meanwhile waits
//! along with it. Blocks on their way and blocks not yet durable together are bounded: submitters wait when they are too many.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use skep_raft::{Epoch, Ticket};

use super::chain::{Block, Hash, Kind, Tip};
use super::consenters::Configuration;
use super::cutter::{Cutter, Weighed};
use super::envelope::{Key, Print, Submission};
use super::limits::Limits;
use super::state::{State, encode_proposal};
use super::window::Known;

/// What has become of a submission.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is in the chain.
    Ordered {
        /// In which block.
        block: u64,
        /// It had been submitted before.
        duplicate: bool,
    },
    /// It is not in the chain and will not be.
    NotOrdered,
    /// It was on its way when leadership was lost: it may be in the chain or come into it.
    Unknown,
}

/// Why a submission is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// This orderer does not lead.
    #[error("this orderer does not lead")]
    NotLeading,
    /// Not now: too many blocks are on their way, or a change of the orderers is.
    #[error("too many blocks are on their way, or the orderers are being changed")]
    Wait,
    /// Larger than an envelope may be.
    #[error("the envelope has {bytes} bytes, and may have {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Another envelope went by its name.
    #[error("another envelope of this submitter has the same id; each needs its own")]
    NameUsed,
}

/// A block to be proposed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Under which epoch.
    pub epoch: Epoch,
    /// Its ticket.
    pub ticket: Ticket,
    /// The entry.
    pub data: Bytes,
}

/// What a leader has proposed, for metrics.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Blocks of envelopes.
    pub normal: u64,
    /// Blocks of configuration.
    pub config: u64,
    /// Blocks that raft refused.
    pub failures: u64,
}

#[derive(Debug)]
struct Pending<W> {
    submission: Submission,
    waiters: Vec<(W, bool)>,
}

impl<W> Weighed for Pending<W> {
    fn bytes(&self) -> usize {
        self.submission.bytes.len()
    }
}

#[derive(Debug)]
struct InFlight<W> {
    ticket: Ticket,
    number: u64,
    keys: Vec<Key>,
    waiters: Vec<(W, bool)>,
    /// It changes the configuration.
    changes: bool,
}

/// Where an envelope is that is not committed yet.
#[derive(Clone, Copy, Debug)]
enum Place {
    Open,
    Block(u64),
}

/// See the module. `W` is whoever waits for an answer.
#[derive(Debug)]
pub struct Leader<W> {
    proposer: u64,
    epoch: Option<Epoch>,
    last_ticket: u64,
    /// What the next block is linked to.
    next: (u64, Hash),
    cutter: Cutter<Pending<W>>,
    in_flight: VecDeque<InFlight<W>>,
    uncommitted: HashMap<Key, (Place, Print)>,
    /// Who waits for a committed block to be durable here.
    committed: BTreeMap<u64, Vec<(W, bool)>>,
    /// The last block that is durable here, plus one.
    durable: u64,
    /// The last block that was applied, plus one.
    applied: u64,
    /// The orderers are being changed.
    held: bool,
    proposals: Vec<Proposal>,
    answers: Vec<(W, Outcome)>,
    counts: Counts,
}

impl<W> Leader<W> {
    /// One that does not lead yet. `durable` is how many blocks its ledger holds; `proposer` tells its entries from those of others.
    pub fn new(proposer: u64, durable: u64) -> Self {
        Leader {
            proposer,
            epoch: None,
            last_ticket: 0,
            next: (0, Hash::default()),
            cutter: Cutter::default(),
            in_flight: VecDeque::new(),
            uncommitted: HashMap::new(),
            committed: BTreeMap::new(),
            durable,
            applied: 0,
            held: false,
            proposals: Vec::new(),
            answers: Vec::new(),
            counts: Counts::default(),
        }
    }

    /// It leads from here on, under this epoch: nothing is on its way, and the next block comes after the last one applied.
    pub fn lead(&mut self, epoch: Epoch, tip: Option<Tip>) {
        // What was refused ended the epoch before this; nobody waits for it any more.
        self.drop_open();
        self.epoch = Some(epoch);
        self.next = (Tip::next_number(tip), Tip::next_previous(tip));
    }

    /// It does not lead any more. Submitters learn what is known of their envelopes.
    pub fn follow(&mut self) {
        self.epoch = None;
        self.drop_open();
        for block in std::mem::take(&mut self.in_flight) {
            self.answers.extend(block.waiters.into_iter().map(|(w, _)| (w, Outcome::Unknown)));
        }
        self.uncommitted.clear();
    }

    /// Whether it takes submissions, now or soon.
    pub fn leads(&self) -> bool {
        self.epoch.is_some()
    }

    /// While held, nothing new is ordered.
    pub fn hold(&mut self, held: bool) {
        self.held = held;
    }

    /// Whether a block of configuration is on its way.
    pub fn changing(&self) -> bool {
        self.in_flight.iter().any(|block| block.changes)
    }

    /// What it has proposed.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn drop_open(&mut self) {
        for pending in self.cutter.cut().into_iter().flatten() {
            self.uncommitted.remove(&pending.submission.key);
            let waiters = pending.waiters.into_iter();
            self.answers.extend(waiters.map(|(waiter, _)| (waiter, Outcome::NotOrdered)));
        }
    }

    fn has_room(&self, limits: &Limits) -> bool {
        let undurable = self.applied.saturating_sub(self.durable);
        self.in_flight.len() as u64 + undurable < limits.in_flight_max as u64
    }

    /// Takes an envelope and gives the epoch, or gives the envelope back with the reason. Who submits several in a row gives the epoch
    /// of the first with the others: in another epoch, those before may be lost, and what comes after them must not be
    /// ordered instead.
    ///
    /// # Errors
    /// The reason. [`Refused::Wait`] means: again when something has become durable or a change is done.
    pub fn submit(
        &mut self,
        now: Duration,
        state: &State,
        since: Option<Epoch>,
        submission: Submission,
        waiter: W,
    ) -> Result<Epoch, (Submission, W, Refused)> {
        let Some(epoch) = self.epoch.filter(|epoch| since.is_none_or(|since| since == *epoch))
        else {
            return Err((submission, waiter, Refused::NotLeading));
        };
        let Some(configuration) = state.configuration() else {
            return Err((submission, waiter, Refused::Wait));
        };
        let limits = &configuration.limits;
        let (bytes, bytes_max) = (submission.bytes.len(), limits.absolute_bytes);
        if bytes > bytes_max {
            return Err((submission, waiter, Refused::TooLarge { bytes, bytes_max }));
        }
        if let Some((place, print)) = self.uncommitted.get(&submission.key).copied() {
            if print != submission.print() {
                return Err((submission, waiter, Refused::NameUsed));
            }
            self.wait_along(place, &submission.key, waiter);
            return Ok(epoch);
        }
        match state.window().look_up(&submission.key, submission.print()) {
            Known::In(block) => {
                self.answer_when_durable(block, vec![(waiter, true)]);
                return Ok(epoch);
            }
            Known::Other(_) => return Err((submission, waiter, Refused::NameUsed)),
            Known::No => {}
        }
        if self.held || self.changing() || !self.has_room(limits) {
            return Err((submission, waiter, Refused::Wait));
        }
        self.uncommitted.insert(submission.key, (Place::Open, submission.print()));
        let pending = Pending { submission, waiters: vec![(waiter, false)] };
        for block in self.cutter.push(now, pending, limits) {
            self.propose_envelopes(block);
        }
        Ok(epoch)
    }

    fn wait_along(&mut self, place: Place, key: &Key, waiter: W) {
        let waiters = match place {
            Place::Open => {
                let mut open = self.cutter.pending_mut().iter_mut();
                open.find(|pending| pending.submission.key == *key).map(|p| &mut p.waiters)
            }
            Place::Block(number) => {
                let mut blocks = self.in_flight.iter_mut();
                blocks.find(|block| block.number == number).map(|block| &mut block.waiters)
            }
        };
        waiters.expect("an uncommitted envelope is where it is said to be").push((waiter, true));
    }

    fn answer_when_durable(&mut self, block: u64, waiters: Vec<(W, bool)>) {
        if block < self.durable {
            let ordered = |duplicate| Outcome::Ordered { block, duplicate };
            self.answers.extend(waiters.into_iter().map(|(w, duplicate)| (w, ordered(duplicate))));
        } else {
            self.committed.entry(block).or_default().extend(waiters);
        }
    }

    /// Closes the open block if its time is up and there is room for it on the way.
    pub fn tick(&mut self, now: Duration, state: &State) {
        let Some(configuration) = state.configuration() else { return };
        let due = self.cutter.deadline().is_some_and(|deadline| deadline <= now);
        if due
            && self.epoch.is_some()
            && self.has_room(&configuration.limits)
            && let Some(block) = self.cutter.cut()
        {
            self.propose_envelopes(block);
        }
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn deadline(&self) -> Option<Duration> {
        self.cutter.deadline()
    }

    /// Orders a configuration, after what is open.
    ///
    /// # Errors
    /// The waiter, when this orderer does not lead.
    pub fn configure(
        &mut self,
        configuration: &Configuration,
        waiter: Option<W>,
    ) -> Result<(), Option<W>> {
        if self.epoch.is_none() {
            return Err(waiter);
        }
        if let Some(block) = self.cutter.cut() {
            self.propose_envelopes(block);
        }
        let item = configuration.encode();
        let items = vec![(item.clone(), Hash::of(&item))];
        let waiters = waiter.map(|waiter| (waiter, false)).into_iter().collect();
        self.counts.config += 1;
        self.propose(Kind::Configuration, items, Vec::new(), waiters);
        Ok(())
    }

    fn propose_envelopes(&mut self, block: Vec<Pending<W>>) {
        let (number, _) = self.next;
        let (mut items, mut keys, mut waiters) = (Vec::new(), Vec::new(), Vec::new());
        for pending in block {
            let Submission { bytes, digest, key } = pending.submission;
            if let Some((place, _)) = self.uncommitted.get_mut(&key) {
                *place = Place::Block(number);
            }
            items.push((bytes, digest));
            keys.push(key);
            waiters.extend(pending.waiters);
        }
        self.counts.normal += 1;
        self.propose(Kind::Envelopes, items, keys, waiters);
    }

    fn propose(
        &mut self,
        kind: Kind,
        items: Vec<(Bytes, Hash)>,
        keys: Vec<Key>,
        waiters: Vec<(W, bool)>,
    ) {
        let epoch = self.epoch.expect("only a leader closes blocks");
        let (number, previous) = self.next;
        let block = Block::next(number, previous, kind, items);
        self.next = (number + 1, block.header.hash());
        self.last_ticket += 1;
        let ticket = Ticket(self.last_ticket);
        let data = encode_proposal(self.proposer, ticket.0, &block);
        self.proposals.push(Proposal { epoch, ticket, data });
        let changes = kind == Kind::Configuration;
        self.in_flight.push_back(InFlight { ticket, number, keys, waiters, changes });
    }

    /// A block was applied, perhaps one of this leader's.
    pub fn applied(&mut self, number: u64, ticket: Option<Ticket>) {
        self.applied = number + 1;
        let ours = self.in_flight.front().is_some_and(|block| Some(block.ticket) == ticket);
        if let Some(block) = ours.then(|| self.in_flight.pop_front()).flatten() {
            for key in &block.keys {
                self.uncommitted.remove(key);
            }
            self.answer_when_durable(number, block.waiters);
        }
    }

    /// Everything up to `durable`, exclusively, is in this orderer's ledger.
    pub fn durable(&mut self, durable: u64) {
        self.durable = durable;
        let later = self.committed.split_off(&durable);
        for (block, waiters) in std::mem::replace(&mut self.committed, later) {
            self.answer_when_durable(block, waiters);
        }
    }

    /// The state was replaced by a snapshot's, which ends with block `applied` - 1.
    pub fn restored(&mut self, applied: u64) {
        self.follow();
        self.applied = applied;
    }

    /// Raft refused a block: neither it nor any after it will commit under this epoch.
    pub fn refused(&mut self, ticket: Ticket) {
        self.epoch = None;
        let Some(at) = self.in_flight.iter().position(|block| block.ticket == ticket) else {
            return;
        };
        if let Some(block) = self.in_flight.remove(at) {
            self.counts.failures += 1;
            for key in &block.keys {
                self.uncommitted.remove(key);
            }
            let waiters = block.waiters.into_iter();
            self.answers.extend(waiters.map(|(waiter, _)| (waiter, Outcome::NotOrdered)));
        }
        self.drop_open();
    }

    /// What is to be proposed, in order.
    pub fn take_proposals(&mut self) -> Vec<Proposal> {
        std::mem::take(&mut self.proposals)
    }

    /// Who is to be told what.
    pub fn take_answers(&mut self) -> Vec<(W, Outcome)> {
        std::mem::take(&mut self.answers)
    }
}
