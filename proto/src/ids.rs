//! Ids: 25 characters of lower-case base 36 (map §2.1), kept inline so that a key of an index is a plain copy.

use std::{cmp::Ordering, fmt, str::FromStr};

use rand::RngCore;

/// Length of the ids that we make.
pub const ID_LEN: usize = 25;
/// The longest id that we take from a peer. `FIPS.` and 25 characters, the longest that SwarmKit stores, fits.
pub const ID_MAX_LEN: usize = 31;

/// A string that is no id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{id:?} is not an id: expected 1 to {ID_MAX_LEN} characters of a-z, A-Z, 0-9, '.', '-' and '_'"
)]
pub struct InvalidId {
    id: String,
}

/// An id of unspecified kind: inline, `Copy`, ordered like its text.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Id {
    // The text, zero-padded so that comparing arrays compares the texts, and its length as the last byte.
    bytes: [u8; SIZE],
}

/// What an id takes in memory.
const SIZE: usize = ID_MAX_LEN + 1;

impl Id {
    /// Smaller than every id; the start of a range.
    pub const MIN: Id = Id { bytes: [0; SIZE] };
    /// Greater than every id; the end of a range.
    pub const MAX: Id = Id { bytes: [u8::MAX; SIZE] };

    /// A new random id: 17 random bytes with the top bit set, as a number in base 36, characters 1 to 25 of it.
    pub fn random(rng: &mut (impl RngCore + ?Sized)) -> Id {
        let mut raw = [0u8; 17];
        rng.fill_bytes(&mut raw);
        raw[0] |= 0x80;
        let text = base36(&raw);
        Id::of_checked(&text.as_bytes()[1..=ID_LEN])
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        // Ids are made of checked ASCII only; MIN and MAX are bounds and have no text.
        let len = usize::from(self.bytes[ID_MAX_LEN]);
        std::str::from_utf8(self.bytes.get(..len).unwrap_or_default()).unwrap_or_default()
    }

    /// Of text that is no longer than an id may be.
    fn of_checked(text: &[u8]) -> Id {
        let mut bytes = [0; SIZE];
        bytes[..text.len()].copy_from_slice(text);
        bytes[ID_MAX_LEN] = text.len() as u8;
        Id { bytes }
    }
}

impl Ord for Id {
    fn cmp(&self, other: &Id) -> Ordering {
        compare(&self.bytes, &other.bytes)
    }
}

impl PartialOrd for Id {
    fn partial_cmp(&self, other: &Id) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Compares arrays as text is compared, in words. An ordered map does little else, and ids mostly differ in the first word.
#[inline]
pub fn compare(a: &[u8; SIZE], b: &[u8; SIZE]) -> Ordering {
    let words = |bytes: &[u8; SIZE]| -> [u64; SIZE / 8] {
        std::array::from_fn(|at| {
            let mut word = [0; 8];
            word.copy_from_slice(&bytes[8 * at..][..8]);
            u64::from_be_bytes(word)
        })
    };
    words(a).cmp(&words(b))
}

/// A big-endian number in lower-case base 36, without padding.
pub fn base36(big_endian: &[u8]) -> String {
    const DIGITS: &[u8; 36] = b"0123456789abcdefghijklmnopqrstuvwxyz";
    /// As many digits as fit into a word.
    const PART_DIGITS: usize = 12;
    const PART: u128 = 36u128.pow(PART_DIGITS as u32);
    // In words, the highest first.
    let mut number: Vec<u64> = big_endian
        .rchunks(8)
        .rev()
        .map(|word| word.iter().fold(0, |word, &byte| (word << 8) | u64::from(byte)))
        .collect();
    let mut text = Vec::with_capacity(big_endian.len() * 2);
    while number.iter().any(|&word| word != 0) {
        let mut rest = 0;
        for word in &mut number {
            let value = (rest << 64) | u128::from(*word);
            // Less than a word, since the rest is less than the divisor.
            *word = (value / PART) as u64;
            rest = value % PART;
        }
        let mut part = rest as u64;
        for _ in 0..PART_DIGITS {
            text.push(DIGITS[(part % 36) as usize]);
            part /= 36;
        }
    }
    while text.len() > 1 && text.last() == Some(&b'0') {
        text.pop();
    }
    if text.is_empty() {
        text.push(b'0');
    }
    text.reverse();
    text.into_iter().map(char::from).collect()
}

/// Which bytes may stand in an id.
const ALLOWED: [bool; 256] = {
    let mut allowed = [false; 256];
    let mut byte = 0;
    while byte < allowed.len() {
        let b = byte as u8;
        allowed[byte] = b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
        byte += 1;
    }
    allowed
};

impl FromStr for Id {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Id, InvalidId> {
        let allowed = |b: u8| ALLOWED[usize::from(b)];
        if text.is_empty() || text.len() > ID_MAX_LEN || !text.bytes().all(allowed) {
            let id = text.chars().take(2 * ID_MAX_LEN).collect();
            return Err(InvalidId { id });
        }
        Ok(Id::of_checked(text.as_bytes()))
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

macro_rules! typed_ids {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Id);

        impl $name {
            /// Smaller than every id; the start of a range.
            pub const MIN: $name = $name(Id::MIN);
            /// Greater than every id; the end of a range.
            pub const MAX: $name = $name(Id::MAX);

            /// A new random id.
            pub fn random(rng: &mut (impl RngCore + ?Sized)) -> $name {
                $name(Id::random(rng))
            }

            /// The id as text.
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;
            fn from_str(text: &str) -> Result<$name, InvalidId> {
                text.parse().map($name)
            }
        }

        impl From<Id> for $name {
            fn from(id: Id) -> $name {
                $name(id)
            }
        }

        impl From<$name> for Id {
            fn from(id: $name) -> Id {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    )*};
}

typed_ids! {
    /// A node; the CN of its certificate.
    NodeId,
    /// A service.
    ServiceId,
    /// A task.
    TaskId,
    /// A network.
    NetworkId,
    /// A cluster; the O of its certificates.
    ClusterId,
    /// A secret.
    SecretId,
    /// A config.
    ConfigId,
    /// A resource.
    ResourceId,
    /// An extension.
    ExtensionId,
    /// A volume.
    VolumeId,
    /// A session of a node with the dispatcher.
    SessionId,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_id_is_25_characters_of_lower_case_base_36() {
        let mut rng = rand::rng();
        for _ in 0..1000 {
            let id = Id::random(&mut rng);
            assert_eq!(id.as_str().len(), ID_LEN);
            assert!(id.as_str().bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()));
            assert_eq!(id.as_str().parse(), Ok(id));
        }
    }

    #[test]
    fn ids_sort_as_their_texts_do() {
        let ids = ["a", "ab", "b", "FIPS.a", "0"].map(|t| t.parse::<Id>().unwrap());
        for a in ids {
            for b in ids {
                assert_eq!(a.cmp(&b), a.as_str().cmp(b.as_str()));
                assert!(Id::MIN < a && a < Id::MAX);
            }
        }
    }

    #[test]
    fn arrays_compare_as_their_bytes_do() {
        let mut rng = rand::rng();
        let mut one = [0u8; SIZE];
        for _ in 0..1000 {
            rng.fill_bytes(&mut one);
            let mut other = one;
            assert_eq!(compare(&one, &other), Ordering::Equal);
            let at = rng.next_u32() as usize % SIZE;
            other[at] ^= 0x81;
            assert_eq!(compare(&one, &other), one.cmp(&other));
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for text in ["", "a b", "ä", "a/b", "a\0", &"x".repeat(ID_MAX_LEN + 1)] {
            assert!(text.parse::<Id>().is_err(), "{text:?}");
        }
    }

    #[test]
    fn base_36_is_what_a_big_integer_would_print() {
        assert_eq!(base36(&[]), "0");
        assert_eq!(base36(&[0, 0]), "0");
        assert_eq!(base36(&[35]), "z");
        assert_eq!(base36(&[1, 0]), "74");
        assert_eq!(base36(&[0xff; 4]), "1z141z3");
        // 2^128, 36^12 and 36^12 - 1.
        let large = [&[1][..], &[0; 16]].concat();
        assert_eq!(base36(&large), "f5lxx1zz5pnorynqglhzmsp34");
        assert_eq!(base36(&36u64.pow(12).to_be_bytes()), "1000000000000");
        assert_eq!(base36(&(36u64.pow(12) - 1).to_be_bytes()), "zzzzzzzzzzzz");
    }
}
