//! The keys that seal the raft log and its snapshots, as they lie in a header of the node's key file.
//!
//! What is on disk is local to the node, so the record is ours and not SwarmKit's NaCl secretbox: AES-256-GCM from the
//! provider that seals the log as well, under a key derived from the unlock key. SwarmKit's own headers (`raft-dek` and
//! its like) are left alone when a file has them.

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey},
    hkdf::{HKDF_SHA256, Salt},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use zeroize::Zeroizing;

use crate::{Secret, UnlockKey};

/// Bytes of a data key.
pub const DATA_KEY_LEN: usize = 32;
/// The most keys that are kept: each rotation adds one, and one goes when the log no longer needs it.
pub const DATA_KEYS_MAX: usize = 16;

const NONCE_LEN: usize = 12;
/// Binds the record to its place and format.
const CONTEXT: &[u8] = b"skep data keys 1";
const CLEAR: u8 = 0;
const SEALED: u8 = 1;

/// The present key and those that older parts of the log are still sealed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DataKeys {
    /// Seals what is written now.
    pub current: Secret,
    /// Only open.
    pub older: Vec<Secret>,
    /// The current key was on disk in clear while the cluster was not locked, and is to be replaced.
    pub needs_rotation: bool,
}

impl DataKeys {
    /// One new random key.
    pub fn generate() -> DataKeys {
        let current = Secret::random(DATA_KEY_LEN);
        DataKeys { current, older: Vec::new(), needs_rotation: false }
    }

    /// A new key on top; the present one stays for what it sealed. `None` when there are [`DATA_KEYS_MAX`] already.
    pub fn rotated(&self) -> Option<DataKeys> {
        if self.older.len() + 1 >= DATA_KEYS_MAX {
            return None;
        }
        let older = std::iter::once(&self.current).chain(&self.older).cloned().collect();
        let current = Secret::random(DATA_KEY_LEN);
        Some(DataKeys { current, older, needs_rotation: false })
    }
}

/// The header's value: base64 of a tag, and the keys one after another, the current one first, in clear or sealed.
pub(super) fn encode(keys: &DataKeys, kek: Option<&UnlockKey>) -> Zeroizing<String> {
    let all = std::iter::once(&keys.current).chain(&keys.older);
    let mut clear = Zeroizing::new(Vec::with_capacity(DATA_KEYS_MAX * DATA_KEY_LEN + 16));
    all.for_each(|key| clear.extend_from_slice(key.expose()));
    let Some(kek) = kek else {
        let mut record = Zeroizing::new(Vec::with_capacity(1 + clear.len()));
        record.push(CLEAR);
        record.extend_from_slice(&clear);
        return Zeroizing::new(STANDARD.encode(&*record));
    };
    let nonce = sealing_key(kek)
        .seal_in_place_append_tag(Aad::from(CONTEXT), &mut *clear)
        .expect("AES-256-GCM takes a few hundred bytes");
    let nonce: &[u8; NONCE_LEN] = nonce.as_ref();
    Zeroizing::new(STANDARD.encode([&[SEALED], nonce.as_slice(), &clear].concat()))
}

/// The inverse; `None` for what does not open with this key or is no such record.
pub(super) fn decode(
    value: &str,
    kek: Option<&UnlockKey>,
    needs_rotation: bool,
) -> Option<DataKeys> {
    let mut record = Zeroizing::new(STANDARD.decode(value).ok()?);
    let clear: &[u8] = match (record.split_first_mut()?, kek) {
        ((&mut CLEAR, clear), None) => clear,
        ((&mut SEALED, rest), Some(kek)) => {
            let (nonce, sealed) = rest.split_at_mut_checked(NONCE_LEN)?;
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            sealing_key(kek).open_in_place(nonce, Aad::from(CONTEXT), sealed).ok()?
        }
        _ => return None,
    };
    if !clear.len().is_multiple_of(DATA_KEY_LEN) || clear.len() / DATA_KEY_LEN > DATA_KEYS_MAX {
        return None;
    }
    let mut keys = clear.chunks(DATA_KEY_LEN).map(Secret::new);
    let current = keys.next()?;
    Some(DataKeys { current, older: keys.collect(), needs_rotation })
}

fn sealing_key(kek: &UnlockKey) -> RandomizedNonceKey {
    let mut key = Zeroizing::new([0; 32]);
    Salt::new(HKDF_SHA256, &[])
        .extract(kek.raw().expose())
        .expand(&[CONTEXT], HKDF_SHA256)
        .and_then(|okm| okm.fill(&mut *key))
        .expect("HKDF gives 32 bytes");
    RandomizedNonceKey::new(&AES_256_GCM, &*key).expect("the key has the length of AES-256")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_as_they_are_written_with_the_right_kek_only() {
        let kek = UnlockKey::generate();
        let keys = DataKeys::generate().rotated().unwrap().rotated().unwrap();
        for used in [None, Some(&kek)] {
            let value = encode(&keys, used);
            assert_eq!(decode(&value, used, false), Some(keys.clone()));
            assert_eq!(decode(&value, Some(&UnlockKey::generate()), false), None);
        }
        assert_eq!(decode(&encode(&keys, Some(&kek)), None, false), None);
    }

    #[test]
    fn a_damaged_record_does_not_open() {
        let kek = UnlockKey::generate();
        let value = encode(&DataKeys::generate(), Some(&kek));
        let record = STANDARD.decode(&*value).unwrap();
        for at in 0..record.len() {
            let mut damaged = record.clone();
            damaged[at] ^= 1;
            assert_eq!(decode(&STANDARD.encode(&damaged), Some(&kek), false), None, "byte {at}");
            assert_eq!(decode(&STANDARD.encode(&record[..at]), Some(&kek), false), None);
        }
    }

    #[test]
    fn rotations_are_bounded() {
        let mut keys = DataKeys::generate();
        for _ in 1..DATA_KEYS_MAX {
            keys = keys.rotated().unwrap();
        }
        assert_eq!(keys.rotated(), None);
    }
}
