//! A replicated log: members that agree by Raft on one sequence of entries, and on who the members are.
//!
//! The crate knows bytes, a [`StateMachine`] that they are applied to, a [`Transport`] that reaches the other members,
//! and a [`LogStore`] that keeps the log on disk. Consensus is tikv's `raft`; what it leaves out is here. The wire is
//! etcd's `raftpb` with SwarmKit's conf changes, so that a stock SwarmKit manager can be in the same group.
//!
//! - [`start`] makes a node: one task that owns everything, and a thread that writes the log. [`NodeHandle`] is how
//!   everybody else asks it for anything.
//! - Beneath it the core is a state machine without I/O, clock or randomness of its own: ticks, messages, proposals and
//!   word of what is durable go in; what to send, persist, apply and answer comes out. A simulation can drive it.
//!
//! # What is persisted before what is sent
//!
//! A follower's answers and a candidate's requests for votes leave only when what they rest on (entries, term, vote)
//! is durable. A leader's appends leave at once, in parallel with its own write: its own copy counts towards the
//! quorum only once that write is done. Many writes may be on their way to the disk; they finish in order, and the log
//! writer merges what waits into one transaction. The commit index alone is never waited for: the next write carries
//! it, at the next tick at the latest.
//!
//! When a write or an fsync fails the node stops: after that nobody can say what is on the disk. What was acknowledged
//! is on a quorum of disks, so nothing is lost.
//!
//! # When a proposal is certain
//!
//! When it comes back through [`StateMachine::apply`] with its [`Ticket`]: it is durable on a quorum and here, and every
//! member will apply it at the same place. When [`StateMachine::refused`] names it, it will never be applied, and
//! neither will anything proposed after it under the same [`Epoch`]: proposals build on each other, so what commits of
//! an epoch is always a prefix of it. When [`StateMachine::following`] comes first, its outcome is not known: it may
//! still commit, and then comes without a ticket. Only the leader proposes; nothing is forwarded. A leader acts as one
//! (`leading` is called) only when it has applied everything up to its election.
//!
//! # How reads are linearizable
//!
//! [`NodeHandle::read_barrier`] asks the leader for its commit index; the leader has a quorum confirm that it still
//! leads before it answers; the barrier returns once that index is applied here. A read after it sees every write that
//! was acknowledged anywhere before the barrier was asked for. Barriers that wait together share one round; one that
//! comes while a round is under way waits for the next, since that round may have begun before a write it must see.
//! Clocks play no part.
//!
//! # How the membership changes
//!
//! Through the log, one member at a time, proposed by the leader. A joiner is dialled back first and gets a random raft
//! id that was never used; a node that is a member already keeps its id, and its address is updated when it has moved.
//! A member is not removed when those that remain and can be reached are too few. Whoever was removed stays in the
//! removed set, in the log and in every snapshot: its id never comes back and its messages are refused
//! ([`StepError::Removed`]), by which it learns of it. Raft's own configuration always follows the log, even where the
//! rules of membership refuse a change, so that all members count the same voters. Learners and joint consensus are
//! never used: SwarmKit does not know them.
//!
//! # What a restart finds
//!
//! The newest snapshot, from which the state machine is restored; the entries after it; and the hard state. Entries
//! known to be committed are applied again, and the membership with them; what is beyond is committed or replaced by
//! the next leader. A group of one elects itself at once. [`Start::ForceNewCluster`] goes on alone when the quorum is
//! lost for good: it drops what is not known to be committed and removes everybody else for ever.
//!
//! # What a peer cannot do
//!
//! End the process or corrupt this member's log by a malformed message: each is checked at the door (shape, bounds,
//! order) and against the member's own log before the library, which panics on what no healthy peer says, sees it.
//! Should a rule of the library be broken all the same, the node ends with [`StopReason::Fault`], not the process. Raft
//! does not withstand traitors, though: members are trusted, and proved by their certificates.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod conf_change;
mod config;
pub mod core;
pub mod door;
mod drain;
mod errors;
mod keyring;
mod log;
mod log_store;
mod membership;
mod node;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
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
