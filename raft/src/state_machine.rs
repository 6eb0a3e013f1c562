//! What the group replicates into: the trait that the owner of the state implements.

use std::{error::Error as StdError, fmt, io};

use bytes::Bytes;

use crate::{Epoch, Membership, Ticket};

/// An entry that is certain: committed by a quorum and durable there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its place in the log. Not every index is seen: conf changes and a new leader's empty entries are left out.
    pub index: u64,
    /// The term of the leader that appended it.
    pub term: u64,
    /// The bytes that were proposed; never empty.
    pub data: Bytes,
    /// Set when this process proposed it in the present epoch.
    pub ticket: Option<Ticket>,
}

/// Why a proposal was not taken. It will not commit, nor will anything proposed after it under the same epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// This member does not lead, or has not yet applied everything up to its election.
    #[error("this manager is not the leader of the raft group")]
    NotLeader,
    /// The epoch has ended: something proposed before it was refused, or leadership was lost in between.
    #[error("the proposal builds on one that was refused; start again from what is committed")]
    StaleEpoch,
    /// Larger than an entry may be. The text is SwarmKit's; peers match on it.
    #[error("raft: raft message is too large and can't be sent")]
    TooLarge {
        /// The proposal's size.
        bytes: usize,
        /// What is allowed.
        bytes_max: usize,
    },
    /// Too much is waiting to be committed or applied; try again.
    #[error("too many proposals are waiting to be committed; try again")]
    Busy,
    /// The node is stopping, or handing leadership over.
    #[error("this manager is stopping or handing leadership over")]
    ShuttingDown,
}

type BoxError = Box<dyn StdError + Send + Sync>;

macro_rules! opaque_error {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        pub struct $name(BoxError);

        impl $name {
            /// From whatever went wrong.
            pub fn new(source: impl Into<BoxError>) -> Self {
                $name(source.into())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($what)
            }
        }

        impl StdError for $name {
            fn source(&self) -> Option<&(dyn StdError + 'static)> {
                Some(&*self.0)
            }
        }
    };
}

opaque_error!(
    /// An entry could not be applied: this replica differs from the others or the entry is corrupt. The node stops.
    ApplyError,
    "a committed entry cannot be applied"
);
opaque_error!(
    /// A snapshot could not be encoded. The node goes on and tries again later.
    SnapshotError,
    "the state cannot be encoded as a snapshot"
);
opaque_error!(
    /// A snapshot could not be read. The node stops rather than serve half a state.
    RestoreError,
    "the snapshot cannot be restored"
);

/// Encodes a captured state together with the membership at the same index; run on a blocking thread.
pub type SnapshotWriter =
    Box<dyn FnOnce(&Membership) -> Result<SnapshotContents, SnapshotError> + Send>;

type WriteContents = Box<dyn FnOnce(&mut dyn io::Write) -> io::Result<()> + Send>;

/// The bytes of a snapshot: there already, or made while they are written, so that a large state is never in memory twice.
pub struct SnapshotContents {
    bytes: u64,
    write: WriteContents,
}

impl SnapshotContents {
    /// Contents of a length that is known, and that `write` makes.
    pub fn new(
        bytes: u64,
        write: impl FnOnce(&mut dyn io::Write) -> io::Result<()> + Send + 'static,
    ) -> SnapshotContents {
        SnapshotContents { bytes, write: Box::new(write) }
    }

    /// How long they are.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes them.
    ///
    /// # Errors
    /// Those of `out`, and what kept them from being made.
    pub fn write_to(self, out: &mut dyn io::Write) -> io::Result<()> {
        (self.write)(out)
    }

    /// All of them in memory.
    ///
    /// # Errors
    /// They could not be made.
    pub fn into_bytes(self) -> Result<Bytes, SnapshotError> {
        let mut bytes = Vec::new();
        self.write_to(&mut bytes).map_err(SnapshotError::new)?;
        Ok(bytes.into())
    }
}

impl From<Bytes> for SnapshotContents {
    fn from(bytes: Bytes) -> SnapshotContents {
        SnapshotContents::new(bytes.len() as u64, move |out| out.write_all(&bytes))
    }
}

impl From<Vec<u8>> for SnapshotContents {
    fn from(bytes: Vec<u8>) -> SnapshotContents {
        Bytes::from(bytes).into()
    }
}

impl fmt::Debug for SnapshotContents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SnapshotContents").field("bytes", &self.bytes).finish_non_exhaustive()
    }
}

/// The replicated state. Called only from the node's task, in log order; must not block.
///
/// The order of calls: `restore` at most once at the start and whenever a snapshot arrives; `apply` in log order;
/// between `leading` and the next `leading` or `following`, proposals under the epoch given are taken. A proposal that
/// was taken ends in exactly one of: its entry in `apply` with its ticket; `refused`; `following` (or a `restore`),
/// after which it **may or may not** commit, and if it does its entry comes without a ticket.
pub trait StateMachine: Send + 'static {
    /// Committed entries, in order, each once. An error stops the node.
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError>;

    /// The proposal, and everything that was proposed after it under its epoch, will not commit.
    fn refused(&mut self, ticket: Ticket, why: Refusal);

    /// This member leads and has applied everything up to its election; `commit_index` is what is applied. Called
    /// again with a new epoch after a refusal, once every refused ticket was named.
    fn leading(&mut self, epoch: Epoch, commit_index: u64);

    /// Leadership was lost. What is in flight may or may not commit.
    fn following(&mut self);

    /// Captures the state in O(1).
    fn snapshot(&self) -> SnapshotWriter;

    /// Replaces the state by a snapshot's and gives the membership it holds.
    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError>;
}
