//! Acknowledged means durable: whatever happens afterwards, once the group is whole again every replica holds every write that
//! was acknowledged. Raft paper, figure 2 ("updated on stable storage before responding").

use super::Violation;

#[derive(Debug, Default)]
pub struct Durability {
    last: u64,
    count: u64,
}

impl Durability {
    /// A client was told that the entry at this index is committed.
    pub fn acknowledged(&mut self, index: u64) {
        self.last = self.last.max(index);
        self.count += 1;
    }

    /// How many writes were acknowledged.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The group is whole again, and a replica has applied everything up to `applied`. What it holds there is what others hold (state
    /// machine safety), so only how far it goes is in question.
    pub fn check(&self, place: usize, applied: u64) -> Result<(), Violation> {
        if applied >= self.last {
            return Ok(());
        }
        Err(Violation::new(
            "durability",
            format!(
                "entry {} was acknowledged, but the healed group ends at {applied} at place {place}",
                self.last
            ),
        ))
    }
}
