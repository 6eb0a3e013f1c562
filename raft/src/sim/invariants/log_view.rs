//! A member's log as seen from outside: what it handed to its disk, in this life and those before.

use std::collections::BTreeMap;

use crate::{Batch, Recovered};

/// Terms by index.
#[derive(Clone, Debug, Default)]
pub struct LogView {
    /// The index and term of the snapshot that the log stands on, if one came from a leader or was found at the start.
    base: (u64, u64),
    terms: BTreeMap<u64, u64>,
}

impl LogView {
    /// The log as a member finds it when it starts.
    pub fn found(recovered: &Recovered) -> Self {
        let base = recovered.snapshot.as_ref().map_or((0, 0), |s| (s.meta.index, s.meta.term));
        let terms = recovered.entries.iter().map(|entry| (entry.index, entry.term)).collect();
        Self { base, terms }
    }

    /// The member writes a batch.
    pub fn write(&mut self, batch: &Batch) {
        if let Some(snapshot) = &batch.snapshot {
            self.base = (snapshot.meta.index, snapshot.meta.term);
            self.terms.clear();
        }
        if let Some(first) = batch.entries.first() {
            self.terms.split_off(&first.index);
            self.terms.extend(batch.entries.iter().map(|entry| (entry.index, entry.term)));
        }
    }

    /// The term of an entry, where it is known.
    pub fn term(&self, index: u64) -> Option<u64> {
        if index == self.base.0 {
            return Some(self.base.1);
        }
        self.terms.get(&index).copied()
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        self.terms.last_key_value().map_or(self.base.0, |(index, _)| *index)
    }

    /// Whether a snapshot stands for this entry.
    pub fn covers(&self, index: u64) -> bool {
        index <= self.base.0
    }
}
