//! State machine safety: once a member has applied an entry at an index, no member applies another one there. Raft paper,
//! figure 3; §5.4.3. There is one history, and every replica goes through it.

use std::collections::BTreeMap;

use super::super::trace::hash_bytes;
use super::Violation;
use crate::Committed;

/// A committed entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fact {
    /// Its term.
    pub term: u64,
    /// The hash of its bytes.
    pub hash: u64,
}

/// Everything committed that reached a state machine, by index.
#[derive(Debug, Default)]
pub struct History {
    facts: BTreeMap<u64, Fact>,
}

impl History {
    /// A member applies an entry. True when it is the first to.
    pub fn apply(&mut self, life: u32, entry: &Committed) -> Result<bool, Violation> {
        let fact = Fact { term: entry.term, hash: hash_bytes(&entry.data) };
        if let Some(known) = self.facts.get(&entry.index) {
            if *known == fact {
                return Ok(false);
            }
            return Err(Violation::new(
                "state_machine_safety",
                format!(
                    "life {life} applies an entry of term {} at {}, where another of term {} was applied",
                    entry.term, entry.index, known.term
                ),
            ));
        }
        if let Some((last, _)) = self.facts.last_key_value()
            && *last > entry.index
        {
            return Err(Violation::new(
                "state_machine_safety",
                format!(
                    "life {life} applies an entry at {}, where others, now at {last}, applied none",
                    entry.index
                ),
            ));
        }
        self.facts.insert(entry.index, fact);
        Ok(true)
    }

    /// All of it in order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Fact)> {
        self.facts.iter().map(|(index, fact)| (*index, *fact))
    }

    /// The first entry after an index.
    pub fn next_after(&self, index: u64) -> Option<u64> {
        self.facts.range(index + 1..).next().map(|(index, _)| *index)
    }

    /// The last entry.
    pub fn last(&self) -> u64 {
        self.facts.last_key_value().map_or(0, |(index, _)| *index)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.facts.len()
    }

    /// Whether nothing was committed.
    pub fn is_empty(&self) -> bool {
        self.facts.is_empty()
    }
}
