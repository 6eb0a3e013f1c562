//! Applied once: each replica is given each entry once, in order, and none is left out. Raft paper, figure 2 ("rules for servers":
//! apply in order while commitIndex > lastApplied) and the contract of [`StateMachine`](crate::StateMachine).

use super::{History, Violation};

/// How far one replica is.
#[derive(Clone, Copy, Debug, Default)]
pub struct AppliedOnce {
    last: u64,
}

impl AppliedOnce {
    /// The replica was replaced by a snapshot.
    pub fn restore(&mut self, index: u64) {
        self.last = index;
    }

    /// It is given an entry.
    pub fn apply(&mut self, index: u64, history: &History) -> Result<(), Violation> {
        let violation = |detail| Err(Violation::new("applied_once", detail));
        if index <= self.last {
            return violation(format!("entry {index} is applied after entry {}", self.last));
        }
        match history.next_after(self.last) {
            Some(next) if next < index => violation(format!(
                "entry {index} is applied after entry {}, leaving out {next}",
                self.last
            )),
            _ => {
                self.last = index;
                Ok(())
            }
        }
    }
}
