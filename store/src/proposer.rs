//! The store's only way out: whoever replicates its log entries.

use bytes::Bytes;

use crate::Tables;

/// Why a proposal will certainly not be committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Another manager leads, or none does.
    #[error("this manager is not the leader of the raft group")]
    NotLeader,
    /// A proposal before it in the same epoch was refused, or leadership was lost and won again.
    #[error("the write was built on one that was refused; try again")]
    StaleEpoch,
    /// The entry is larger than the group replicates.
    #[error("raft: raft message is too large and can't be sent")]
    TooLarge,
    /// The group's queue of proposals is full.
    #[error("the raft group has too many proposals in flight; try again")]
    Busy,
    /// This manager is stopping.
    #[error("this manager is shutting down")]
    ShuttingDown,
}

/// Takes the entries of a leader's transactions, in the order of their tickets, and sees that what commits of one epoch is a
/// prefix of it.
pub trait Proposer: Send + Sync + 'static {
    /// Queues one entry. Called with the store's lock held: it must neither block nor call the store.
    fn propose(&self, epoch: u64, ticket: u64, entry: Bytes) -> Result<(), Refusal>;

    /// Whether everybody who reads the log from here on can read packed entries, by what the cluster's objects say.
    fn packs(&self, _: &Tables) -> bool {
        false
    }
}
