//! The data keys that seal what is on disk. They cannot be printed and are wiped when dropped.

use std::fmt;

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

/// Keeps the hash that names a key apart from any other hash of it.
const ID_PREFIX: &[u8] = b"skep raft data key ";

/// Names a data key in the records that it sealed: the beginning of a hash of the key, which tells nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// A 256-bit data key: random bytes from a cryptographic source, kept by the node (sealed by the unlock key when the
/// cluster is locked).
#[derive(Clone)]
pub struct DataKey(Zeroizing<[u8; 32]>);

impl DataKey {
    /// Takes over a key's bytes.
    pub fn new(bytes: impl Into<Zeroizing<[u8; 32]>>) -> Self {
        Self(bytes.into())
    }

    /// Its name in the records. Follows from the bytes, so that a wrong key can never pass for the right one.
    pub fn id(&self) -> KeyId {
        let mut input = Zeroizing::new([0; ID_PREFIX.len() + 32]);
        input[..ID_PREFIX.len()].copy_from_slice(ID_PREFIX);
        input[ID_PREFIX.len()..].copy_from_slice(self.0.as_slice());
        let hash = digest(&SHA256, input.as_slice());
        let (first, _) = hash.as_ref().split_first_chunk().expect("SHA-256 gives 32 bytes");
        KeyId(u32::from_le_bytes(*first))
    }

    /// The key itself, for storing it sealed.
    pub fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DataKey({})", self.id())
    }
}

/// The key that seals, and those that only open what was sealed earlier.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Seals everything new.
    pub current: DataKey,
    /// Only open. Needed as long as [`LogStore::keys_in_use`](crate::LogStore::keys_in_use) names them.
    pub older: Vec<DataKey>,
}
