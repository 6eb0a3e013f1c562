//! What a log holds: the sum of its batches, and which batch may come next. Both the running log and its replay add them up
//! here.

use std::collections::VecDeque;

use crate::{Batch, Entry, Identity, StorageError};

use super::frame::FRAME_ALIGN_BYTES;
use super::records::StateRecord;

/// See the module. The entries' data is shared with whoever gave it.
#[derive(Clone, Debug)]
pub struct Contents {
    identity: Identity,
    state: StateRecord,
    /// The entries after `state.compacted` up to `state.last`.
    entries: VecDeque<Entry>,
    bytes: u64,
}

/// A batch that does not go on from what is there.
#[derive(Clone, Copy, Debug)]
pub struct Gap;

impl Contents {
    /// Of a log that was just made.
    pub fn new(identity: Identity) -> Self {
        Self::begun(identity, 0)
    }

    /// Of a log without entries that begins after entry `compacted`.
    pub fn begun(identity: Identity, compacted: u64) -> Self {
        let state = StateRecord { compacted, last: compacted, ..StateRecord::default() };
        Self { identity, state, entries: VecDeque::new(), bytes: 0 }
    }

    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    pub fn state(&self) -> &StateRecord {
        &self.state
    }

    pub fn entries(&self) -> &VecDeque<Entry> {
        &self.entries
    }

    /// What the entries take in the file, at most and about, however they are spread over frames.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Adds a batch: its state, and the entries up to the state's last one. They replace what is there from the first of
    /// them on; what the state does not reach to, at both ends, goes.
    pub fn apply(
        &mut self,
        state: StateRecord,
        entries: impl ExactSizeIterator<Item = Entry>,
    ) -> Result<(), Gap> {
        let before = self.state.compacted;
        let kept_to = state.last.checked_sub(entries.len() as u64).ok_or(Gap)?;
        let dropped = state.compacted.checked_sub(before).ok_or(Gap)?;
        while before + self.entries.len() as u64 > kept_to
            && let Some(entry) = self.entries.pop_back()
        {
            self.bytes -= entry_bytes(&entry);
        }
        for entry in self.entries.drain(..self.entries.len().min(clamped(dropped))) {
            self.bytes -= entry_bytes(&entry);
        }
        for entry in entries {
            self.bytes += entry_bytes(&entry);
            self.entries.push_back(entry);
        }
        self.state = state;
        let expected = self.state.last.checked_sub(self.state.compacted).ok_or(Gap)?;
        if self.entries.len() as u64 == expected { Ok(()) } else { Err(Gap) }
    }
}

/// Refuses a batch that cannot stand on the log, above all one that would replace what is committed.
pub fn check_batch(state: &StateRecord, batch: &Batch) -> Result<(), StorageError> {
    let (lowest, highest) = match &batch.snapshot {
        Some(snapshot) if snapshot.meta.index <= state.compacted => {
            return Err(StorageError::Misuse(format!(
                "asked to install a snapshot at {} over one at {}",
                snapshot.meta.index, state.compacted
            )));
        }
        Some(snapshot) => (snapshot.meta.index + 1, snapshot.meta.index + 1),
        None => (state.commit.max(state.compacted) + 1, state.last + 1),
    };
    let Some(first) = batch.entries.first() else { return Ok(()) };
    if first.index < lowest || first.index > highest {
        return Err(StorageError::Misuse(format!(
            "asked to write from entry {}, but only {lowest} to {highest} may come next",
            first.index
        )));
    }
    if batch.entries.iter().zip(first.index..).any(|(entry, index)| entry.index != index) {
        return Err(StorageError::Misuse("asked to write entries with a gap".to_owned()));
    }
    Ok(())
}

fn clamped(count: u64) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}

fn entry_bytes(entry: &Entry) -> u64 {
    entry.data.len() as u64 + FRAME_ALIGN_BYTES
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::{EntryKind, Member, RaftId};

    fn contents(compacted: u64, last: u64) -> Contents {
        let own = Member { raft_id: RaftId(1), node_id: String::new(), addr: String::new() };
        let mut contents = Contents::new(Identity { own, peers: Vec::new() });
        let state = StateRecord { compacted, last, ..StateRecord::default() };
        contents.apply(state, entries(compacted + 1, last, 1)).unwrap();
        contents
    }

    fn entries(first: u64, last: u64, term: u64) -> impl ExactSizeIterator<Item = Entry> {
        let list: Vec<_> = (first..=last)
            .map(|index| Entry { index, term, kind: EntryKind::Normal, data: Bytes::new() })
            .collect();
        list.into_iter()
    }

    /// What a batch with a state `compacted`..`last` and its last `count` entries leaves of a log of the entries 3 to 10.
    fn after(compacted: u64, last: u64, count: u64) -> Option<Vec<(u64, u64)>> {
        let mut contents = contents(2, 10);
        let state = StateRecord { compacted, last, ..StateRecord::default() };
        contents.apply(state, entries(last + 1 - count, last, 2)).ok()?;
        assert_eq!(contents.bytes(), contents.entries().iter().map(entry_bytes).sum::<u64>());
        Some(contents.entries().iter().map(|entry| (entry.index, entry.term)).collect())
    }

    #[test]
    fn a_batch_replaces_the_end_and_drops_the_beginning() {
        let expected = |old: std::ops::RangeInclusive<u64>, new: std::ops::RangeInclusive<u64>| {
            Some(old.map(|index| (index, 1)).chain(new.map(|index| (index, 2))).collect())
        };
        #[expect(clippy::reversed_empty_ranges, reason = "there may be none")]
        let none = 1..=0;
        assert_eq!(after(2, 12, 2), expected(3..=10, 11..=12), "appended");
        assert_eq!(after(2, 8, 2), expected(3..=6, 7..=8), "a tail replaced");
        assert_eq!(after(2, 10, 0), expected(3..=10, none.clone()), "a state alone");
        assert_eq!(after(6, 10, 0), expected(7..=10, none.clone()), "compacted");
        assert_eq!(after(6, 6, 0), expected(none.clone(), none.clone()), "a snapshot within");
        assert_eq!(after(6, 8, 2), expected(none.clone(), 7..=8), "a snapshot within, and more");
        assert_eq!(after(20, 22, 2), expected(none.clone(), 21..=22), "a snapshot beyond");
    }

    #[test]
    fn what_leaves_a_gap_is_noticed() {
        assert_eq!(after(2, 13, 2), None, "entry 11 is missing");
        assert_eq!(after(1, 10, 0), None, "the beginning comes back");
        assert_eq!(after(2, 1, 0), None, "ends before it begins");
        assert_eq!(after(11, 12, 0), None, "begins after the end");
    }
}
