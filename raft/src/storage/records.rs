//! The records inside the seals, as protobuf messages of our own. Fields are only ever added.

use bytes::Bytes;
use prost::Message;

use crate::{Entry, EntryKind, HardState, Identity, Member, RaftId, SnapshotMeta};

/// A frame of the log file: what one batch writes.
#[derive(Clone, PartialEq, Message)]
pub struct FrameRecord {
    /// The state after this batch.
    #[prost(message, required, tag = "1")]
    pub state: StateRecord,
    /// In the first frame of a file, and in no other.
    #[prost(message, optional, tag = "2")]
    pub head: Option<HeadRecord>,
    /// The last entries up to `state.last`: their indexes follow from that.
    #[prost(message, repeated, tag = "3")]
    pub entries: Vec<EntryRecord>,
}

impl FrameRecord {
    /// What an appended batch writes.
    pub fn batch(state: StateRecord, entries: &[Entry]) -> Self {
        Self { state, head: None, entries: entries.iter().map(EntryRecord::new).collect() }
    }

    /// The entries with their indexes; `None` when there is one that this version does not know, or more than can be.
    pub fn take_entries(&mut self) -> Option<Vec<Entry>> {
        let records = std::mem::take(&mut self.entries);
        let first = (self.state.last + 1).checked_sub(records.len() as u64)?;
        (first..).zip(records).map(|(index, record)| record.into_entry(index)).collect()
    }
}

/// What only the first frame of a file holds.
#[derive(Clone, PartialEq, Message)]
pub struct HeadRecord {
    #[prost(message, required, tag = "1")]
    pub identity: IdentityRecord,
    /// The file got its name only when all batches up to this one were on the disk.
    #[prost(uint64, tag = "2")]
    pub whole_through: u64,
}

/// An entry; its index follows from its place in the frame.
#[derive(Clone, PartialEq, Message)]
pub struct EntryRecord {
    #[prost(uint64, tag = "1")]
    term: u64,
    /// 0 normal, 1 ConfChange, 2 ConfChangeV2, as on the wire.
    #[prost(uint32, tag = "2")]
    kind: u32,
    #[prost(bytes = "bytes", tag = "3")]
    data: Bytes,
}

impl EntryRecord {
    pub fn new(entry: &Entry) -> Self {
        let kind = match entry.kind {
            EntryKind::Normal => 0,
            EntryKind::ConfChange => 1,
            EntryKind::ConfChangeV2 => 2,
        };
        Self { term: entry.term, kind, data: entry.data.clone() }
    }

    /// `None` for a kind that this version does not know.
    fn into_entry(self, index: u64) -> Option<Entry> {
        let kind = match self.kind {
            0 => EntryKind::Normal,
            1 => EntryKind::ConfChange,
            2 => EntryKind::ConfChangeV2,
            _ => return None,
        };
        Some(Entry { index, term: self.term, kind, data: self.data })
    }
}

/// Written with every batch.
#[derive(Clone, PartialEq, Message)]
pub struct StateRecord {
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// 0 for none.
    #[prost(uint64, tag = "2")]
    pub vote: u64,
    #[prost(uint64, tag = "3")]
    pub commit: u64,
    /// Entries up to here are gone from the log: compacted, or replaced by a snapshot.
    #[prost(uint64, tag = "4")]
    pub compacted: u64,
    /// The last entry of the log; equal to `compacted` when there is none.
    #[prost(uint64, tag = "5")]
    pub last: u64,
    /// The valid snapshots, oldest first.
    #[prost(message, repeated, tag = "6")]
    pub snapshots: Vec<SnapshotRecord>,
}

impl StateRecord {
    pub fn hard_state(&self) -> HardState {
        HardState {
            term: self.term,
            vote: (self.vote != 0).then_some(RaftId(self.vote)),
            commit: self.commit,
        }
    }

    pub fn set_hard_state(&mut self, hard_state: &HardState) {
        self.term = hard_state.term;
        self.vote = hard_state.vote.map_or(0, |id| id.0);
        self.commit = hard_state.commit;
    }
}

/// A snapshot that is on disk, whole.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct SnapshotRecord {
    #[prost(uint64, tag = "1")]
    pub index: u64,
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// The key that sealed it.
    #[prost(uint32, tag = "3")]
    pub key: u32,
    /// The file's length.
    #[prost(uint64, tag = "4")]
    pub file_bytes: u64,
}

/// The first chunk of a snapshot file.
#[derive(Clone, PartialEq, Message)]
pub struct SnapshotHeader {
    #[prost(uint64, repeated, tag = "1")]
    voters: Vec<u64>,
    /// Length of the data in all further chunks together.
    #[prost(uint64, tag = "2")]
    pub data_bytes: u64,
}

impl SnapshotHeader {
    pub fn new(meta: &SnapshotMeta, data_bytes: u64) -> Self {
        Self { voters: meta.voters.iter().map(|id| id.0).collect(), data_bytes }
    }

    pub fn into_meta(self, index: u64, term: u64) -> SnapshotMeta {
        SnapshotMeta { index, term, voters: self.voters.into_iter().map(RaftId).collect() }
    }
}

/// Who this member is.
#[derive(Clone, PartialEq, Message)]
pub struct IdentityRecord {
    #[prost(bytes = "vec", tag = "1")]
    own: Vec<u8>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    peers: Vec<Vec<u8>>,
}

impl IdentityRecord {
    pub fn new(identity: &Identity) -> Self {
        Self {
            own: identity.own.encode(),
            peers: identity.peers.iter().map(Member::encode).collect(),
        }
    }

    /// `None` when a member in it cannot be read.
    pub fn into_identity(self) -> Option<Identity> {
        Some(Identity {
            own: Member::decode(&self.own)?,
            peers: self.peers.iter().map(|peer| Member::decode(peer)).collect::<Option<_>>()?,
        })
    }
}
