//! Envelopes: what may be submitted, and what an envelope goes by.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;
use prost::Message as _;

use super::chain::Hash;
use crate::wire;

/// A submitter's name or an envelope's at most: room for any id in use, and little enough to be hashed at once.
pub const NAME_BYTES_MAX: usize = 128;

/// What an envelope is known by in the window: its submitter's name and its own, hashed and cut to 128 bits, which nobody makes two
/// of by accident; by design one can only make one's own envelopes collide.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Key(pub [u8; 16]);

/// Tells an envelope from another one under the same name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Print(pub [u8; 8]);

/// An envelope ready to be ordered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Submission {
    /// The encoded envelope: an item of a block.
    pub bytes: Bytes,
    /// The hash of these bytes.
    pub digest: Hash,
    /// What it is known by.
    pub key: Key,
}

/// Why an envelope cannot be ordered at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// A name is missing or too long.
    #[error("the envelope's {field} has {bytes} bytes; give it 1 to {NAME_BYTES_MAX}")]
    Name {
        /// Which of them.
        field: &'static str,
        /// Its length.
        bytes: usize,
    },
}

/// What an envelope of this submitter and name is known by.
pub fn key(submitter: &str, id: &str) -> Key {
    let mut context = Context::new(&SHA256);
    // The length keeps ("ab", "c") from being ("a", "bc").
    context.update(&(submitter.len() as u64).to_be_bytes());
    context.update(submitter.as_bytes());
    context.update(id.as_bytes());
    let digest = context.finish();
    Key(*digest.as_ref().first_chunk().expect("SHA-256 gives 32 bytes"))
}

impl Submission {
    /// Checks and hashes an envelope: the costly part of a submission, done before anybody waits for it.
    ///
    /// # Errors
    /// When it has no proper names.
    pub fn new(envelope: &wire::Envelope) -> Result<Submission, EnvelopeError> {
        for (field, name) in [("submitter", &envelope.submitter), ("id", &envelope.id)] {
            if name.is_empty() || name.len() > NAME_BYTES_MAX {
                return Err(EnvelopeError::Name { field, bytes: name.len() });
            }
        }
        let bytes = Bytes::from(envelope.encode_to_vec());
        let digest = Hash::of(&bytes);
        Ok(Submission { bytes, digest, key: key(&envelope.submitter, &envelope.id) })
    }

    /// Tells it from another one under the same name.
    pub fn print(&self) -> Print {
        print(&self.digest)
    }
}

/// Tells an envelope with this digest from others.
pub fn print(digest: &Hash) -> Print {
    Print(*digest.0.first_chunk().expect("a hash has 32 bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(submitter: &str, id: &str) -> wire::Envelope {
        wire::Envelope { submitter: submitter.into(), id: id.into(), payload: Bytes::new() }
    }

    #[test]
    fn names_are_needed_and_bounded() {
        let long = "x".repeat(NAME_BYTES_MAX);
        let longer = "x".repeat(NAME_BYTES_MAX + 1);
        let name = |field, bytes| Some(EnvelopeError::Name { field, bytes });
        for (submitter, id, expected) in [
            ("alice", "1", None),
            (&long, &long, None),
            ("", "1", name("submitter", 0)),
            ("alice", "", name("id", 0)),
            (&longer, "1", name("submitter", 129)),
            ("alice", &longer, name("id", 129)),
        ] {
            assert_eq!(Submission::new(&envelope(submitter, id)).err(), expected);
        }
    }

    #[test]
    fn an_envelope_is_known_by_both_names() {
        assert_eq!(key("a", "b"), key("a", "b"));
        for (submitter, id) in [("a", "c"), ("c", "b"), ("ab", ""), ("", "ab")] {
            assert_ne!(key("a", "b"), key(submitter, id), "{submitter} {id}");
        }
    }
}
