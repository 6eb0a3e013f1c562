//! Keys of indexes: text of any length as 32 inline bytes, so that an entry of an index is a plain copy.
//!
//! Text of up to 31 bytes is kept whole. Longer text keeps its first 23 bytes and a hash of all of it, so equal text has
//! equal keys, but equal keys do not prove equal text: a query checks what an index offers against the object.

use std::cmp::Ordering;

use skep_proto::ids::{self, Id};

const SIZE: usize = 32;
const WHOLE_MAX: usize = SIZE - 1;
const HEAD: usize = WHOLE_MAX - 8;
/// In the last byte, where whole text has its length.
const HASHED: u8 = u8::MAX;

/// A piece of text as a key of an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key([u8; SIZE]);

impl Ord for Key {
    fn cmp(&self, other: &Key) -> Ordering {
        ids::compare(&self.0, &other.0)
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Key) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Key {
    /// Not greater than any key.
    pub const FIRST: Key = Key([0; SIZE]);
    /// Not smaller than any key.
    pub const LAST: Key = Key([u8::MAX; SIZE]);

    /// The key of exactly this text.
    pub fn exact(text: &str) -> Key {
        let text = text.as_bytes();
        let mut bytes = [0; SIZE];
        if text.len() <= WHOLE_MAX {
            bytes[..text.len()].copy_from_slice(text);
            bytes[WHOLE_MAX] = text.len() as u8;
        } else {
            bytes[..HEAD].copy_from_slice(&text[..HEAD]);
            bytes[HEAD..WHOLE_MAX].copy_from_slice(&fnv1a(text).to_be_bytes());
            bytes[WHOLE_MAX] = HASHED;
        }
        Key(bytes)
    }

    /// The key of this text in lower case, which is how names are compared.
    pub fn lower(text: &str) -> Key {
        if text.len() <= WHOLE_MAX && text.is_ascii() {
            let mut key = Key::exact(text);
            key.0[..WHOLE_MAX].make_ascii_lowercase();
            key
        } else {
            Key::exact(&text.to_lowercase())
        }
    }

    /// The key of an id.
    pub fn id(id: Id) -> Key {
        Key::exact(id.as_str())
    }

    /// First and last key that text with this prefix can have.
    pub fn prefix(prefix: &str) -> (Key, Key) {
        let head = &prefix.as_bytes()[..prefix.len().min(HEAD)];
        let (mut first, mut last) = ([0; SIZE], [u8::MAX; SIZE]);
        first[..head.len()].copy_from_slice(head);
        last[..head.len()].copy_from_slice(head);
        (Key(first), Key(last))
    }
}

/// FNV-1a with 64 bits. Collisions cost a comparison, nothing else.
fn fnv1a(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &b| (hash ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_text_is_told_apart_and_stays_within_its_prefix() {
        let common = "a-name-that-is-much-longer-than-a-key";
        let (one, two) = (format!("{common}-1"), format!("{common}-2"));
        assert_ne!(Key::exact(&one), Key::exact(&two));
        assert_eq!(Key::exact(&one), Key::exact(&one.clone()));
        for end in [0, 1, 22, 23, 24, 31, 32, one.len()] {
            let (first, last) = Key::prefix(&one[..end]);
            assert!(first <= Key::exact(&one) && Key::exact(&one) <= last, "{end}");
        }
    }

    #[test]
    fn whole_text_is_told_apart_from_padding() {
        assert_ne!(Key::exact("a"), Key::exact("a\0"));
        assert_ne!(Key::exact(&"x".repeat(31)), Key::exact(&"x".repeat(32)));
    }

    #[test]
    fn names_compare_in_lower_case() {
        assert_eq!(Key::lower("WeB"), Key::exact("web"));
        assert_eq!(Key::lower("ÄÖ"), Key::exact("äö"));
        let long = "LONG".repeat(20);
        assert_eq!(Key::lower(&long), Key::exact(&long.to_lowercase()));
    }
}
