//! Log matching: two logs that hold an entry with the same index and term hold the same entries up to it. Raft paper, figure 3;
//! §5.3.
//!
//! Checked by its induction step: an index and a term determine the entry and the term of the entry before it.

use std::collections::BTreeMap;

use super::super::trace::hash_bytes;
use super::{LogView, Violation};
use crate::{Entry, EntryKind};

#[derive(Debug, Default)]
pub struct LogMatching {
    /// By index and term: the entry's kind and hash, and the term before it as far as it is known.
    entries: BTreeMap<(u64, u64), (EntryKind, u64, Option<u64>)>,
}

impl LogMatching {
    /// A member wrote these entries; `log` holds them already.
    pub fn wrote(&mut self, log: &LogView, entries: &[Entry]) -> Result<(), Violation> {
        for entry in entries {
            let before = entry.index.checked_sub(1).and_then(|index| log.term(index));
            let seen = (entry.kind, hash_bytes(&entry.data), before);
            let known = self.entries.entry((entry.index, entry.term)).or_insert(seen);
            let same_before = match (known.2, seen.2) {
                (Some(one), Some(other)) => one == other,
                _ => true,
            };
            if (known.0, known.1) != (seen.0, seen.1) || !same_before {
                return Err(Violation::new(
                    "log_matching",
                    format!(
                        "two logs differ at or before index {} although both hold term {} there",
                        entry.index, entry.term
                    ),
                ));
            }
            known.2 = known.2.or(seen.2);
        }
        Ok(())
    }
}
