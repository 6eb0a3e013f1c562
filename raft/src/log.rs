//! The log in memory: what the raft library reads. The log store writes the same entries to disk.
//!
//! Bounded: a snapshot is taken after so many entries or bytes, and everything but a short tail is dropped then.

use std::collections::VecDeque;

use raft::{
    Error, GetEntriesContext, RaftState, Result, Storage, StorageError,
    eraftpb::{ConfState, Entry, HardState, Snapshot},
};

use crate::{SnapshotMeta, wire};

/// What an entry takes besides its data, roughly.
const ENTRY_OVERHEAD_BYTES: u64 = 48;

/// See the module.
#[derive(Debug, Default)]
pub struct MemLog {
    hard_state: HardState,
    conf_state: ConfState,
    /// The newest snapshot that is durable here.
    snapshot: Option<SnapshotMeta>,
    /// Index and term of the entry before the first; (0, 0) for a whole log.
    before: (u64, u64),
    entries: VecDeque<Entry>,
    bytes: u64,
}

impl MemLog {
    /// A log as a restart finds it: the configuration is the snapshot's.
    pub fn new(
        hard_state: HardState,
        snapshot: Option<SnapshotMeta>,
        entries: impl IntoIterator<Item = Entry>,
    ) -> std::result::Result<Self, String> {
        let base = snapshot.as_ref().map_or((0, 0), |meta| (meta.index, meta.term));
        let voters = snapshot.iter().flat_map(|meta| meta.voters.iter().copied());
        let mut log = MemLog {
            hard_state,
            conf_state: wire::conf_state(voters),
            snapshot: snapshot.clone(),
            before: base,
            ..Default::default()
        };
        // Entries that the snapshot includes serve followers that are a little behind. The one before the first of
        // them is gone, so the first itself gives its place to what has to be known of it: index and term.
        let mut entries = entries.into_iter().peekable();
        if let Some(first) = entries.peek() {
            if first.index > base.0 + 1 {
                return Err(format!(
                    "the log begins at {}, but what comes before it is only known up to {}",
                    first.index, base.0
                ));
            }
            if first.index <= base.0 {
                log.before = (first.index, first.term);
                entries.next();
            }
        }
        for entry in entries {
            if entry.index != log.last().0 + 1 {
                return Err(format!("entry {} follows entry {}", entry.index, log.last().0));
            }
            if entry.term < log.last().1 {
                return Err(format!("the term goes back at entry {}", entry.index));
            }
            log.push(entry);
        }
        if log.last().0 < base.0 {
            // The log ends before the snapshot: nothing of it is of use.
            log.entries.clear();
            log.bytes = 0;
            log.before = base;
        }
        if log.term_at(base.0) != Some(base.1) && base.0 > 0 {
            return Err(format!("entry {} is of another term than the snapshot of it", base.0));
        }
        if log.hard_state.commit > log.last().0 {
            return Err(format!(
                "entries up to {} are committed, but the log ends at {}",
                log.hard_state.commit,
                log.last().0
            ));
        }
        log.hard_state.commit = log.hard_state.commit.max(base.0);
        Ok(log)
    }

    fn push(&mut self, entry: Entry) {
        self.bytes += entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES;
        self.entries.push_back(entry);
    }

    fn last(&self) -> (u64, u64) {
        self.entries.back().map_or(self.before, |entry| (entry.index, entry.term))
    }

    /// The term of an entry that is still known.
    pub fn term_at(&self, index: u64) -> Option<u64> {
        if index == self.before.0 {
            return Some(self.before.1);
        }
        let offset = index.checked_sub(self.before.0 + 1)?;
        self.entries.get(usize::try_from(offset).ok()?).map(|entry| entry.term)
    }

    /// The first entry that is still here.
    pub fn first(&self) -> u64 {
        self.before.0 + 1
    }

    /// The newest durable snapshot.
    pub fn snapshot_meta(&self) -> Option<&SnapshotMeta> {
        self.snapshot.as_ref()
    }

    /// Bytes held, roughly.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// How many entries up to this one hold no more than so many bytes together; at most `most`.
    pub fn count_within(&self, index: u64, most: u64, bytes: u64) -> u64 {
        let end = index.saturating_sub(self.before.0).min(self.entries.len() as u64);
        let mut room = bytes;
        let fits = |entry: &&Entry| {
            let size = entry.data.len() as u64 + ENTRY_OVERHEAD_BYTES;
            room.checked_sub(size).map(|rest| room = rest).is_some()
        };
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        self.entries.range(..end as usize).rev().take(most).take_while(fits).count() as u64
    }

    /// Replaces what conflicts and appends the rest. The entries are consecutive and connect.
    pub fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        while self.entries.back().is_some_and(|last| last.index >= first.index) {
            if let Some(dropped) = self.entries.pop_back() {
                self.bytes -= dropped.data.len() as u64 + ENTRY_OVERHEAD_BYTES;
            }
        }
        for entry in entries {
            self.push(entry.clone());
        }
    }

    /// A leader's snapshot takes the place of the whole log.
    pub fn install(&mut self, meta: SnapshotMeta) {
        self.entries.clear();
        self.bytes = 0;
        self.before = (meta.index, meta.term);
        self.conf_state = wire::conf_state(meta.voters.iter().copied());
        self.snapshot = Some(meta);
    }

    /// A snapshot of this member is durable.
    pub fn saved(&mut self, meta: SnapshotMeta) {
        self.snapshot = Some(meta);
    }

    /// Drops entries up to and including `through`, which the newest snapshot includes.
    pub fn compact(&mut self, through: u64) {
        while self.entries.front().is_some_and(|first| first.index <= through) {
            if let Some(dropped) = self.entries.pop_front() {
                self.bytes -= dropped.data.len() as u64 + ENTRY_OVERHEAD_BYTES;
                self.before = (dropped.index, dropped.term);
            }
        }
    }

    /// The configuration after the last applied change.
    pub fn set_conf_state(&mut self, conf_state: ConfState) {
        self.conf_state = conf_state;
    }
}

impl Storage for MemLog {
    fn initial_state(&self) -> Result<RaftState> {
        Ok(RaftState { hard_state: self.hard_state.clone(), conf_state: self.conf_state.clone() })
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> Result<Vec<Entry>> {
        if low < self.first() {
            return Err(Error::Store(StorageError::Compacted));
        }
        if high > self.last().0 + 1 {
            return Err(Error::Store(StorageError::Unavailable));
        }
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let skip = (low - self.first()) as usize;
        let (mut out, mut bytes) = (Vec::new(), 0u64);
        for entry in self.entries.iter().skip(skip).take((high - low) as usize) {
            bytes = bytes.saturating_add(entry.data.len() as u64);
            if bytes > bytes_max && !out.is_empty() {
                break;
            }
            out.push(entry.clone());
        }
        Ok(out)
    }

    fn term(&self, index: u64) -> Result<u64> {
        self.term_at(index).ok_or(Error::Store(if index < self.first() {
            StorageError::Compacted
        } else {
            StorageError::Unavailable
        }))
    }

    fn first_index(&self) -> Result<u64> {
        Ok(self.first())
    }

    fn last_index(&self) -> Result<u64> {
        Ok(self.last().0)
    }

    /// The newest snapshot without its data, which is read from disk when the message goes out, and with the present
    /// configuration, in which a member that was added since finds itself.
    fn snapshot(&self, request_index: u64, _to: u64) -> Result<Snapshot> {
        match &self.snapshot {
            Some(meta) if meta.index >= request_index => {
                let mut snapshot = wire::snapshot_to_raft(meta, bytes::Bytes::new());
                snapshot.mut_metadata().set_conf_state(self.conf_state.clone());
                Ok(snapshot)
            }
            _ => Err(Error::Store(StorageError::SnapshotTemporarilyUnavailable)),
        }
    }
}
