//! The data keys that seal what is on disk. They cannot be printed and are wiped when dropped.

use std::fmt;

use zeroize::Zeroizing;

/// Names a data key in the records that it sealed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

/// A 256-bit data key.
#[derive(Clone)]
pub struct DataKey {
    /// Its name in the records.
    pub id: KeyId,
    /// The key itself.
    pub key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for DataKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DataKey").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The key that seals, and those that only open what was sealed earlier.
#[derive(Clone, Debug)]
pub struct Keyring {
    /// Seals everything new.
    pub current: DataKey,
    /// Only open.
    pub older: Vec<DataKey>,
}
