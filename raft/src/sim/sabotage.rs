//! Bugs that can be put in, one at a time, to show that the simulation finds them.
//!
//! Each is a mistake that somebody could make in the code around the core; none needs another build. A simulation that finds none
//! of them proves nothing by finding nothing.

/// One bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Sabotage {
    /// The disk says "synced" and has not.
    SkipFsync,
    /// The core is told that a write is durable before it is.
    AnswerBeforePersist,
    /// A restart forgets whom the member voted for.
    LoseVote,
    /// A restart drops the last entries of the log, committed or not.
    TruncateCommitted,
    /// A member that lost its disk comes back under its old raft id with an empty log.
    ReuseId,
    /// Snapshots do not hold who was removed.
    ForgetRemoved,
    /// Snapshots do not hold who the members are.
    SnapshotWithoutMembership,
    /// Committed entries reach the state machine a second time after a restart.
    ApplyTwice,
    /// Reads do not wait for the barrier.
    StaleRead,
    /// After a refusal, what was proposed on top of the refused is proposed again instead of being refused with it.
    SkipEpochRefusal,
    /// Clients are told of success when an entry is proposed, not when it is applied.
    AnswerBeforeCommit,
    /// A snapshot says that it holds one entry more than it does.
    SnapshotAhead,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::SkipFsync,
        Self::AnswerBeforePersist,
        Self::LoseVote,
        Self::TruncateCommitted,
        Self::ReuseId,
        Self::ForgetRemoved,
        Self::SnapshotWithoutMembership,
        Self::ApplyTwice,
        Self::StaleRead,
        Self::SkipEpochRefusal,
        Self::AnswerBeforeCommit,
        Self::SnapshotAhead,
    ];
}
