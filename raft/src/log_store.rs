//! What the node asks of its disk: a trait, and the values that cross it.
//!
//! [`LogStore`] is called from one thread only, the log writer's, one call at a time and in the order in which the core
//! gave out its work. Meanwhile a [`SnapshotStage`] writes a snapshot on another. Every call returns only once its effect is
//! durable. Any error is final: the node stops, because after a failed write or fsync nobody can say what is on the disk.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

use crate::{KeyId, Keyring, Member, RaftId, SnapshotContents, SnapshotError};

/// What an entry of the log holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EntryKind {
    /// A proposal's bytes, or nothing: the entry by which a new leader commits what came before it.
    Normal,
    /// An encoded `raftpb.ConfChange`, its numbers as on the wire.
    ConfChange,
    /// An encoded `raftpb.ConfChangeV2`. Never proposed here; kept as it is when a peer's log holds one.
    ConfChangeV2,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from 1.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// What `data` is.
    pub kind: EntryKind,
    /// The payload; may hold secrets, so it is sealed on disk and never printed.
    pub data: Bytes,
}

/// What a member must never forget (Raft paper, figure 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The latest term this member has seen.
    pub term: u64,
    /// Whom it voted for in that term.
    pub vote: Option<RaftId>,
    /// Known to be committed up to here. May lag behind on disk: it is carried by the batches that are written anyway.
    pub commit: u64,
}

/// Who this member is. Written once, before anything else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// This member, with the raft id it was given.
    pub own: Member,
    /// The members it was told of when it joined; empty for a founder. They tell it where its peers are until the log
    /// or a snapshot does.
    pub peers: Vec<Member>,
}

/// What a snapshot stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// The last entry that it includes.
    pub index: u64,
    /// That entry's term.
    pub term: u64,
    /// Raft's own configuration that goes with it.
    pub voters: Vec<RaftId>,
}

/// The state machine and the membership at one index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// The state machine's bytes; they hold secrets, so they are sealed on disk.
    pub data: Bytes,
}

/// A snapshot that is written, and counts for nothing until [`LogStore::save_snapshot`].
#[derive(Debug)]
pub struct StagedSnapshot {
    /// What it stands for.
    pub meta: SnapshotMeta,
    /// The length of its file.
    pub file_bytes: u64,
    /// The key that it is sealed with.
    pub key: KeyId,
}

/// Why a snapshot was not staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// It could not be made. Nothing was lost by it.
    #[error(transparent)]
    Contents(#[from] SnapshotError),
    /// The disk failed, which is final.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

/// What one write makes durable, all of it or nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Batch {
    /// A snapshot that the leader sent: it replaces the stored one **and the whole log**. Comes before the entries.
    pub snapshot: Option<Snapshot>,
    /// The new hard state, when it changed.
    pub hard_state: Option<HardState>,
    /// Consecutive entries. The first one and everything after it in the stored log is replaced.
    pub entries: Vec<Entry>,
}

impl Batch {
    /// Whether there is nothing to write.
    pub fn is_empty(&self) -> bool {
        self.snapshot.is_none() && self.hard_state.is_none() && self.entries.is_empty()
    }
}

/// What a restart finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Who this member is.
    pub identity: Identity,
    /// The last hard state written.
    pub hard_state: HardState,
    /// The newest snapshot.
    pub snapshot: Option<Snapshot>,
    /// The log in order, without gaps. It may begin before the snapshot's index, and never begins later than one
    /// after it.
    pub entries: Vec<Entry>,
}

/// What the log takes on disk, for the operator's eye.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sizes {
    /// Bytes of the log file, room that it keeps for what comes next included.
    pub log_bytes: u64,
    /// Bytes of the newest snapshot's file.
    pub snapshot_bytes: u64,
}

/// Why the disk failed the node. Always final for the running node.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// The operating system refused.
    #[error("cannot {action}: {source}")]
    Io {
        /// What was tried, on which file.
        action: String,
        /// What the system said.
        source: io::Error,
    },
    /// What is on disk is not what was written.
    #[error("{what} is damaged: {detail}")]
    Damaged {
        /// The object: a file, an entry by its index, a snapshot by its index.
        what: String,
        /// What is wrong with it and what to do.
        detail: String,
    },
    /// A record was sealed with a key that the ring does not hold.
    #[error(
        "{what} is sealed with key {key}, which is not among the keys given; give the key that was in use when it was written"
    )]
    UnknownKey {
        /// The object.
        what: String,
        /// The key.
        key: KeyId,
    },
    /// The state folder was written by another version.
    #[error(
        "{what} has format version {found}, which this version cannot read (it reads {supported})"
    )]
    UnknownFormat {
        /// The file.
        what: String,
        /// Its version.
        found: u32,
        /// Ours.
        supported: u32,
    },
    /// Another process has it open.
    #[error("cannot {what}: another process uses the folder")]
    InUse {
        /// What was tried, on which file.
        what: String,
    },
    /// A call that the trait's rules do not allow: a fault of the caller.
    #[error("the log store was misused: {0}")]
    Misuse(String),
}

/// Writes the snapshots that a member takes of itself, large as they may be, while the log goes on.
pub trait SnapshotStage: Send + Sync {
    /// Writes a snapshot aside, durably. One at a time. Takes the place of one that was staged before and not saved.
    fn stage(
        &self,
        meta: SnapshotMeta,
        contents: SnapshotContents,
    ) -> Result<StagedSnapshot, StageError>;
}

/// The durable log of one member.
///
/// Calls block; the node makes them from a thread of its own. After an error no further call is made.
pub trait LogStore: Send + 'static {
    /// What was written before. `None` when [`create`](Self::create) was never completed here. Called once, first.
    fn load(&mut self) -> Result<Option<Recovered>, StorageError>;

    /// Starts an empty log for this member. Whatever a half-finished `create` left behind is replaced; a log that
    /// exists is not: [`StorageError::Misuse`].
    fn create(&mut self, identity: &Identity) -> Result<(), StorageError>;

    /// Makes a batch durable, atomically and with one fsync of the log.
    fn append(&mut self, batch: &Batch) -> Result<(), StorageError>;

    /// What writes the snapshots that are then to be saved.
    fn snapshot_stage(&self) -> Arc<dyn SnapshotStage>;

    /// Stores a snapshot that this member took of itself and staged, in place of the older one. The log stays as it is. False
    /// when it is thrown away instead: it is not newer than the stored one, since a leader's has come in between, or the
    /// key was changed while it was staged.
    fn save_snapshot(&mut self, staged: StagedSnapshot) -> Result<bool, StorageError>;

    /// Reads the newest snapshot back, to send it to a follower. The one call whose error is not final: nothing was written,
    /// and a new snapshot can take the place of one that has rotted.
    fn read_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError>;

    /// Drops the entries up to and including `through`, which is never beyond the newest snapshot's index.
    fn compact(&mut self, through: u64) -> Result<(), StorageError>;

    /// Changes the keys: when it returns, everything new is sealed with the ring's current key. Entries and snapshots that are
    /// there stay as they are (rewriting a large snapshot would hold the log up), so the ring must still hold every key of
    /// [`keys_in_use`](Self::keys_in_use), else [`StorageError::UnknownKey`] and nothing has changed.
    fn rotate(&mut self, keys: Keyring) -> Result<(), StorageError>;

    /// The keys that something on disk is sealed with. Once a snapshot was saved and the log was compacted after
    /// [`rotate`](Self::rotate), only the current one is left, and the others may be thrown away.
    fn keys_in_use(&self) -> BTreeSet<KeyId>;

    /// What it takes on disk; cheap, an estimate will do.
    fn sizes(&self) -> Sizes;
}
