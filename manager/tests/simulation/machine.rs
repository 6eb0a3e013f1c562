//! The manager's state machine, with a watcher that must miss nothing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use rand::{SeedableRng, rngs::StdRng};
use skep_manager::node::machine::{Machine, refusal};
use skep_raft::sim::{Host, Watched};
use skep_raft::{
    ApplyError, Committed, Epoch, Membership, Refusal, RestoreError, SnapshotWriter, StateMachine,
    Ticket,
};
use skep_store::{Proposer, Selector, Store, Tables, Watcher};

/// The simulated node as the store's way out.
struct Way(Host);

impl Proposer for Way {
    fn propose(&self, epoch: u64, ticket: u64, entry: Bytes) -> Result<(), skep_store::Refusal> {
        self.0.propose(Epoch(epoch), Ticket(ticket), entry).map_err(refusal)
    }

    fn packs(&self, _: &Tables) -> bool {
        true
    }
}

/// A replica.
pub struct Replica {
    pub store: Store,
    machine: Machine,
    watcher: Watcher,
    number: u64,
    numbers: Arc<AtomicU64>,
    /// What the watcher saw, until somebody asks.
    pub seen: Vec<Watched>,
}

impl Replica {
    pub fn new(host: Host, numbers: Arc<AtomicU64>) -> Self {
        // Every transaction at the same moment: time must come from nowhere else than the seed.
        let now = UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let store = Store::new(Arc::new(move || now), StdRng::seed_from_u64(u64::from(host.life)));
        let (machine, _) = Machine::new(store.clone(), Arc::new(Way(host)));
        let (_, watcher) = store.watch(Selector::all());
        let mut replica = Replica { store, machine, watcher, number: 0, numbers, seen: Vec::new() };
        replica.watch(0);
        replica
    }

    fn watch(&mut self, index: u64) {
        self.watcher = self.store.watch(Selector::all()).1;
        self.number = self.numbers.fetch_add(1, Ordering::Relaxed) + 1;
        self.seen.push(Watched::Began { watcher: self.number, index });
    }
}

impl StateMachine for Replica {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        self.machine.apply(entries)?;
        while let Some(commit) = self.watcher.try_next().map_err(ApplyError::new)? {
            self.seen.push(Watched::Saw { watcher: self.number, index: commit.version });
        }
        Ok(())
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
        self.machine.snapshot()
    }

    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let membership = self.machine.restore(index, data)?;
        self.watch(index);
        Ok(membership)
    }
}
