//! An orderer on a simulated member: its ledger is written when a turn says so, or when a snapshot needs it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use skep_orderer::core::chain::{Header, Kept};
use skep_orderer::core::keeper::Work;
use skep_orderer::core::leader::{Outcome, Proposal};
use skep_orderer::core::orderer::Orderer;
use skep_orderer::ledger::{Ledger, Reader};
use skep_orderer::machine::{Machine, Shared, Surroundings};
use skep_raft::sim::Host;
use skep_raft::{
    ApplyError, Committed, Epoch, Membership, Refusal, RestoreError, SnapshotError, SnapshotWriter,
    StateMachine, Ticket,
};

use crate::bugs::{Bug, without_window};
use crate::disk::Disk;
use crate::program::configuration;

/// How often a ledger was behind a snapshot, in all histories together.
pub static PULLED: AtomicU64 = AtomicU64::new(0);

/// Names one submission.
pub type Token = u64;

/// What a simulated member is to its orderer.
pub struct Around {
    host: Host,
    answers: Mutex<Vec<(Token, Outcome)>>,
    ledger: Mutex<Ledger>,
}

impl Surroundings<Token> for Around {
    fn propose(&self, proposal: Proposal) -> Result<(), Refusal> {
        self.host.propose(proposal.epoch, proposal.ticket, proposal.data)
    }

    fn answer(&self, waiter: Token, outcome: Outcome) {
        self.answers.lock().push((waiter, outcome));
    }

    fn changed(&self) {}

    fn await_ledger(&self, number: u64) -> Result<(), SnapshotError> {
        match self.ledger.lock().reader().height() > number {
            true => Ok(()),
            false => Err(SnapshotError::new("the ledger is behind")),
        }
    }
}

/// A replica.
pub struct Replica {
    shared: Arc<Shared<Token, Around>>,
    machine: Machine<Token, Around>,
    ledgers: Ledgers,
    bug: Option<Bug>,
    pub life: u32,
    pub reader: Reader,
}

/// The ledger of each place, as its last member had it: somebody has each block.
pub type Ledgers = Arc<Mutex<BTreeMap<usize, Reader>>>;

/// Opens a ledger.
pub fn open(disk: &Disk) -> Ledger {
    let ledger = Ledger::open(Arc::new(disk.clone()));
    ledger.expect("no crash leaves a ledger that cannot be opened")
}

impl Replica {
    pub fn new(host: Host, disk: &Disk, ledgers: Ledgers, bug: Option<Bug>) -> Replica {
        let ledger = open(disk);
        let (reader, life) = (ledger.reader(), host.life);
        ledgers.lock().insert(host.place, reader.clone());
        // The place and the life tell this replica's entries from all others.
        let proposer = (host.place as u64) << 32 | u64::from(life);
        let orderer = Orderer::new(proposer, ledger.tip(), Some(configuration()));
        let around = Around { host, answers: Mutex::default(), ledger: Mutex::new(ledger) };
        let shared = Shared::new(orderer, around);
        Replica { machine: Machine(shared.clone()), shared, ledgers, bug, life, reader }
    }

    pub fn look<R>(&self, look: impl FnOnce(&Orderer<Token>) -> R) -> R {
        self.shared.look(look)
    }

    pub fn act<R>(&self, act: impl FnOnce(&mut Orderer<Token>) -> R) -> R {
        self.shared.act(act)
    }

    pub fn take_answers(&self) -> Vec<(Token, Outcome)> {
        std::mem::take(&mut self.shared.around.answers.lock())
    }

    /// One piece of the ledger's work, with the help of somebody else's ledger; `false` when there is none, or none can be done.
    pub fn keep(&self, now: Duration) -> bool {
        let work = self.act(Orderer::work).expect("the ledger is of this chain");
        let ledgers = self.ledgers.lock().clone();
        let peer = |through| ledgers.values().find(|ledger| ledger.height() > through);
        match work {
            None => false,
            Some(Work::Write(blocks)) => {
                let mut ledger = self.shared.around.ledger.lock();
                ledger.append(&blocks).expect("the keeper writes what comes next");
                let tip = ledger.tip().expect("something was written");
                drop(ledger);
                self.act(|orderer| orderer.wrote(now, tip));
                true
            }
            Some(Work::Headers { from, through }) => {
                let Some(peer) = peer(through) else { return false };
                let headers =
                    (from..=through).map(|number| peer.header(number).expect("it is there"));
                let headers: Vec<Header> = headers.collect();
                self.act(|orderer| orderer.headers(&headers)).expect("nobody lies here");
                PULLED.fetch_add(1, Ordering::Relaxed);
                true
            }
            Some(Work::Blocks { from, through }) => {
                let Some(peer) = peer(through) else { return false };
                let some = from..=through.min(from + 2);
                let blocks = some.map(|number| peer.block(number).expect("it is there"));
                let blocks: Vec<Kept> = blocks.collect();
                self.act(|orderer| orderer.pulled(blocks)).expect("nobody lies here");
                true
            }
        }
    }
}

impl StateMachine for Replica {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        self.machine.apply(entries)
    }

    fn refused(&mut self, ticket: Ticket, why: Refusal) {
        self.machine.refused(ticket, why);
    }

    fn leading(&mut self, epoch: Epoch, commit_index: u64) {
        self.machine.leading(epoch, commit_index);
    }

    fn following(&mut self) {
        self.machine.following();
    }

    fn snapshot(&self) -> SnapshotWriter {
        // A process waits for its ledger before it writes the snapshot; here no time passes meanwhile.
        while self.keep(Duration::ZERO) {}
        self.machine.snapshot()
    }

    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let forgets = self.bug == Some(Bug::ForgetWindow);
        self.machine.restore(index, if forgets { without_window(data) } else { data })
    }
}
