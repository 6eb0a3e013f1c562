//! Where a block ends: by count, by preferred size, by time, and around an envelope that is larger than preferred.

use std::time::Duration;

use super::limits::Limits;

/// Something that is put into blocks.
pub trait Weighed {
    /// Its bytes in a block.
    fn bytes(&self) -> usize;
}

/// The block that is open. Time is whatever the caller counts from.
#[derive(Debug)]
pub struct Cutter<T> {
    pending: Vec<T>,
    bytes: usize,
    /// When the open block is closed even if it is not full.
    deadline: Option<Duration>,
}

impl<T> Default for Cutter<T> {
    fn default() -> Self {
        Cutter { pending: Vec::new(), bytes: 0, deadline: None }
    }
}

impl<T: Weighed> Cutter<T> {
    /// Takes one more, which is no larger than the absolute size. Gives what is closed by it, in order: nothing, the open block, an
    /// envelope alone, or both.
    pub fn push(&mut self, now: Duration, item: T, limits: &Limits) -> Vec<Vec<T>> {
        let mut closed = Vec::new();
        let size = item.bytes();
        if self.bytes + size > limits.preferred_bytes {
            closed.extend(self.cut());
        }
        if size > limits.preferred_bytes {
            closed.push(vec![item]);
            return closed;
        }
        if self.pending.is_empty() {
            self.deadline = Some(now + limits.timeout);
        }
        self.bytes += size;
        self.pending.push(item);
        if self.pending.len() >= limits.messages_max {
            closed.extend(self.cut());
        }
        closed
    }

    /// Closes the open block, if it holds anything.
    pub fn cut(&mut self) -> Option<Vec<T>> {
        self.bytes = 0;
        self.deadline = None;
        let pending = std::mem::take(&mut self.pending);
        (!pending.is_empty()).then_some(pending)
    }

    /// When the open block is to be closed.
    pub fn deadline(&self) -> Option<Duration> {
        self.deadline
    }

    /// What the open block holds.
    pub fn pending_mut(&mut self) -> &mut [T] {
        &mut self.pending
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    impl Weighed for usize {
        fn bytes(&self) -> usize {
            *self
        }
    }

    const LIMITS: Limits = Limits {
        messages_max: 3,
        preferred_bytes: 100,
        absolute_bytes: 500,
        timeout: Duration::from_millis(10),
        in_flight_max: 1,
        window_blocks: 2,
    };

    #[test]
    fn blocks_end_where_the_limits_say() {
        type Blocks = &'static [&'static [usize]];
        // Each row: envelope sizes, the blocks that are closed, what stays open.
        let rows: [(&str, &[usize], Blocks, &[usize]); 8] = [
            ("nothing makes no block", &[], &[], &[]),
            ("few stay open", &[10, 10], &[], &[10, 10]),
            ("the third fills the count", &[10, 10, 10, 5], &[&[10, 10, 10]], &[5]),
            ("what would exceed the preferred size begins the next", &[60, 60], &[&[60]], &[60]),
            ("exactly the preferred size fits", &[60, 40], &[], &[60, 40]),
            ("larger than preferred is a block alone", &[101], &[&[101]], &[]),
            ("and closes the one before it", &[10, 300, 10], &[&[10], &[300]], &[10]),
            ("the preferred size alone waits", &[100], &[], &[100]),
        ];
        for (what, sizes, closed, open) in rows {
            let mut cutter = Cutter::default();
            let mut found = Vec::new();
            for size in sizes {
                found.extend(cutter.push(Duration::ZERO, *size, &LIMITS));
            }
            assert_eq!(found, closed, "{what}");
            assert_eq!(cutter.cut().unwrap_or_default(), open, "{what}");
        }
    }

    #[test]
    fn the_time_runs_from_the_first_envelope() {
        let at = Duration::from_millis;
        let mut cutter = Cutter::default();
        assert_eq!(cutter.deadline(), None);
        cutter.push(at(5), 10, &LIMITS);
        cutter.push(at(9), 10, &LIMITS);
        assert_eq!(cutter.deadline(), Some(at(15)), "the second does not put it off");
        cutter.push(at(12), 10, &LIMITS);
        assert_eq!(cutter.deadline(), None, "a closed block waits for nothing");
        cutter.push(at(20), 300, &LIMITS);
        assert_eq!(cutter.deadline(), None, "an envelope alone does not wait");
        cutter.push(at(21), 60, &LIMITS);
        cutter.push(at(22), 60, &LIMITS);
        assert_eq!(cutter.deadline(), Some(at(32)), "the next block's first envelope counts");
    }

    proptest! {
        #[test]
        fn nothing_is_lost_or_moved_and_no_block_is_too_large(
            sizes in prop::collection::vec(1usize..200, 0..60),
        ) {
            let mut cutter = Cutter::default();
            let mut blocks = Vec::new();
            for size in &sizes {
                blocks.extend(cutter.push(Duration::ZERO, *size, &LIMITS));
            }
            blocks.extend(cutter.cut());
            for block in &blocks {
                prop_assert!(block.len() <= LIMITS.messages_max);
                let bytes: usize = block.iter().sum();
                prop_assert!(bytes <= LIMITS.preferred_bytes || block.len() == 1);
            }
            prop_assert_eq!(blocks.concat(), sizes);
        }
    }
}
