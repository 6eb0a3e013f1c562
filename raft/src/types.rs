//! The names that everything in a raft group goes by.

use std::fmt;

/// Names one member of a raft group for ever: random, 63 bits, never zero, never used again once removed.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RaftId(pub u64);

impl fmt::Display for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Hexadecimal, as SwarmKit's tools print it.
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for RaftId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// One unbroken run of proposals of one leadership. Compare for equality only.
///
/// A refused proposal ends its epoch: everything that was proposed on top of it is refused as well, so that what
/// commits of an epoch is always a prefix of what was proposed under it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch(pub u64);

/// Names one proposal of this process; the proposer gives them out, increasing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);
