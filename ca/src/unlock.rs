//! The unlock key of an auto-locked cluster, in the form that an operator keeps: `SWMKEY-1-<base64>`.

use std::{fmt, str::FromStr};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use zeroize::Zeroizing;

use crate::Secret;

/// Random bytes in a key.
const KEY_LEN: usize = 32;
/// The longest key that we take from a peer: far above any that is made, and a bound on what is decoded.
const KEY_LEN_MAX: usize = 256;
const PREFIX: &str = "SWMKEY-1-";

/// A text that is no unlock key. It does not repeat the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an unlock key: expected SWMKEY-1- followed by the key in base64")]
pub struct InvalidUnlockKey;

/// The key that opens managers' key files: the key-encryption key (KEK) as raw bytes.
#[derive(Clone, PartialEq, Eq)]
pub struct UnlockKey(Secret);

impl UnlockKey {
    /// A new random key.
    pub fn generate() -> UnlockKey {
        UnlockKey(Secret::random(KEY_LEN))
    }

    /// The key with these raw bytes, as a manager answers them; `None` for no bytes: the cluster is not locked.
    pub fn from_raw(bytes: &[u8]) -> Option<UnlockKey> {
        (!bytes.is_empty()).then(|| UnlockKey(Secret::new(bytes)))
    }

    /// The raw bytes: what seals, and what the cluster object holds.
    pub fn raw(&self) -> &Secret {
        &self.0
    }

    /// The key as the operator keeps it. Whoever reads it can open the managers' disks.
    pub fn expose(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(PREFIX.len() + KEY_LEN_MAX * 2));
        text.push_str(PREFIX);
        STANDARD_NO_PAD.encode_string(self.0.expose(), &mut text);
        text
    }
}

impl FromStr for UnlockKey {
    type Err = InvalidUnlockKey;

    fn from_str(text: &str) -> Result<UnlockKey, InvalidUnlockKey> {
        let encoded = text.strip_prefix(PREFIX).ok_or(InvalidUnlockKey)?;
        if encoded.len() > KEY_LEN_MAX {
            return Err(InvalidUnlockKey);
        }
        let raw = Zeroizing::new(STANDARD_NO_PAD.decode(encoded).map_err(|_| InvalidUnlockKey)?);
        UnlockKey::from_raw(&raw).ok_or(InvalidUnlockKey)
    }
}

impl fmt::Debug for UnlockKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UnlockKey(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_as_it_is_written() {
        let key = UnlockKey::generate();
        let text = key.expose();
        assert_eq!(text.len(), "SWMKEY-1-".len() + 43);
        assert_eq!(text.parse::<UnlockKey>().unwrap(), key);
        assert_eq!(format!("{key:?}"), "UnlockKey(redacted)");
    }

    #[test]
    fn what_is_no_key_is_refused() {
        let long = format!("SWMKEY-1-{}", "A".repeat(KEY_LEN_MAX + 4));
        for text in ["", "SWMKEY-1-", "SWMKEY-2-AAAA", "SWMKEY-1-AA=", "SWMKEY-1-a b", &long] {
            assert_eq!(text.parse::<UnlockKey>(), Err(InvalidUnlockKey), "{text}");
        }
        assert!(UnlockKey::from_raw(&[]).is_none());
    }
}
