//! How a block stands in the file.
//!
//! | bytes | of a record's head, numbers little-endian |
//! |---|---|
//! | 0..8 | `SKORDBLK` |
//! | 8..16 | the block's number |
//! | 16..24 | the place in raft's log that it came from |
//! | 24..32 | up to where the file was synced when this was written |
//! | 32..64 | the previous hash |
//! | 64..96 | the data hash |
//! | 96..100 | the length of what follows |
//! | 100..108 | the first bytes of its SHA-256 |
//! | 108..116 | the first bytes of the SHA-256 of all of the above |
//!
//! What follows is the encoded block.

use bytes::Bytes;

use crate::core::chain::{Hash, Header, Kept, Tip};

/// Begins the file.
pub const FILE_HEAD: &[u8; 16] = b"SKEP-LEDGER-0001";
/// Begins a record.
pub const MAGIC: &[u8; 8] = b"SKORDBLK";
/// The length of a record's head.
pub const HEAD_BYTES: usize = 116;
/// A block is an entry of raft's log, which has no more than 1.5 MiB, and a little.
pub const BLOCK_BYTES_MAX: usize = 2 * 1024 * 1024;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The block's header and its place in raft's log.
    pub tip: Tip,
    /// Up to where the file was synced when this was written.
    pub synced: u64,
    /// The length of the encoded block.
    pub bytes: usize,
    sum: [u8; 8],
}

fn sum(bytes: &[u8]) -> [u8; 8] {
    *Hash::of(bytes).0.first_chunk().expect("a hash has 32 bytes")
}

/// Appends the record of a block to a buffer.
pub fn encode(kept: &Kept, synced: u64, out: &mut Vec<u8>) {
    let block = kept.encode();
    let header = &kept.block.header;
    let start = out.len();
    out.extend_from_slice(MAGIC);
    for number in [header.number, kept.index, synced] {
        out.extend_from_slice(&number.to_le_bytes());
    }
    out.extend_from_slice(&header.previous.0);
    out.extend_from_slice(&header.data.0);
    let bytes = u32::try_from(block.len()).expect("a block is far below 4 GiB");
    out.extend_from_slice(&bytes.to_le_bytes());
    out.extend_from_slice(&sum(&block));
    let head = sum(&out[start..]);
    out.extend_from_slice(&head);
    out.extend_from_slice(&block);
}

impl Head {
    /// Reads a head; `None` when it is none.
    pub fn decode(head: &[u8; HEAD_BYTES]) -> Option<Head> {
        let (fields, check) = head.split_last_chunk::<8>()?;
        let rest = fields.strip_prefix(MAGIC)?;
        if sum(fields) != *check {
            return None;
        }
        let (number, rest) = rest.split_first_chunk::<8>()?;
        let (index, rest) = rest.split_first_chunk::<8>()?;
        let (synced, rest) = rest.split_first_chunk::<8>()?;
        let (previous, rest) = rest.split_first_chunk::<32>()?;
        let (data, rest) = rest.split_first_chunk::<32>()?;
        let (bytes, rest) = rest.split_first_chunk::<4>()?;
        let header = Header {
            number: u64::from_le_bytes(*number),
            previous: Hash(*previous),
            data: Hash(*data),
        };
        let bytes = u32::from_le_bytes(*bytes) as usize;
        (bytes <= BLOCK_BYTES_MAX).then_some(())?;
        Some(Head {
            tip: Tip { header, index: u64::from_le_bytes(*index) },
            synced: u64::from_le_bytes(*synced),
            bytes,
            sum: rest.try_into().ok()?,
        })
    }

    /// Whether these bytes are what was written after this head.
    pub fn fits(&self, block: &[u8]) -> bool {
        sum(block) == self.sum
    }

    /// The block, of the bytes that follow the head; `None` when they are not what was written.
    pub fn block(&self, block: Bytes) -> Option<Kept> {
        self.fits(&block).then_some(())?;
        let kept = Kept::decode(block).ok()?;
        (kept.tip() == self.tip).then_some(kept)
    }
}
