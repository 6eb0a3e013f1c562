//! What is around the orderer in a process.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use skep_raft::{NodeHandle, Refusal, SnapshotError, Ticket};
use tokio::sync::{Notify, oneshot, watch};

use crate::core::leader::{Outcome, Proposal};
use crate::machine::Surroundings;

/// How long a snapshot waits for the ledger. When it takes longer there is none, and raft tries again later.
const LEDGER_TIME_MAX: Duration = Duration::from_secs(60);

/// Who waits for an answer.
pub type Waiter = oneshot::Sender<Outcome>;

/// The way to raft, and what came before there was one: a founder may lead before its handle is known here.
enum Way {
    Before(Vec<Proposal>),
    Raft(NodeHandle),
}

/// See the module.
pub struct Around {
    way: Mutex<Way>,
    /// Blocks in the ledger.
    height: watch::Sender<u64>,
    /// Work for the ledger.
    pub keeper: Notify,
    /// Another deadline.
    pub clock: Notify,
    /// Another difference between raft's members and the chain's.
    pub governor: Notify,
    /// Room for those who wait to submit.
    pub room: Notify,
    /// Counts from here.
    started: Instant,
}

impl Around {
    /// Around an orderer whose ledger holds so many blocks.
    pub fn new(height: u64) -> Around {
        Around {
            way: Mutex::new(Way::Before(Vec::new())),
            height: watch::Sender::new(height),
            keeper: Notify::new(),
            clock: Notify::new(),
            governor: Notify::new(),
            room: Notify::new(),
            started: Instant::now(),
        }
    }

    /// Now, as the orderer counts.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// When that is.
    pub fn instant(&self, at: Duration) -> tokio::time::Instant {
        (self.started + at).into()
    }

    /// The ledger holds so many blocks.
    pub fn ledger_grew(&self, height: u64) {
        self.height.send_replace(height);
    }

    /// Follows the ledger.
    pub fn height(&self) -> watch::Receiver<u64> {
        self.height.subscribe()
    }

    /// Names the raft node. Gives what it refuses of what was proposed before.
    pub fn connect(&self, raft: NodeHandle) -> Vec<Ticket> {
        let mut way = self.way.lock();
        let before = match &mut *way {
            Way::Before(before) => std::mem::take(before),
            Way::Raft(_) => Vec::new(),
        };
        let refused = before.into_iter().filter_map(|proposal| {
            let Proposal { epoch, ticket, data } = proposal;
            raft.propose(epoch, ticket, data).err().map(|_| ticket)
        });
        let refused = refused.collect();
        *way = Way::Raft(raft);
        refused
    }
}

impl Surroundings<Waiter> for Around {
    fn propose(&self, proposal: Proposal) -> Result<(), Refusal> {
        match &mut *self.way.lock() {
            Way::Before(before) => before.push(proposal),
            Way::Raft(raft) => {
                raft.propose(proposal.epoch, proposal.ticket, proposal.data)?;
            }
        }
        Ok(())
    }

    fn answer(&self, waiter: Waiter, outcome: Outcome) {
        // Who has gone needs no answer.
        let _ = waiter.send(outcome);
    }

    fn changed(&self) {
        self.keeper.notify_one();
        self.clock.notify_one();
        self.governor.notify_one();
        self.room.notify_waiters();
    }

    fn await_ledger(&self, number: u64) -> Result<(), SnapshotError> {
        let mut height = self.height.subscribe();
        let reached = async {
            // The sender lives as long as this.
            let _ = height.wait_for(|height| *height > number).await;
        };
        let runtime = tokio::runtime::Handle::try_current().map_err(SnapshotError::new)?;
        let waited = runtime.block_on(tokio::time::timeout(LEDGER_TIME_MAX, reached));
        waited.map_err(|_| SnapshotError::new("the ledger is far behind the chain"))
    }
}
