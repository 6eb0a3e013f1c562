//! What a Control method answers when it does not do what was asked, and the one place that turns that into gRPC.
//!
//! Engines turn the codes into HTTP, and some clients match on texts, so both are part of the contract: missing is
//! NotFound, taken is AlreadyExists, malformed and "still in use" are InvalidArgument, what the cluster's state does not
//! allow is FailedPrecondition, and a stale version is Unknown with the text "update out of sequence".

use skep_store::{Kind, Refusal, StoreError, UpdateError};
use tonic::{Code, Status};

use super::validate::{Invalid, shown};
use crate::group::GroupError;

/// The longest text of a status, in bytes: it travels in a header, and percent-encoded.
const STATUS_TEXT_MAX: usize = 1024;

/// Why a Control method failed. Unless it says otherwise nothing was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// What came in is malformed.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// There is no such object.
    #[error("{kind} {key} not found")]
    NotFound {
        /// Its kind.
        kind: Kind,
        /// The id or name that was asked for.
        key: String,
    },
    /// The name or id is taken.
    #[error("{what} already exists")]
    Exists {
        /// The object that is there, with its kind.
        what: String,
    },
    /// The state of the cluster does not allow it.
    #[error("{0}")]
    Precondition(String),
    /// A member that should be there is not.
    #[error("{0}")]
    Absent(String),
    /// The store's own refusal.
    #[error(transparent)]
    Store(StoreError),
    /// The write will not be made.
    #[error("nothing was written: {0}")]
    Refused(Refusal),
    /// The write may or may not have been made.
    #[error(
        "leadership was lost while the write was in flight: it may or may not have been made; look before trying again"
    )]
    Unknown,
    /// The raft group did not confirm that this manager is up to date.
    #[error("this manager cannot read the cluster's state now: {0}")]
    Unreadable(String),
    /// Something that the cluster cannot be without is missing.
    #[error("{0}")]
    Internal(String),
}

impl ControlError {
    /// An InvalidArgument with the text.
    pub(crate) fn argument(text: impl Into<String>) -> ControlError {
        ControlError::Invalid(Invalid::Argument(text.into()))
    }

    /// An Unimplemented with the text.
    pub(crate) fn unsupported(text: impl Into<String>) -> ControlError {
        ControlError::Invalid(Invalid::Unsupported(text.into()))
    }

    /// There is no object of the kind with this id or name.
    pub(crate) fn not_found(kind: Kind, key: &str) -> ControlError {
        let key = if key.len() <= 64 && key.bytes().all(|b| b.is_ascii_graphic()) {
            key.to_owned()
        } else {
            shown(key)
        };
        ControlError::NotFound { kind, key }
    }

    fn code(&self) -> Code {
        match self {
            ControlError::Invalid(Invalid::Argument(_)) => Code::InvalidArgument,
            ControlError::Invalid(Invalid::Unsupported(_)) => Code::Unimplemented,
            ControlError::Invalid(Invalid::Forbidden(_)) => Code::PermissionDenied,
            ControlError::NotFound { .. } | ControlError::Absent(_) => Code::NotFound,
            ControlError::Exists { .. } => Code::AlreadyExists,
            ControlError::Precondition(_) => Code::FailedPrecondition,
            // Peers know a stale version by its text; its code is what an error without one gets.
            ControlError::Store(StoreError::OutOfSequence { .. }) => Code::Unknown,
            ControlError::Store(_) => Code::InvalidArgument,
            ControlError::Refused(Refusal::TooLarge) => Code::ResourceExhausted,
            ControlError::Refused(_) | ControlError::Unreadable(_) => Code::Unavailable,
            ControlError::Unknown => Code::Unknown,
            ControlError::Internal(_) => Code::Internal,
        }
    }
}

impl From<StoreError> for ControlError {
    fn from(error: StoreError) -> ControlError {
        match error {
            StoreError::NotFound { kind, id } => ControlError::not_found(kind, &id),
            StoreError::Exists { kind, id } => {
                ControlError::Exists { what: format!("{kind} {id}") }
            }
            StoreError::NameConflict { kind, name } => {
                ControlError::Exists { what: format!("{kind} {name}") }
            }
            StoreError::UnregisteredKind { resource_kind, .. } => ControlError::argument(format!(
                "resource: kind {} is not registered; create an extension of that name first",
                shown(&resource_kind)
            )),
            error => ControlError::Store(error),
        }
    }
}

impl From<UpdateError<ControlError>> for ControlError {
    fn from(error: UpdateError<ControlError>) -> ControlError {
        match error {
            UpdateError::Aborted(error) => error,
            UpdateError::Refused(why) => ControlError::Refused(why),
            UpdateError::Unknown => ControlError::Unknown,
        }
    }
}

impl From<GroupError> for ControlError {
    fn from(error: GroupError) -> ControlError {
        ControlError::Unreadable(error.to_string())
    }
}

impl From<ControlError> for Status {
    fn from(error: ControlError) -> Status {
        let mut text = error.to_string();
        if text.len() > STATUS_TEXT_MAX {
            let end =
                (0..=STATUS_TEXT_MAX).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            text.truncate(end);
        }
        Status::new(error.code(), text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_has_its_code_and_text() {
        let stale =
            StoreError::OutOfSequence { kind: Kind::Node, id: "a".into(), stored: 2, given: 1 };
        let taken = StoreError::NameConflict { kind: Kind::Service, name: "web".into() };
        let gone = StoreError::NotFound { kind: Kind::Secret, id: "a".into() };
        let unregistered =
            StoreError::UnregisteredKind { id: "a".into(), resource_kind: "k".into() };
        for (error, code, text) in [
            (ControlError::argument("no"), Code::InvalidArgument, "no"),
            (ControlError::unsupported("no"), Code::Unimplemented, "no"),
            (ControlError::Invalid(Invalid::Forbidden("no".into())), Code::PermissionDenied, "no"),
            (ControlError::not_found(Kind::Node, "abc"), Code::NotFound, "node abc not found"),
            (ControlError::not_found(Kind::Node, "a b"), Code::NotFound, "node \"a b\" not found"),
            (stale.into(), Code::Unknown, "update out of sequence"),
            (taken.into(), Code::AlreadyExists, "service web already exists"),
            (gone.into(), Code::NotFound, "secret a not found"),
            (
                unregistered.into(),
                Code::InvalidArgument,
                "resource: kind \"k\" is not registered; create an extension of that name first",
            ),
            (ControlError::Precondition("not now".into()), Code::FailedPrecondition, "not now"),
            (
                ControlError::Refused(Refusal::NotLeader),
                Code::Unavailable,
                "nothing was written: this manager is not the leader of the raft group",
            ),
            (
                ControlError::Refused(Refusal::TooLarge),
                Code::ResourceExhausted,
                "nothing was written: raft: raft message is too large and can't be sent",
            ),
            (
                ControlError::Unknown,
                Code::Unknown,
                "leadership was lost while the write was in flight: it may or may not have been made; look before \
                 trying again",
            ),
            (
                GroupError::NotLeader.into(),
                Code::Unavailable,
                "this manager cannot read the cluster's state now: this manager is not the leader of the raft group",
            ),
        ] {
            let status = Status::from(error);
            assert_eq!((status.code(), status.message()), (code, text));
        }
    }

    #[test]
    fn a_text_fits_a_header() {
        let status = Status::from(ControlError::argument("ü".repeat(10_000)));
        assert_eq!(status.message().len(), STATUS_TEXT_MAX);
    }
}
