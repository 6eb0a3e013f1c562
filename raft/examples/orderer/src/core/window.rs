//! What was ordered in the last blocks: how a submission that comes twice finds itself again.
//!
//! Part of the replicated state: it follows from the blocks alone, so every orderer holds the same one, and whoever leads next knows
//! what the leader before it has ordered.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;

use super::envelope::{Key, Print};
use crate::wire;

const ID_BYTES: usize = 24;

/// The envelopes of one block.
#[derive(Debug, PartialEq, Eq)]
struct Ids {
    number: u64,
    ids: Vec<(Key, Print)>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Window {
    blocks: VecDeque<Arc<Ids>>,
    found: HashMap<Key, (u64, Print)>,
}

/// A window at one moment, cheap to take: it shares what the blocks hold.
#[derive(Debug)]
pub struct Captured(Vec<Arc<Ids>>);

/// What the window says about an envelope.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Known {
    /// Never ordered, or so long ago that nobody remembers.
    No,
    /// It is in this block.
    In(u64),
    /// Another envelope went by its name, in this block.
    Other(u64),
}

impl Window {
    /// Takes in a block, and forgets those that are `window_blocks` behind it.
    pub fn add(&mut self, number: u64, ids: Vec<(Key, Print)>, window_blocks: u64) {
        for (key, print) in &ids {
            self.found.insert(*key, (number, *print));
        }
        self.blocks.push_back(Arc::new(Ids { number, ids }));
        while self.blocks.front().is_some_and(|oldest| oldest.number + window_blocks <= number) {
            let Some(oldest) = self.blocks.pop_front() else { break };
            for (key, _) in &oldest.ids {
                // A name that was used again since stays.
                if self.found.get(key).is_some_and(|(number, _)| *number == oldest.number) {
                    self.found.remove(key);
                }
            }
        }
    }

    /// Whether an envelope was ordered.
    pub fn look_up(&self, key: &Key, print: Print) -> Known {
        match self.found.get(key) {
            None => Known::No,
            Some((number, found)) if *found == print => Known::In(*number),
            Some((number, _)) => Known::Other(*number),
        }
    }

    /// How many envelopes it knows.
    pub fn len(&self) -> usize {
        self.found.len()
    }

    /// Whether it knows none.
    pub fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    /// As it is now.
    pub fn capture(&self) -> Captured {
        Captured(self.blocks.iter().cloned().collect())
    }

    /// From a snapshot; `None` when that is none.
    pub fn from_wire(blocks: Vec<wire::BlockIds>) -> Option<Window> {
        let mut window = Window::default();
        for block in blocks {
            let (ids, rest) = block.ids.as_chunks::<ID_BYTES>();
            let newest = window.blocks.back().map(|newest| newest.number);
            if !rest.is_empty() || newest.is_some_and(|newest| newest >= block.number) {
                return None;
            }
            let ids = ids.iter().map(|id| {
                let (key, print) = id.split_first_chunk::<16>()?;
                Some((Key(*key), Print(print.try_into().ok()?)))
            });
            let ids: Vec<_> = ids.collect::<Option<_>>()?;
            window.add(block.number, ids, u64::MAX - block.number);
        }
        Some(window)
    }
}

impl Captured {
    /// As it stands in a snapshot.
    pub fn to_wire(&self) -> Vec<wire::BlockIds> {
        let block = |block: &Arc<Ids>| {
            let ids = block.ids.iter();
            let ids: Vec<u8> =
                ids.flat_map(|(key, print)| key.0.into_iter().chain(print.0)).collect();
            wire::BlockIds { number: block.number, ids: Bytes::from(ids) }
        };
        self.0.iter().map(block).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> Key {
        Key([n; 16])
    }

    fn print(n: u8) -> Print {
        Print([n; 8])
    }

    #[test]
    fn an_envelope_is_remembered_for_as_many_blocks_as_agreed() {
        let mut window = Window::default();
        window.add(4, vec![(key(1), print(1))], 3);
        for (number, expected) in [(5, Known::In(4)), (6, Known::In(4)), (7, Known::No)] {
            window.add(number, vec![], 3);
            assert_eq!(window.look_up(&key(1), print(1)), expected, "after block {number}");
        }
        assert!(window.is_empty());
    }

    #[test]
    fn a_name_that_is_used_for_something_else_is_noticed() {
        let mut window = Window::default();
        window.add(0, vec![(key(1), print(1)), (key(2), print(2))], 3);
        for (what, k, p, expected) in [
            ("the same", 1, 1, Known::In(0)),
            ("another content", 1, 9, Known::Other(0)),
            ("another name", 3, 1, Known::No),
        ] {
            assert_eq!(window.look_up(&key(k), print(p)), expected, "{what}");
        }
    }

    #[test]
    fn a_name_that_was_used_again_later_outlives_its_first_use() {
        let mut window = Window::default();
        window.add(0, vec![(key(1), print(1))], 2);
        window.add(1, vec![(key(1), print(7))], 2);
        window.add(2, vec![], 2);
        assert_eq!(window.look_up(&key(1), print(7)), Known::In(1));
    }

    #[test]
    fn a_window_survives_its_snapshot_and_goes_on_alike() {
        let mut window = Window::default();
        for number in 0..20 {
            window.add(number, vec![(key(number as u8), print(number as u8))], 7);
        }
        let mut restored = Window::from_wire(window.capture().to_wire()).unwrap();
        assert_eq!(restored.capture().0, window.capture().0);
        for number in 20..30 {
            for window in [&mut window, &mut restored] {
                window.add(number, vec![(key(number as u8), print(1))], 7);
            }
            assert_eq!(restored.capture().0, window.capture().0);
            assert_eq!(restored.found, window.found);
        }
    }

    #[test]
    fn what_is_no_window_is_refused() {
        let block = |number, bytes: usize| wire::BlockIds { number, ids: vec![1; bytes].into() };
        for (what, blocks, good) in [
            ("nothing", vec![], true),
            ("two blocks", vec![block(1, 48), block(2, 0)], true),
            ("half an id", vec![block(1, 23)], false),
            ("blocks out of order", vec![block(2, 24), block(1, 24)], false),
        ] {
            assert_eq!(Window::from_wire(blocks).is_some(), good, "{what}");
        }
    }
}
