//! What can go wrong, an enum for each thing that one can ask of the store.
//!
//! Peers match on the texts of [`StoreError`]: they are SwarmKit's, letter for letter, so the object stands in the fields.

use skep_proto::ids::InvalidId;

use crate::{Kind, Refusal};

/// Why a transaction may not make a change. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The id is taken.
    #[error("object already exists")]
    Exists { kind: Kind, id: String },
    /// The name is taken by another object of the kind; case does not count.
    #[error("name conflicts with an existing object")]
    NameConflict { kind: Kind, name: String },
    /// There is no object with this id.
    #[error("object does not exist")]
    NotFound { kind: Kind, id: String },
    /// The object was changed since the caller read it: read it again.
    #[error("update out of sequence")]
    OutOfSequence { kind: Kind, id: String, stored: u64, given: u64 },
    /// No extension has the name of the resource's kind.
    #[error("object kind is unregistered")]
    UnregisteredKind { id: String, resource_kind: String },
    /// Resources of the extension's kind are still there.
    #[error("cannot delete extension because objects of this type exist in the data store")]
    ExtensionInUse { id: String, name: String },
    /// Extensions never change.
    #[error("extensions are immutable")]
    ExtensionImmutable { id: String },
    /// The id cannot be a key.
    #[error("{kind} cannot be stored: {source}")]
    InvalidId { kind: Kind, source: InvalidId },
}

/// Why [`update`](crate::Store::update) did not return what its closure did. [`may_happen`](UpdateError::may_happen) tells
/// whether the write is certainly not made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UpdateError<E> {
    /// The closure returned this error. Nothing was written.
    #[error(transparent)]
    Aborted(E),
    /// Nothing was written, and nothing will be.
    #[error("the write was not made: {0}")]
    Refused(#[from] Refusal),
    /// Leadership was lost, or another manager wrote, while the entry was in flight. It may have been committed, may be yet,
    /// or never: read again before trying again.
    #[error("leadership was lost while the write was in flight: it may or may not have been made")]
    Unknown,
}

impl<E> UpdateError<E> {
    /// Whether the write may still be made.
    pub fn may_happen(&self) -> bool {
        matches!(self, UpdateError::Unknown)
    }

    /// The same error with another closure's error type.
    pub fn map<F>(self, with: impl FnOnce(E) -> F) -> UpdateError<F> {
        match self {
            UpdateError::Aborted(error) => UpdateError::Aborted(with(error)),
            UpdateError::Refused(why) => UpdateError::Refused(why),
            UpdateError::Unknown => UpdateError::Unknown,
        }
    }
}

/// Why bytes are no transaction of the store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// The bytes are no message.
    #[error("the entry is no InternalRaftRequest")]
    Malformed(#[from] prost::DecodeError),
    /// It was packed, and what it was is not to be had.
    #[error("the packed entry cannot be unpacked: {0}")]
    Packed(String),
    /// An action without an object, or with one of a kind that this version does not know.
    #[error("action {position} has no target of a known kind")]
    UnknownTarget { position: usize },
    /// An action that is none of create, update, remove.
    #[error("action {position} on {kind} {id} is of unknown kind {action}")]
    UnknownAction { position: usize, kind: Kind, id: String, action: i32 },
    /// The action does not fit what is stored here.
    #[error("action {position}, {action} of {kind} {id}, failed")]
    Action { position: usize, action: &'static str, kind: Kind, id: String, source: StoreError },
}

/// Why a committed entry could not be applied. This replica no longer holds what the others hold: it must stop, and be
/// removed and joined again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The entry does not fit this replica. Nothing of it was applied.
    #[error(
        "log entry {index} cannot be applied to the store: this replica differs from the others"
    )]
    Entry { index: u64, source: EntryError },
    /// The entry was applied before, or a snapshot covers it.
    #[error("log entry {index} comes after entry {applied} was applied")]
    OutOfOrder { index: u64, applied: u64 },
}

/// Why a snapshot could not be restored. The store is as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// The bytes are no message.
    #[error("the snapshot is no docker.swarmkit.v1.Snapshot")]
    Malformed(#[from] prost::DecodeError),
    /// A version that this program does not know.
    #[error(
        "the snapshot has version {version}, but only version 0 is known: a newer program wrote it"
    )]
    UnknownVersion { version: i32 },
    /// An object of the snapshot does not fit the others.
    #[error("{kind} {id} of the snapshot cannot be restored")]
    Object { kind: Kind, id: String, source: StoreError },
}

/// Why a watch cannot start at a version. Start again from a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResumeError {
    /// The commits after that version are no longer kept.
    #[error(
        "changes since version {asked} are no longer kept: the oldest version to resume from is {oldest}"
    )]
    Compacted { asked: u64, oldest: u64 },
    /// This manager has not seen that version yet.
    #[error("version {asked} is ahead of this manager, which is at {newest}")]
    Ahead { asked: u64, newest: u64 },
}

/// The watcher was too slow and commits were dropped for it: start again from a view.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the watcher fell behind and missed changes: start again from a view")]
pub struct Lagged;
