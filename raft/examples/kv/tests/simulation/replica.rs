//! A replica: the machine as it is in a process, with a watcher on all keys.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering::Relaxed},
};

use bytes::Bytes;
use futures::FutureExt as _;
use skep_kv::{
    machine::Machine,
    store::Store,
    watch::{Told, Watch},
};
use skep_raft::{
    ApplyError, Committed, Epoch, Membership, Refusal, RestoreError, SnapshotWriter, StateMachine,
    Ticket,
    sim::{Host, Watched},
};

pub struct Replica {
    machine: Machine,
    watch: Watch,
    watcher: u64,
    watchers: Arc<AtomicU64>,
    /// What the watcher saw, until somebody asks.
    pub seen: Vec<Watched>,
    /// What the watcher is wrong about.
    pub wrong: Option<String>,
}

impl Replica {
    pub fn new(host: &Host, watchers: Arc<AtomicU64>) -> Replica {
        let store = Store::default();
        let way = host.clone();
        store.connect(move |epoch, ticket, data| way.propose(epoch, ticket, data));
        let watch = store.watch(Bytes::new()).expect("the first watcher");
        let machine = Machine::new(store);
        let mut replica =
            Replica { machine, watch, watcher: 0, watchers, seen: Vec::new(), wrong: None };
        replica.begin();
        replica
    }

    pub fn store(&self) -> &Store {
        self.machine.store()
    }

    fn begin(&mut self) {
        self.watch = self.store().watch(Bytes::new()).expect("room for a watcher");
        self.watcher = self.watchers.fetch_add(1, Relaxed) + 1;
        let index = self.watch.state.revision;
        self.seen.push(Watched::Began { watcher: self.watcher, index });
    }

    /// Holds what the watcher was told against what was applied. An entry that changed nothing is told to nobody; the
    /// simulation is shown it all the same, as it counts commits.
    fn follow(&mut self, indexes: &[u64]) {
        let mut told = Vec::new();
        while let Some(Told::Change(change)) = self.watch.next().now_or_never() {
            told.push(change);
        }
        for change in &told {
            let present = self.store().get(&change.key);
            if !indexes.contains(&change.revision) {
                self.wrong = Some(format!("{change:?} was not applied at {indexes:?}"));
            }
            // The last change of a key is what the key has.
            let last = told.iter().rfind(|other| other.key == change.key);
            if last == Some(change) && present.map(|item| item.value) != change.value {
                self.wrong = Some(format!("{change:?} is not what the key has"));
            }
        }
        if told.windows(2).any(|two| two[0].revision >= two[1].revision) {
            self.wrong = Some(format!("{told:?} is not in order"));
        }
        let saw = |index: &u64| Watched::Saw { watcher: self.watcher, index: *index };
        self.seen.extend(indexes.iter().map(saw));
    }
}

impl StateMachine for Replica {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        let indexes: Vec<u64> = entries.iter().map(|entry| entry.index).collect();
        self.machine.apply(entries)?;
        self.follow(&indexes);
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
        if self.watch.next().now_or_never() != Some(Told::Restart) {
            self.wrong = Some(format!("the watcher was not told of the snapshot at {index}"));
        }
        self.begin();
        Ok(membership)
    }
}
