//! What must hold in every history, a file each with its source. They watch from outside: what members hand to the disk, to
//! the state machine and to their peers; none asks a member what it believes.

mod applied_once;
mod durability;
mod election_safety;
mod epoch_prefix;
mod leader_completeness;
pub mod linearizability;
mod log_matching;
mod log_view;
mod membership;
mod state_machine_safety;
mod watches;

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

pub use applied_once::AppliedOnce;
pub use epoch_prefix::Ledger;
pub use log_view::LogView;
pub use state_machine_safety::History;

use super::program::Watched;
use crate::{Batch, Committed, Membership, RaftId, Ticket};

/// What did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Violation {
    /// The name of the invariant: its file.
    pub invariant: &'static str,
    /// What was seen.
    pub detail: String,
}

impl Violation {
    /// A violation of this invariant.
    pub fn new(invariant: &'static str, detail: impl Into<String>) -> Self {
        Self { invariant, detail: detail.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.invariant, self.detail)
    }
}

/// All invariants of one history.
#[derive(Debug, Default)]
pub struct Invariants {
    /// Everything committed, as first applied anywhere.
    pub history: History,
    /// Everything proposed.
    pub ledger: Arc<Mutex<Ledger>>,
    elections: election_safety::ElectionSafety,
    logs: log_matching::LogMatching,
    pub(super) memberships: membership::Memberships,
    watches: watches::Watches,
    /// What was acknowledged.
    pub(super) durability: durability::Durability,
}

impl Invariants {
    /// A member was seen leading.
    pub fn leads(&mut self, raft_id: RaftId, term: u64, log: &LogView) -> Result<(), Violation> {
        if self.elections.leads(raft_id, term)? {
            leader_completeness::check(raft_id, term, log, &self.history)?;
        }
        Ok(())
    }

    /// A member hands this to its disk.
    pub fn writes(&mut self, log: &mut LogView, batch: &Batch) -> Result<(), Violation> {
        log.write(batch);
        self.logs.wrote(log, &batch.entries)
    }

    /// A member's state machine is about to be given these.
    pub fn applies(
        &mut self,
        life: u32,
        replica: &mut AppliedOnce,
        entries: &[Committed],
    ) -> Result<(), Violation> {
        for entry in entries {
            replica.apply(entry.index, &self.history)?;
            if self.history.apply(life, entry)? {
                self.ledger.lock().committed(entry)?;
            }
            if let Some(ticket) = entry.ticket {
                self.ledger.lock().acknowledged(life, ticket, entry)?;
                self.durability.acknowledged(entry.index);
            }
        }
        Ok(())
    }

    /// A member's state machine is told of a refusal.
    pub fn refuses(&mut self, life: u32, ticket: Ticket) -> Result<(), Violation> {
        self.ledger.lock().refused(life, ticket)
    }

    /// A member holds this membership, having applied everything up to `index`.
    pub fn membership(
        &mut self,
        own: RaftId,
        index: u64,
        membership: &Arc<Membership>,
    ) -> Result<(), Violation> {
        self.memberships.holds(own, index, membership)
    }

    /// A watcher saw something.
    pub fn watched(&mut self, watched: Watched) -> Result<(), Violation> {
        self.watches.saw(watched, &self.history)
    }
}
