//! A replicated log: members that agree by Raft on one sequence of entries, and on who the members are.
//!
//! The crate knows bytes and nothing of what they mean. It asks four things of whoever uses it, each a trait:
//!
//! | trait | is | comes with |
//! |---|---|---|
//! | [`StateMachine`] | what is replicated: entries go in, in order, on every member | nothing: it is yours |
//! | [`LogStore`] | the log, snapshots and votes of this member on disk | [`storage::FileLog`] |
//! | [`Transport`] | the way to the other members | examples only: it depends on how members trust each other |
//! | [`Clock`] | where ticks come from | [`TokioClock`], which [`start()`] takes |
//!
//! and gives back a [`NodeHandle`], by which everybody asks the running node for anything: to propose, to read, to admit
//! and remove members, to hand over, to stop. Consensus is tikv's `raft`; what it leaves out is here. The wire is etcd's
//! `raftpb` with SwarmKit's conf changes, so that a stock SwarmKit manager can be in the same group.
//!
//! - [`start()`] makes a node: one task that owns everything, and a thread that writes the log.
//! - Beneath it the core is a state machine without I/O, clock or randomness of its own: ticks, messages, proposals and
//!   word of what is durable go in; what to send, persist, apply and answer comes out. A simulation can drive it.
//!
//! # The smallest node
//!
//! A group of one, which counts, in a folder. Two whole programs, with clients, members that come and go and the failures
//! of real machines, are in `raft/examples`: a key/value store (docs/kv.md) and an ordering service.
//!
//! ```
//! use std::sync::Arc;
//!
//! use futures::{FutureExt as _, future::BoxFuture};
//! use skep_raft::storage::{FileLog, FileLogConfig, RealDisk};
//! use skep_raft::*;
//! use tokio::sync::watch;
//!
//! /// Counts entries. Whoever waits for the count, or for the epoch that proposals need, watches them.
//! struct Counter {
//!     count: watch::Sender<u64>,
//!     epoch: watch::Sender<Option<Epoch>>,
//! }
//!
//! impl StateMachine for Counter {
//!     fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
//!         self.count.send_modify(|count| *count += entries.len() as u64);
//!         Ok(())
//!     }
//!     // It will never commit; nobody waits for a single proposal here.
//!     fn refused(&mut self, _: Ticket, _: Refusal) {}
//!     fn leading(&mut self, epoch: Epoch, _: u64) {
//!         self.epoch.send_replace(Some(epoch));
//!     }
//!     fn following(&mut self) {
//!         self.epoch.send_replace(None);
//!     }
//!     fn snapshot(&self) -> SnapshotWriter {
//!         let count = *self.count.borrow();
//!         // A group of more must keep its membership here as well: it is what `restore` has to give back.
//!         Box::new(move |membership| {
//!             let own = membership.members().next().map(Member::encode).unwrap_or_default();
//!             Ok([&count.to_le_bytes()[..], &own].concat().into())
//!         })
//!     }
//!     fn restore(&mut self, _: u64, data: bytes::Bytes) -> Result<Membership, RestoreError> {
//!         let (count, own) = data.split_first_chunk().ok_or_else(|| RestoreError::new("short"))?;
//!         self.count.send_replace(u64::from_le_bytes(*count));
//!         Ok(Membership::new(Member::decode(own), []))
//!     }
//! }
//!
//! /// There is nobody to reach.
//! struct Nobody;
//!
//! impl Transport for Nobody {
//!     fn send(&self, _: &Member, _: skep_proto::raftpb::Message) {}
//!     fn members_changed(&self, _: &Membership, _: RaftId) {}
//!     fn probe(&self, addr: &str) -> BoxFuture<'static, Result<(), ProbeError>> {
//!         std::future::ready(Err(ProbeError(format!("{addr}: there is nobody")))).boxed()
//!     }
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let folder = tempfile::tempdir()?;
//! // Seals the log; a real node keeps it, or it could not read its log again.
//! let keys = Keyring { current: DataKey::new([7; 32]), older: vec![] };
//! for life in 1..=2 {
//!     let disk = Arc::new(RealDisk::open(folder.path())?);
//!     let log = FileLog::new(disk, &keys, FileLogConfig::default());
//!     let (count, epoch) = (watch::Sender::new(0), watch::Sender::new(None));
//!     let (mut counted, mut leads) = (count.subscribe(), epoch.subscribe());
//!     let way = match life {
//!         1 => Start::Bootstrap { node_id: "one".into(), addr: "nowhere:0".into() },
//!         _ => Start::Restart,
//!     };
//!     let config = Config::new(Timing::fast(), 1);
//!     let machine = Counter { count, epoch };
//!     let node = start(config, way, log, machine, Arc::new(Nobody)).await?;
//!
//!     // Leading is a matter of moments in a group of one; by then everything old has been applied.
//!     let epoch = leads.wait_for(Option::is_some).await?.unwrap();
//!     assert_eq!(*counted.borrow(), 3 * (life - 1));
//!     // Proposals do not wait for each other; each comes back through `apply` once it is certain.
//!     for ticket in 1..=3 {
//!         node.propose(epoch, Ticket(ticket), "one more".into())?;
//!     }
//!     counted.wait_for(|count| *count == 3 * life).await?;
//!     node.stop(true).await;
//! }
//! # Ok(()) }
//! ```
//!
//! # The life of a write
//!
//! ```text
//!  propose(epoch, ticket) ──Err──▶ never heard of again; the epoch has ended
//!        │ Ok
//!        ▼
//!     queued ─────────────────────┐ another proposal of its epoch was refused before it
//!        │ the node's next round  │ (too large, too much in flight), or the node is stopping
//!        ▼                        ▼
//!     appended ──────────────▶ refused(ticket)      will never commit
//!        │  │ leadership is lost
//!        │  └────────────────▶ following()          may commit yet: then apply(…) without a ticket,
//!        │ to the disk here,                        here and everywhere, or be replaced by another entry
//!        │ and to all members at once
//!        ▼
//!     durable on a majority
//!        │ the commit index moves past it
//!        ▼
//!     committed: certain for ever, whoever dies
//!        │ durable here too
//!        ▼
//!     apply(… ticket …) ─────▶ answer your client
//!        │
//!        ▼
//!     in a snapshot, and then gone from the log
//! ```
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
//! A member's snapshot of its own state is captured in O(1) between two entries and written aside on another thread, piece by
//! piece, while the log goes on ([`SnapshotStage`]); entries go from the log only when the log lists the snapshot.
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
//! A node that has lost its log must not come back under its raft id, because it has forgotten its votes: it is removed, and
//! joins under a node id that is new ([`NodeHandle::join`] gives a known node id its old raft id again). Which start is the
//! right one is for the owner to know; `raft/examples/peers` shows how nodes with a static list of each other do.
//!
//! # What a peer cannot do
//!
//! End the process or corrupt this member's log by a malformed message: each is checked at the door (shape, bounds,
//! order) and against the member's own log before the library, which panics on what no healthy peer says, sees it.
//! Should a rule of the library be broken all the same, the node ends with [`StopReason::Fault`], not the process. Raft
//! does not withstand traitors, though: members are trusted, and proved by their certificates.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod clock;
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

pub use clock::{Clock, TokioClock};
pub use config::{Config, PROPOSAL_BYTES_MAX, Settings, Start};
pub use errors::{
    Joined, MembershipError, ReadError, RotateError, StartError, StepError, StopReason,
    TransferError,
};
pub use keyring::{DataKey, KeyId, Keyring};
pub use log_store::{
    Batch, Entry, EntryKind, HardState, Identity, LogStore, Recovered, Sizes, Snapshot,
    SnapshotMeta, SnapshotStage, StageError, StagedSnapshot, StorageError,
};
pub use membership::{Member, Membership, MembershipRuleError};
pub use node::{NodeHandle, start, start_with_clock};
pub use state_machine::{
    ApplyError, Committed, Refusal, RestoreError, SnapshotContents, SnapshotError, SnapshotWriter,
    StateMachine,
};
pub use status::{PeerProgress, PeerState, PeerStatus, Role, Status};
pub use timing::Timing;
pub use transport::{ProbeError, Transport};
pub use types::{Epoch, RaftId, Ticket};
