//! Entries of many changes, packed: most of what the objects of one entry say, they say alike.
//!
//! A packed entry is `0 ‖ length of the entry (4, little-endian) ‖ the entry as an LZ4 block`. No InternalRaftRequest begins
//! with a 0, since no field has that number, so each entry says what it is. SwarmKit's managers cannot read them: the leader
//! packs only while its [`Proposer`](crate::Proposer) says that everybody can.

use std::borrow::Cow;

use bytes::Bytes;
use lz4_flex::block::{compress_into, decompress_into, get_maximum_output_size};

use crate::{EntryError, PROPOSAL_BYTES_MAX};

const MARK: u8 = 0;
/// What stands before the block.
const HEAD_BYTES: usize = 1 + size_of::<u32>();
/// Of smaller entries little is to be gained.
const WORTH_BYTES: usize = 1024;
/// Room for packing that is kept for the next entry.
const ROOM_KEPT_BYTES: usize = 512 * 1024;

/// The entry packed, if that makes it smaller. `room` is used again for the next one.
pub(crate) fn pack(entry: Bytes, room: &mut Vec<u8>) -> Bytes {
    let Ok(length) = u32::try_from(entry.len()) else { return entry };
    if entry.len() < WORTH_BYTES {
        return entry;
    }
    let needed = HEAD_BYTES + get_maximum_output_size(entry.len());
    if room.len() < needed {
        room.resize(needed, 0);
    }
    room[0] = MARK;
    room[1..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    let packed = match compress_into(&entry, &mut room[HEAD_BYTES..]) {
        Ok(block) if HEAD_BYTES + block < entry.len() => {
            Bytes::copy_from_slice(&room[..HEAD_BYTES + block])
        }
        _ => entry,
    };
    if room.len() > ROOM_KEPT_BYTES {
        *room = Vec::new();
    }
    packed
}

/// The entry as it was before it was packed, if it was.
pub(crate) fn unpack(entry: &[u8]) -> Result<Cow<'_, [u8]>, EntryError> {
    let Some((&MARK, packed)) = entry.split_first() else { return Ok(Cow::Borrowed(entry)) };
    let damaged = |detail: &dyn std::fmt::Display| EntryError::Packed(detail.to_string());
    let (length, block) = packed.split_first_chunk().ok_or_else(|| damaged(&"it is cut off"))?;
    let length = u32::from_le_bytes(*length) as usize;
    if length > PROPOSAL_BYTES_MAX {
        return Err(damaged(&format_args!("{length} bytes are more than an entry may have")));
    }
    let mut plain = vec![0; length];
    match decompress_into(block, &mut plain) {
        Ok(got) if got == length => Ok(Cow::Owned(plain)),
        Ok(got) => Err(damaged(&format_args!("{got} bytes, but {length} were packed"))),
        Err(error) => Err(damaged(&error)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packed(entry: &[u8]) -> Bytes {
        pack(Bytes::copy_from_slice(entry), &mut Vec::new())
    }

    #[test]
    fn what_is_alike_takes_little_room_and_what_is_small_or_random_stays_as_it_is() {
        let alike = b"\x08\x07the same again".repeat(200);
        let small = packed(&alike);
        assert!(small.len() < alike.len() / 10, "{}", small.len());
        assert_eq!(unpack(&small).unwrap(), &alike[..]);

        let few = b"\x08\x07".repeat(100);
        assert_eq!(packed(&few), few);
        let mut rng = <rand::rngs::StdRng as rand::SeedableRng>::seed_from_u64(1);
        let mut random = vec![0; 5_000];
        rand::RngCore::fill_bytes(&mut rng, &mut random[1..]);
        random[0] = 8;
        assert_eq!(packed(&random), random);
        assert_eq!(unpack(&random).unwrap(), random);
        assert_eq!(unpack(b"").unwrap(), &b""[..]);
    }

    #[test]
    fn the_room_serves_entries_of_all_sizes() {
        let mut room = Vec::new();
        for times in [100, 100_000, 3_000, 200, 50_000] {
            let entry = b"\x08\x07many a change".repeat(times);
            let small = pack(entry.clone().into(), &mut room);
            assert_eq!(unpack(&small).unwrap(), entry);
            assert!(room.len() <= ROOM_KEPT_BYTES);
        }
    }

    #[test]
    fn what_was_tampered_with_is_an_error() {
        let entry = b"\x08\x07the same again".repeat(200);
        let whole = packed(&entry);
        for cut in 1..whole.len() {
            assert!(matches!(unpack(&whole[..cut]), Err(EntryError::Packed(_))), "{cut}");
        }
        let mut huge = whole.to_vec();
        huge[1..5].copy_from_slice(&u32::MAX.to_le_bytes());
        let said = unpack(&huge).unwrap_err().to_string();
        assert!(said.contains("4294967295 bytes are more than an entry may have"), "{said}");
        let mut short = whole.to_vec();
        short[1] -= 1;
        assert!(unpack(&short).is_err());
    }

    proptest! {
        #[test]
        fn nothing_panics(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() {
                *first = MARK;
            }
            let _ = unpack(&bytes);
        }
    }
}
