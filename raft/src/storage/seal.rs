//! Sealing of records: AES-256-GCM with random nonces, and what the record is bound into the seal.
//!
//! A sealed record is `ciphertext ‖ tag (16) ‖ nonce (12) ‖ key id (4, little-endian)`: everything but the ciphertext at the
//! end, so that a record is sealed in the buffer it was encoded into. The key id in each record lets keys change without
//! rewriting what is there. Random nonces of 96 bits allow 2³² seals under one key before a repetition becomes thinkable
//! (NIST SP 800-38D §8.3). A batch takes two, its frame and the witness: at a thousand batches a second that is more than
//! three weeks of nothing but writes between two rotations' worth of snapshots, and a key is also changed with every
//! rotation of the unlock key.

use std::collections::BTreeMap;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};

use crate::{DataKey, KeyId, Keyring};

const TAG_BYTES: usize = 16;
const KEY_ID_BYTES: usize = 4;
/// What sealing adds to a record.
pub const OVERHEAD_BYTES: usize = TAG_BYTES + NONCE_LEN + KEY_ID_BYTES;

/// What a record is. Bound into its seal, so that no record opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// The first frame of a log file, by the number of its batch.
    Head(u64),
    /// A later frame of the log file whose first frame was sealed as `file`.
    Batch { number: u64, file: SealId },
    /// The acknowledged batch number.
    Witness,
    /// A chunk of a snapshot file.
    Chunk { index: u64, term: u64, number: u64, last: bool },
}

impl Slot {
    /// The associated data: a tag for this use and version, then the slot, at a fixed width.
    fn associated(self) -> [u8; 34] {
        let mut data = [0; 34];
        data[..8].copy_from_slice(b"skeplog2");
        match self {
            Self::Head(number) => {
                data[8] = 1;
                data[9..17].copy_from_slice(&number.to_le_bytes());
            }
            Self::Batch { number, file } => {
                data[8] = 2;
                data[9..17].copy_from_slice(&number.to_le_bytes());
                data[17..17 + NONCE_LEN].copy_from_slice(&file.0);
            }
            Self::Witness => data[8] = 3,
            Self::Chunk { index, term, number, last } => {
                data[8] = 4;
                data[9..17].copy_from_slice(&index.to_le_bytes());
                data[17..25].copy_from_slice(&term.to_le_bytes());
                data[25..33].copy_from_slice(&number.to_le_bytes());
                data[33] = u8::from(last);
            }
        }
        data
    }
}

/// Names one act of sealing: its nonce, which no other has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SealId([u8; NONCE_LEN]);

impl SealId {
    /// Of what ends in a sealed record; `None` when it is too short to.
    pub fn of(sealed: &[u8]) -> Option<Self> {
        let (rest, _) = sealed.split_last_chunk::<KEY_ID_BYTES>()?;
        rest.last_chunk().copied().map(Self)
    }
}

/// Why a record does not open.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// The ring does not hold this key.
    UnknownKey(KeyId),
    /// Not what was sealed under this slot and key.
    Forged,
}

/// Seals with the ring's current key, opens with any of them.
pub struct Sealer {
    current: KeyId,
    keys: BTreeMap<KeyId, RandomizedNonceKey>,
}

impl Sealer {
    pub fn new(ring: &Keyring) -> Self {
        let keys = ring.older.iter().chain([&ring.current]).map(|key| (key.id(), expand(key)));
        Self { current: ring.current.id(), keys: keys.collect() }
    }

    /// The key that seals.
    pub fn current(&self) -> KeyId {
        self.current
    }

    /// Whether a key is in the ring.
    pub fn holds(&self, key: KeyId) -> bool {
        self.keys.contains_key(&key)
    }

    /// Seals a record in the vector that it comes in.
    pub fn seal(&self, slot: Slot, mut record: Vec<u8>) -> Vec<u8> {
        record.reserve_exact(OVERHEAD_BYTES);
        self.seal_from(slot, &mut record, 0);
        record
    }

    /// Seals in place what `buffer` holds from `start` on.
    pub fn seal_from(&self, slot: Slot, buffer: &mut Vec<u8>, start: usize) {
        let (nonce, tag) = self.keys[&self.current]
            .seal_in_place_separate_tag(Aad::from(slot.associated()), &mut buffer[start..])
            .expect("AES-GCM seals anything below 64 GiB, and records are bounded far below");
        buffer.extend_from_slice(tag.as_ref());
        buffer.extend_from_slice(nonce.as_ref());
        buffer.extend_from_slice(&self.current.0.to_le_bytes());
    }

    /// Opens a record; also tells which key sealed it.
    pub fn open(&self, slot: Slot, sealed: &[u8]) -> Result<(Vec<u8>, KeyId), OpenError> {
        let mut record = sealed.to_vec();
        let key = self.open_in_place(slot, &mut record)?;
        Ok((record, key))
    }

    /// Puts the record in the place of what was sealed, and tells which key sealed it. After an error the vector holds
    /// nothing of use.
    pub fn open_in_place(&self, slot: Slot, sealed: &mut Vec<u8>) -> Result<KeyId, OpenError> {
        let (rest, key_id) =
            sealed.split_last_chunk_mut::<KEY_ID_BYTES>().ok_or(OpenError::Forged)?;
        let (rest, nonce) = rest.split_last_chunk_mut::<NONCE_LEN>().ok_or(OpenError::Forged)?;
        let key_id = KeyId(u32::from_le_bytes(*key_id));
        let key = self.keys.get(&key_id).ok_or(OpenError::UnknownKey(key_id))?;
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let len = key
            .open_in_place(nonce, Aad::from(slot.associated()), rest)
            .map_err(|_| OpenError::Forged)?
            .len();
        sealed.truncate(len);
        Ok(key_id)
    }
}

fn expand(key: &DataKey) -> RandomizedNonceKey {
    RandomizedNonceKey::new(&AES_256_GCM, key.bytes())
        .expect("a data key has the 32 bytes that AES-256 takes")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ring(byte: u8) -> Keyring {
        Keyring { current: DataKey::new([byte; 32]), older: Vec::new() }
    }

    #[test]
    fn a_record_opens_only_as_what_it_was_sealed_as() {
        let sealer = Sealer::new(&ring(1));
        let chunk = |number, last| Slot::Chunk { index: 5, term: 2, number, last };
        let slots = [
            Slot::Head(5),
            Slot::Head(6),
            Slot::Batch { number: 5, file: SealId([1; NONCE_LEN]) },
            Slot::Batch { number: 6, file: SealId([1; NONCE_LEN]) },
            Slot::Batch { number: 5, file: SealId([2; NONCE_LEN]) },
            Slot::Witness,
            chunk(0, false),
            chunk(1, false),
            chunk(0, true),
        ];
        for (n, slot) in slots.into_iter().enumerate() {
            let sealed = sealer.seal(slot, b"secret".to_vec());
            assert_eq!(sealed.len(), 6 + OVERHEAD_BYTES);
            for (m, other) in slots.into_iter().enumerate() {
                let opened = sealer.open(other, &sealed);
                assert_eq!(opened.is_ok(), n == m, "{slot:?} as {other:?}");
            }
        }
    }

    #[test]
    fn no_flipped_byte_and_no_cut_opens() {
        let sealer = Sealer::new(&ring(1));
        let sealed = sealer.seal(Slot::Witness, b"secret".to_vec());
        for at in 0..sealed.len() {
            let mut flipped = sealed.clone();
            flipped[at] ^= 0x40;
            sealer.open(Slot::Witness, &flipped).unwrap_err();
            sealer.open(Slot::Witness, &sealed[..at]).unwrap_err();
        }
    }

    #[test]
    fn an_unknown_key_is_named_and_an_older_one_opens() {
        let sealed = Sealer::new(&ring(1)).seal(Slot::Witness, b"secret".to_vec());
        let old = DataKey::new([1; 32]);
        assert_eq!(
            Sealer::new(&ring(2)).open(Slot::Witness, &sealed).unwrap_err(),
            OpenError::UnknownKey(old.id())
        );
        let both = Keyring { current: DataKey::new([2; 32]), older: vec![old.clone()] };
        let (record, key) = Sealer::new(&both).open(Slot::Witness, &sealed).unwrap();
        assert_eq!((record.as_slice(), key), (b"secret".as_slice(), old.id()));
    }
}
