//! The queue between proposers and the node's task: bounded, in order, and closed at once when an epoch ends.
//!
//! The lock is what makes "everything after a refused proposal is refused" hold: a proposal is either in the queue
//! under the present epoch or was refused to its proposer.

use std::collections::VecDeque;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::{Epoch, Refusal, Ticket, config::PROPOSAL_BYTES_MAX};

/// Proposals that wait for the node's task at most. It drains all of them at once, so this is what may come in while
/// it works on one round; well above what a few hundred writers produce.
const WAITING_MAX: usize = 8192;

/// … and the bytes that they hold together: a few rounds' worth of large entries.
const WAITING_BYTES_MAX: usize = 16 * 1024 * 1024;

/// One proposal.
#[derive(Debug)]
pub struct Proposal {
    pub ticket: Ticket,
    pub data: Bytes,
}

/// Why no epoch is open.
#[derive(Clone, Copy, Debug)]
enum Gate {
    Open(Epoch),
    /// The epoch ended by a refusal to the proposer; the task has not opened the next one yet.
    Broken,
    Closed(Refusal),
}

/// See the module.
#[derive(Debug)]
pub struct Proposals {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    gate: Gate,
    waiting: VecDeque<Proposal>,
    bytes: usize,
}

/// What the task finds in the queue.
pub struct Drained {
    pub proposals: VecDeque<Proposal>,
    /// A proposal after these was refused to its proposer: the epoch has ended.
    pub broken: bool,
}

impl Proposals {
    pub fn new() -> Self {
        let gate = Gate::Closed(Refusal::NotLeader);
        Proposals { inner: Mutex::new(Inner { gate, waiting: VecDeque::new(), bytes: 0 }) }
    }

    /// Takes a proposal, or ends the epoch.
    pub fn push(&self, epoch: Epoch, proposal: Proposal) -> Result<(), Refusal> {
        let mut inner = self.inner.lock();
        match inner.gate {
            Gate::Open(open) if open == epoch => {}
            Gate::Open(_) | Gate::Broken => return Err(Refusal::StaleEpoch),
            Gate::Closed(why) => return Err(why),
        }
        let size = proposal.data.len();
        let refusal = if size > PROPOSAL_BYTES_MAX {
            Refusal::TooLarge { bytes: size, bytes_max: PROPOSAL_BYTES_MAX }
        } else if inner.waiting.len() >= WAITING_MAX || inner.bytes + size > WAITING_BYTES_MAX {
            Refusal::Busy
        } else {
            inner.bytes += size;
            inner.waiting.push_back(proposal);
            return Ok(());
        };
        inner.gate = Gate::Broken;
        Err(refusal)
    }

    /// Takes everything that waits.
    pub fn drain(&self) -> Drained {
        let mut inner = self.inner.lock();
        inner.bytes = 0;
        Drained {
            proposals: std::mem::take(&mut inner.waiting),
            broken: matches!(inner.gate, Gate::Broken),
        }
    }

    /// Opens an epoch; the queue is empty then.
    pub fn open(&self, epoch: Epoch) {
        self.inner.lock().gate = Gate::Open(epoch);
    }

    /// Closes the queue and takes what waits, which is to be refused.
    pub fn close(&self, why: Refusal) -> VecDeque<Proposal> {
        let mut inner = self.inner.lock();
        inner.gate = Gate::Closed(why);
        inner.bytes = 0;
        std::mem::take(&mut inner.waiting)
    }
}
