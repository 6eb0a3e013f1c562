//! One member as the simulation drives it: what the node's task and its log writer do, in one thread and in virtual time.
//!
//! Kept in step with the node's task: the same queue of proposals, the same merging of batches, the same order of what an output
//! asks for.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use skep_proto::raftpb;

use super::invariants::{AppliedOnce, LogView};
use super::program::{Host, ReadToken};
use super::sabotage::Sabotage;
use crate::core::{Core, RequestId};
use crate::node::proposals::Proposals;
use crate::storage::sim_disk::SimDisk;
use crate::storage::{FileLog, FileLogConfig};
use crate::{
    Batch, DataKey, Identity, KeyId, Keyring, LogStore, Member, RaftId, Recovered, Sizes, Snapshot,
    SnapshotStage, StagedSnapshot, StorageError, Ticket,
};

/// A machine on which a member can run.
pub struct Place<M> {
    /// Its disk, as long as a member's state is on it.
    pub disk: SimDisk,
    /// Counts the members that have lived here: part of the node id.
    pub incarnation: u32,
    /// Counts the addresses this place has had.
    pub address: u32,
    /// The raft id of the member whose state is on the disk.
    pub raft_id: Option<RaftId>,
    pub state: State<M>,
    /// The length of a tick here: clocks differ.
    pub tick_ms: u64,
    /// Nothing runs here until then.
    pub paused_until_ms: u64,
    /// Writes take long until then.
    pub stalled_until_ms: u64,
    /// Messages to and from here take long until then.
    pub slow_until_ms: u64,
    /// An error of the disk is expected.
    pub disk_fails: bool,
}

/// What a place is doing.
pub enum State<M> {
    /// Nothing; there is no state of a member on it.
    Empty,
    /// Asks to be admitted, with an empty disk.
    Joining,
    /// A member's state is on the disk, and nobody runs it.
    Down,
    /// A member runs.
    Up(Box<Running<M>>),
}

impl<M> Place<M> {
    pub fn new(number: usize, tick_ms: u64) -> Self {
        Self {
            disk: SimDisk::new(format!("place{number}")),
            incarnation: 0,
            address: 0,
            raft_id: None,
            state: State::Empty,
            tick_ms,
            paused_until_ms: 0,
            stalled_until_ms: 0,
            slow_until_ms: 0,
            disk_fails: false,
        }
    }

    pub fn running(&self) -> Option<&Running<M>> {
        match &self.state {
            State::Up(running) => Some(running),
            _ => None,
        }
    }

    pub fn running_mut(&mut self) -> Option<&mut Running<M>> {
        match &mut self.state {
            State::Up(running) => Some(running),
            _ => None,
        }
    }
}

/// A member in one of its lives.
pub struct Running<M> {
    pub life: u32,
    pub host: Host,
    pub core: Core,
    pub machine: M,
    pub proposals: Arc<Proposals>,
    pub log: SimLog,
    /// What waits for the log writer.
    pub queue: VecDeque<Work>,
    /// The log writer is at the first of them.
    pub writing: bool,
    pub view: LogView,
    pub replica: AppliedOnce,
    pub requests: BTreeMap<RequestId, Asked>,
    pub last_request: u64,
    /// The followers are to be told what has committed.
    pub telling_commits: bool,
    /// The state machine was told that it leads, and not that it follows since.
    pub leading: bool,
    /// The state machine is ahead of what the core counts as applied, because a snapshot is on its way to the disk.
    pub restoring: u64,
    /// For [`Sabotage::SkipEpochRefusal`]: what was proposed, by ticket, and what is to be proposed again.
    pub kept: BTreeMap<Ticket, Bytes>,
    pub again: Vec<Ticket>,
}

/// Why a request was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Read(ReadToken),
    Join { place: usize, incarnation: u32 },
    Remove(RaftId),
    Transfer,
}

/// Something for the log writer.
pub enum Work {
    Append { number: u64, batch: Batch },
    SaveSnapshot(StagedSnapshot),
    ReadSnapshot { to: Member, message: Box<raftpb::Message> },
    Compact(u64),
}

/// A node's name: a place where another member lived before is another node.
pub fn node_id(place: usize, incarnation: u32) -> String {
    format!("node{place}.{incarnation}")
}

/// A place's address: each number once.
pub fn addr(place: usize, address: u32) -> String {
    format!("place{place}:{address}")
}

/// The key that everybody's disk is sealed with.
pub fn keys() -> Keyring {
    Keyring { current: DataKey::new([0x5a; 32]), older: Vec::new() }
}

/// The real log, watched, and broken where a bug is asked for.
pub struct SimLog {
    inner: FileLog,
    sabotage: Option<Sabotage>,
    /// The log as it was found or made.
    pub view: LogView,
    /// What the member's snapshot holds.
    pub snapshot_index: u64,
    /// The member's id.
    pub own: Option<RaftId>,
}

impl SimLog {
    pub fn new(disk: &SimDisk, sabotage: Option<Sabotage>) -> Self {
        // So little that histories meet it.
        let config = FileLogConfig { garbage_bytes_max: 32 << 10, ..FileLogConfig::default() };
        let inner = FileLog::new(Arc::new(disk.clone()), &keys(), config);
        Self { inner, sabotage, view: LogView::default(), snapshot_index: 0, own: None }
    }

    fn spoil(&self, recovered: &mut Recovered) {
        match self.sabotage {
            Some(Sabotage::LoseVote) => recovered.hard_state.vote = None,
            Some(Sabotage::TruncateCommitted) => {
                let keep = recovered.entries.len().saturating_sub(3);
                recovered.entries.truncate(keep);
                let base = recovered.snapshot.as_ref().map_or(0, |s| s.meta.index);
                let last = recovered.entries.last().map_or(base, |entry| entry.index).max(base);
                recovered.hard_state.commit = recovered.hard_state.commit.min(last);
            }
            _ => {}
        }
    }
}

impl LogStore for SimLog {
    fn load(&mut self) -> Result<Option<Recovered>, StorageError> {
        let mut found = self.inner.load()?;
        if let Some(recovered) = &mut found {
            self.spoil(recovered);
            self.view = LogView::found(recovered);
            self.snapshot_index = recovered.snapshot.as_ref().map_or(0, |s| s.meta.index);
            self.own = Some(recovered.identity.own.raft_id);
        }
        Ok(found)
    }

    fn create(&mut self, identity: &Identity) -> Result<(), StorageError> {
        self.own = Some(identity.own.raft_id);
        self.inner.create(identity)
    }

    fn append(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.inner.append(batch)
    }

    fn snapshot_stage(&self) -> Arc<dyn SnapshotStage> {
        self.inner.snapshot_stage()
    }

    fn save_snapshot(&mut self, staged: StagedSnapshot) -> Result<bool, StorageError> {
        self.inner.save_snapshot(staged)
    }

    fn read_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        self.inner.read_snapshot()
    }

    fn compact(&mut self, through: u64) -> Result<(), StorageError> {
        self.inner.compact(through)
    }

    fn rotate(&mut self, keys: Keyring) -> Result<(), StorageError> {
        self.inner.rotate(keys)
    }

    fn keys_in_use(&self) -> std::collections::BTreeSet<KeyId> {
        self.inner.keys_in_use()
    }

    fn sizes(&self) -> Sizes {
        self.inner.sizes()
    }
}
