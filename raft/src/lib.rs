//! A replicated log: a Raft node around tikv's `raft`, its core without I/O, its log, its membership.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod conf_change;
mod config;
mod core;
mod door;
mod drain;
mod errors;
mod keyring;
mod log;
mod log_store;
mod membership;
mod node;
mod state_machine;
mod status;
pub mod storage;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
mod timing;
mod transport;
mod types;
mod wire;

pub use config::{Config, PROPOSAL_BYTES_MAX, Settings, Start};
pub use errors::{
    Joined, MembershipError, ReadError, RotateError, StartError, StepError, StopReason,
    TransferError,
};
pub use keyring::{DataKey, KeyId, Keyring};
pub use log_store::{
    Batch, Entry, EntryKind, HardState, Identity, LogStore, Recovered, Sizes, Snapshot,
    SnapshotMeta, StorageError,
};
pub use membership::{Member, Membership, MembershipRuleError};
pub use node::{NodeHandle, start};
pub use state_machine::{
    ApplyError, Committed, Refusal, RestoreError, SnapshotError, SnapshotWriter, StateMachine,
};
pub use status::{PeerProgress, PeerState, PeerStatus, Role, Status};
pub use timing::Timing;
pub use transport::{ProbeError, Transport};
pub use types::{Epoch, RaftId, Ticket};
