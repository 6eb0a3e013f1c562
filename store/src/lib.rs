//! The replicated objects of a swarm, in memory: ten tables with their indexes, transactions, watches and snapshots.
//!
//! # Two heads
//!
//! The store keeps two versions of everything, and both are immutable, ordered maps that share what they have in common.
//!
//! *Committed* is what the raft group has agreed on. Everybody reads it: [`Store::view`] takes it in O(1), without a lock, and
//! what a reader holds never changes under it.
//!
//! The *head* exists on the leader only: committed, and on top of it each transaction that has been proposed and is not yet
//! committed. [`Store::update`] runs its closure on the head, so it sees what was written before it even while that is
//! still on its way; it becomes one log entry ([`skep_proto::swarmkit::InternalRaftRequest`]) that goes to the [`Proposer`], and the head moves on at
//! once. The next transaction does not wait for the first one's round trip: many are in flight, each built on the one before.
//!
//! ```text
//!               committed                 head
//!   ... ── e7 ── e8 ─┬─ t9 ── t10 ── t11 ──┤
//!                    │   in flight, each with the state that it makes
//!                    └─ apply(e9 = t9): committed moves to the state computed for t9; t9's caller is told
//! ```
//!
//! When the log hands back an entry that this store proposed, committed moves to the state that was computed when it ran. Any
//! other entry is applied as it stands, action by action, all or nothing; a follower applies all entries in this way, so every
//! replica holds the same after the same entry, and an entry that does not fit means that this one does not:
//! [`ApplyError`], and the replica must stop.
//!
//! Three things take the head down: leadership is lost ([`Store::follow`]), a proposal is refused ([`Store::refused`]), or an entry of another
//! manager comes below ours. The transactions dropped with it end in an error that says whether they may still happen:
//! [`UpdateError::Refused`] is certainly not, [`UpdateError::Unknown`] is perhaps.
//!
//! # Who knows what
//!
//! The store knows nothing of raft: entries leave through [`Proposer`] and come back through [`Store::apply_all`]. It knows of the objects only
//! what their indexes and SwarmKit's rules between them need. It makes no ids, checks no specs, and starts no tasks.
//!
//! # Watching
//!
//! [`Store::watch`] gives a view and a [`Watcher`] that join exactly: every commit after the view, none that is in it, one
//! [`Commit`] each, with each object before and after. A watcher that falls too far behind is told [`Lagged`] and starts again from a view.

#![forbid(unsafe_code)]

mod by;
mod entry;
mod error;
mod event;
mod fields;
mod index;
mod key;
mod matching;
mod object;
mod objects;
mod packed;
mod proposer;
mod selector;
mod snapshot;
pub mod solo;
mod store;
mod tables;
mod tx;
mod view;
mod watch;
mod writer;

pub use by::By;
pub use error::{
    ApplyError, EntryError, Lagged, RestoreError, ResumeError, StoreError, UpdateError,
};
pub use event::{Action, Change, Commit, Event};
pub use object::{Kind, Object};
pub use proposer::{Proposer, Refusal};
pub use selector::{Select, Selector};
pub use snapshot::{MeasuredSnapshot, StoreSnapshotCapture};
pub use store::{
    BATCH_BYTES_MAX, BATCH_CHANGES_MAX, BATCH_PART_BYTES_MAX, Clock, IN_FLIGHT_BYTES_EACH_MIN,
    IN_FLIGHT_BYTES_MAX, LogEntry, Store,
};
pub use tables::{Found, Tables};
pub use tx::Tx;
pub use view::View;
pub use watch::{HISTORY_BYTES_MAX, HISTORY_COMMITS_MAX, WATCHER_EVENTS_MAX, Watcher};
pub use writer::PROPOSAL_BYTES_MAX;
