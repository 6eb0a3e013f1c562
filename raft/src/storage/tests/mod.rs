//! The log over a disk that misbehaves. A [`Model`] holds what a correct log would hold; scripts of random calls run against
//! both, and whatever was acknowledged must be found again.

mod basics;
mod crash;
mod faults;
mod frames;
mod growth;
mod keys;
mod rot;
mod staged;

use std::sync::Arc;

use bytes::Bytes;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::storage::sim_disk::SimDisk;
use crate::storage::{FileLog, FileLogConfig};
use crate::{
    Batch, DataKey, Entry, EntryKind, HardState, Identity, Keyring, LogStore, Member, RaftId,
    Recovered, Snapshot, SnapshotMeta, StageError, StorageError,
};

/// In every payload; must never be seen on the disk.
pub const SECRET: &[u8] = b"correct horse battery staple";

pub fn ring(byte: u8) -> Keyring {
    Keyring { current: DataKey::new([byte; 32]), older: Vec::new() }
}

pub fn log_on(disk: &SimDisk) -> FileLog {
    log_with(disk, &ring(1))
}

pub fn log_with(disk: &SimDisk, ring: &Keyring) -> FileLog {
    // So little that random histories meet it.
    let config = FileLogConfig { garbage_bytes_max: 32 << 10, ..FileLogConfig::default() };
    FileLog::new(Arc::new(disk.clone()), ring, config)
}

pub fn identity() -> Identity {
    let member = |id| Member {
        raft_id: RaftId(id),
        node_id: String::from_utf8(SECRET.to_vec()).unwrap(),
        addr: "127.0.0.1:1".to_owned(),
    };
    Identity { own: member(7), peers: vec![member(8)] }
}

pub fn entry(index: u64, term: u64, bytes: usize) -> Entry {
    let kind = if index.is_multiple_of(5) { EntryKind::ConfChange } else { EntryKind::Normal };
    let data: Vec<u8> = SECRET.iter().copied().cycle().take(bytes).collect();
    Entry { index, term, kind, data: Bytes::from(data) }
}

pub fn snapshot(index: u64, term: u64, bytes: usize) -> Snapshot {
    let data: Vec<u8> = SECRET.iter().copied().cycle().take(bytes).collect();
    let voters = vec![RaftId(7), RaftId(index)];
    Snapshot { meta: SnapshotMeta { index, term, voters }, data: Bytes::from(data) }
}

pub fn batch(hard_state: Option<(u64, u64)>, entries: Vec<Entry>) -> Batch {
    let hard_state =
        hard_state.map(|(term, commit)| HardState { term, vote: Some(RaftId(7)), commit });
    Batch { snapshot: None, hard_state, entries }
}

/// What a log should hold.
#[derive(Clone, Debug, PartialEq)]
pub struct Model {
    pub identity: Identity,
    pub hard_state: HardState,
    pub compacted: u64,
    pub entries: Vec<Entry>,
    pub snapshot: Option<Snapshot>,
}

/// A call of the log, made up so that it is allowed.
#[derive(Clone, Debug)]
pub enum Call {
    Append(Batch),
    Save(Snapshot),
    Compact(u64),
}

impl Model {
    pub fn new() -> Self {
        Self {
            identity: identity(),
            hard_state: HardState::default(),
            compacted: 0,
            entries: Vec::new(),
            snapshot: None,
        }
    }

    /// As it can be found again: an empty log says where it begins only through the snapshot.
    pub fn normalized(mut self) -> Self {
        if self.entries.is_empty()
            && let Some(snapshot) = &self.snapshot
        {
            self.compacted = snapshot.meta.index;
        }
        self
    }

    pub fn last(&self) -> u64 {
        self.compacted + self.entries.len() as u64
    }

    pub fn call(&mut self, call: &Call) {
        match call {
            Call::Append(batch) => {
                if let Some(snapshot) = &batch.snapshot {
                    self.entries.clear();
                    self.compacted = snapshot.meta.index;
                    self.hard_state.commit = self.hard_state.commit.max(snapshot.meta.index);
                    self.hard_state.term = self.hard_state.term.max(snapshot.meta.term);
                    self.snapshot = Some(snapshot.clone());
                }
                if let Some(hard_state) = &batch.hard_state {
                    let commit = hard_state.commit.max(self.hard_state.commit);
                    self.hard_state = HardState { commit, ..*hard_state };
                }
                if let Some(first) = batch.entries.first() {
                    self.entries.truncate((first.index - self.compacted - 1) as usize);
                    self.entries.extend_from_slice(&batch.entries);
                }
            }
            Call::Save(snapshot) => self.snapshot = Some(snapshot.clone()),
            Call::Compact(through) => {
                self.entries.drain(..(through - self.compacted) as usize);
                self.compacted = *through;
            }
        }
    }

    pub fn random_call(&self, rng: &mut StdRng) -> Call {
        let term = self.hard_state.term + u64::from(rng.random_bool(0.2));
        let newest = self.snapshot.as_ref().map_or(0, |s| s.meta.index);
        match rng.random_range(0..10) {
            0 if newest.max(self.compacted) < self.hard_state.commit => {
                let index =
                    rng.random_range(newest.max(self.compacted) + 1..=self.hard_state.commit);
                Call::Save(snapshot(index, term, rng.random_range(0..9000)))
            }
            1 if newest > self.compacted => {
                Call::Compact(rng.random_range(self.compacted + 1..=newest))
            }
            2 if rng.random_bool(0.3) => {
                let index = self.last() + rng.random_range(1..20);
                let snapshot = Some(snapshot(index, term, rng.random_range(0..9000)));
                let follow = rng.random_range(0..3);
                let entries = (1..=follow).map(|n| entry(index + n, term, 100)).collect();
                Call::Append(Batch { snapshot, ..batch(Some((term, index)), entries) })
            }
            _ => {
                // Now and then replaces a tail that is not committed.
                let floor = self.hard_state.commit.max(self.compacted) + 1;
                let first = if rng.random_bool(0.3) {
                    rng.random_range(floor..=self.last() + 1)
                } else {
                    self.last() + 1
                };
                let count = rng.random_range(0..6);
                let bytes = if rng.random_bool(0.1) { 9000 } else { 100 };
                let entries: Vec<_> = (0..count)
                    .map(|n| entry(first + n, term, rng.random_range(0..bytes)))
                    .collect();
                let last = if count > 0 { first + count - 1 } else { self.last() };
                let commit =
                    rng.random_range(self.hard_state.commit..=last.max(self.hard_state.commit));
                let hard_state = rng.random_bool(0.7).then_some((term, commit));
                Call::Append(batch(hard_state, entries))
            }
        }
    }
}

impl From<Recovered> for Model {
    fn from(recovered: Recovered) -> Self {
        let compacted = match (recovered.entries.first(), &recovered.snapshot) {
            (Some(first), _) => first.index - 1,
            (None, Some(snapshot)) => snapshot.meta.index,
            (None, None) => 0,
        };
        Self {
            identity: recovered.identity,
            hard_state: recovered.hard_state,
            compacted,
            entries: recovered.entries,
            snapshot: recovered.snapshot,
        }
    }
}

pub fn run(log: &mut FileLog, call: &Call) -> Result<(), StorageError> {
    match call {
        Call::Append(batch) => log.append(batch),
        Call::Save(snapshot) => save(log, snapshot).map(drop),
        Call::Compact(through) => log.compact(*through),
    }
}

/// Stages and saves a snapshot.
pub fn save(log: &mut FileLog, snapshot: &Snapshot) -> Result<bool, StorageError> {
    let Snapshot { meta, data } = snapshot.clone();
    match log.snapshot_stage().stage(meta, data.into()) {
        Ok(staged) => log.save_snapshot(staged),
        Err(StageError::Storage(error)) => Err(error),
        Err(StageError::Contents(error)) => panic!("bytes can be had: {error:?}"),
    }
}

/// A log with a history of `calls` random calls, and what it should hold.
pub fn with_history(disk: &SimDisk, seed: u64, calls: usize) -> Model {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut log, mut model) = (log_on(disk), Model::new());
    assert!(log.load().unwrap().is_none());
    log.create(&identity()).unwrap();
    for _ in 0..calls {
        let call = model.random_call(&mut rng);
        run(&mut log, &call).unwrap();
        model.call(&call);
    }
    model
}

/// What is found on a disk.
pub fn found(disk: &SimDisk) -> Result<Option<Model>, StorageError> {
    log_on(disk).load().map(|recovered| recovered.map(Model::from))
}
