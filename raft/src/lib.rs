//! A replicated log: a Raft node around tikv's `raft`, its core without I/O, its log, its membership.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod keyring;
mod log_store;
mod membership;
mod state_machine;
mod transport;
mod types;

pub use keyring::{DataKey, KeyId, Keyring};
pub use log_store::{
    Batch, Entry, EntryKind, HardState, Identity, LogStore, Recovered, Sizes, Snapshot,
    SnapshotMeta, StorageError,
};
pub use membership::{Member, Membership, MembershipRuleError};
pub use state_machine::{
    ApplyError, Committed, Refusal, RestoreError, SnapshotError, SnapshotWriter, StateMachine,
};
pub use transport::{ProbeError, Transport};
pub use types::{Epoch, RaftId, Ticket};
