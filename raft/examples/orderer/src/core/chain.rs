//! Blocks: what they hold, how they are hashed, and how each is linked to the one before.

use std::fmt;

use aws_lc_rs::digest::{Context, SHA256, digest};
use bytes::Bytes;
use prost::Message as _;

use crate::wire;

/// A SHA-256.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hash(pub [u8; 32]);

impl Hash {
    /// The hash of these bytes.
    pub fn of(bytes: &[u8]) -> Hash {
        Hash::from_digest(digest(&SHA256, bytes).as_ref())
    }

    fn from_digest(digest: &[u8]) -> Hash {
        Hash(digest.try_into().expect("SHA-256 gives 32 bytes"))
    }

    /// From bytes of a peer or a disk.
    pub fn from_slice(bytes: &[u8]) -> Option<Hash> {
        bytes.try_into().ok().map(Hash)
    }

    fn to_bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }
}

impl fmt::Display for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// What a block is known by. The first block has the number 0 and a previous hash of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    /// Its place in the chain.
    pub number: u64,
    /// The hash of the header before it.
    pub previous: Hash,
    /// The hash of what the block holds.
    pub data: Hash,
}

impl Header {
    /// SHA-256 of the number (8 bytes, big-endian), the previous hash and the data hash.
    pub fn hash(&self) -> Hash {
        let mut bytes = [0; 72];
        bytes[..8].copy_from_slice(&self.number.to_be_bytes());
        bytes[8..40].copy_from_slice(&self.previous.0);
        bytes[40..].copy_from_slice(&self.data.0);
        Hash::of(&bytes)
    }

    /// As it stands on the wire.
    pub fn to_wire(self) -> wire::Header {
        wire::Header {
            number: self.number,
            previous_hash: self.previous.to_bytes(),
            data_hash: self.data.to_bytes(),
        }
    }

    /// From the wire; `None` when a hash has not 32 bytes.
    pub fn from_wire(header: &wire::Header) -> Option<Header> {
        Some(Header {
            number: header.number,
            previous: Hash::from_slice(&header.previous_hash)?,
            data: Hash::from_slice(&header.data_hash)?,
        })
    }
}

/// Where a chain ends: all that is needed to link the next block to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tip {
    /// The last block's header.
    pub header: Header,
    /// The place in raft's log that it came from.
    pub index: u64,
}

impl Tip {
    /// The number of the next block.
    pub fn next_number(tip: Option<Tip>) -> u64 {
        tip.map_or(0, |tip| tip.header.number + 1)
    }

    /// What the next block is linked to.
    pub fn next_previous(tip: Option<Tip>) -> Hash {
        tip.map_or(Hash::default(), |tip| tip.header.hash())
    }
}

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Encoded envelopes.
    Envelopes,
    /// One encoded configuration.
    Configuration,
}

/// A block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Block {
    /// What it is known by.
    pub header: Header,
    /// What it holds.
    pub kind: Kind,
    /// Encoded envelopes, or one encoded configuration.
    pub data: Vec<Bytes>,
}

/// A block as a ledger keeps it: with the place in raft's log that it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The block.
    pub block: Block,
    /// The place in raft's log.
    pub index: u64,
    /// The term of that entry.
    pub term: u64,
}

/// Why something is not the next block of a chain.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// It cannot be decoded.
    #[error("it is no block: {0}")]
    Malformed(&'static str),
    /// It has another number than the next.
    #[error("it has the number {found} where block {expected} comes next")]
    Number {
        /// What comes next.
        expected: u64,
        /// Its number.
        found: u64,
    },
    /// It is linked to another block than the last.
    #[error("block {number} is linked to {found}, but the block before it has the hash {expected}")]
    Link {
        /// Its number.
        number: u64,
        /// The last block's hash.
        expected: Hash,
        /// What it is linked to.
        found: Hash,
    },
    /// It does not hold what its header says.
    #[error("block {number} does not hold what its header says")]
    Data {
        /// Its number.
        number: u64,
    },
}

/// The data hash of a block: of its kind, and of the digest of each of its items in their order. Digests have one length, so nothing
/// needs to keep them apart.
pub fn data_hash(kind: Kind, digests: impl Iterator<Item = Hash>) -> Hash {
    let mut context = Context::new(&SHA256);
    context.update(&[kind as u8]);
    for digest in digests {
        context.update(&digest.0);
    }
    Hash::from_digest(context.finish().as_ref())
}

impl Block {
    /// The next block after `tip`, of items with their digests.
    pub fn next(number: u64, previous: Hash, kind: Kind, items: Vec<(Bytes, Hash)>) -> Block {
        let data = data_hash(kind, items.iter().map(|(_, digest)| *digest));
        let header = Header { number, previous, data };
        Block { header, kind, data: items.into_iter().map(|(item, _)| item).collect() }
    }

    /// The bytes of what it holds.
    pub fn data_bytes(&self) -> usize {
        self.data.iter().map(Bytes::len).sum()
    }

    /// Whether it holds what its header says.
    ///
    /// # Errors
    /// [`ChainError::Data`].
    pub fn check_data(&self) -> Result<(), ChainError> {
        let found = data_hash(self.kind, self.data.iter().map(|item| Hash::of(item)));
        let number = self.header.number;
        if found == self.header.data { Ok(()) } else { Err(ChainError::Data { number }) }
    }

    /// As it stands on the wire and, with the place in raft's log, in a ledger.
    pub fn to_wire(&self, metadata: Option<wire::Metadata>) -> wire::Block {
        let kind = match self.kind {
            Kind::Envelopes => wire::Kind::Envelopes,
            Kind::Configuration => wire::Kind::Configuration,
        };
        wire::Block {
            header: Some(self.header.to_wire()),
            kind: kind as i32,
            data: self.data.clone(),
            metadata,
        }
    }

    /// From the wire; what it holds is not checked.
    ///
    /// # Errors
    /// [`ChainError::Malformed`].
    pub fn from_wire(block: wire::Block) -> Result<Block, ChainError> {
        let header = block.header.as_ref().and_then(Header::from_wire);
        let header = header.ok_or(ChainError::Malformed("it has no header"))?;
        let kind = match wire::Kind::try_from(block.kind) {
            Ok(wire::Kind::Envelopes) => Kind::Envelopes,
            Ok(wire::Kind::Configuration) => Kind::Configuration,
            Err(_) => return Err(ChainError::Malformed("its kind is unknown")),
        };
        Ok(Block { header, kind, data: block.data })
    }
}

impl Kept {
    /// Where a chain that ends with this block ends.
    pub fn tip(&self) -> Tip {
        Tip { header: self.block.header, index: self.index }
    }

    /// As it stands on the wire.
    pub fn to_wire(&self) -> wire::Block {
        let metadata = wire::Metadata { raft_index: self.index, raft_term: self.term };
        self.block.to_wire(Some(metadata))
    }

    /// The bytes of a ledger's record.
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// From the wire or a ledger; what it holds is not checked.
    ///
    /// # Errors
    /// [`ChainError::Malformed`].
    pub fn from_wire(block: wire::Block) -> Result<Kept, ChainError> {
        let metadata = block.metadata.ok_or(ChainError::Malformed("it has no metadata"))?;
        let block = Block::from_wire(block)?;
        Ok(Kept { block, index: metadata.raft_index, term: metadata.raft_term })
    }

    /// From a ledger's record.
    ///
    /// # Errors
    /// [`ChainError::Malformed`].
    pub fn decode(bytes: Bytes) -> Result<Kept, ChainError> {
        let block = wire::Block::decode(bytes)
            .map_err(|_| ChainError::Malformed("it cannot be decoded"))?;
        Kept::from_wire(block)
    }
}

/// Whether this header is the next one after `tip`.
///
/// # Errors
/// How it is not.
pub fn check_link(tip: Option<&Header>, header: &Header) -> Result<(), ChainError> {
    let (number, previous) = tip.map_or((0, Hash::default()), |tip| (tip.number + 1, tip.hash()));
    if header.number != number {
        return Err(ChainError::Number { expected: number, found: header.number });
    }
    if header.previous != previous {
        let (expected, found) = (previous, header.previous);
        return Err(ChainError::Link { number, expected, found });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn block(number: u64, previous: Hash, items: &[&str]) -> Block {
        let items = items.iter().map(|item| {
            let item = Bytes::copy_from_slice(item.as_bytes());
            (item.clone(), Hash::of(&item))
        });
        Block::next(number, previous, Kind::Envelopes, items.collect())
    }

    #[test]
    fn the_hashes_are_those_that_the_format_promises() {
        // Computed once with sha256sum: a change here would part every chain that exists.
        let first = block(0, Hash::default(), &["a", "b"]);
        let inner = [&[0][..], &Hash::of(b"a").0, &Hash::of(b"b").0].concat();
        assert_eq!(first.header.data, Hash::of(&inner));
        let header = [&[0; 40][..], &first.header.data.0].concat();
        assert_eq!(first.header.hash(), Hash::of(&header));
        assert_eq!(
            Hash::of(b"abc").to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn a_block_follows_only_the_one_that_it_is_linked_to() {
        let first = block(0, Hash::default(), &["a"]);
        let second = block(1, first.header.hash(), &["b"]);
        let (first, second) = (first.header, second.header);
        let other = Header { data: Hash::of(b"x"), ..first };
        let cases = [
            ("the first block starts a chain", None, first, Ok(())),
            ("the second follows the first", Some(first), second, Ok(())),
            (
                "a chain starts with block 0",
                None,
                second,
                Err(ChainError::Number { expected: 0, found: 1 }),
            ),
            (
                "no block comes twice",
                Some(second),
                second,
                Err(ChainError::Number { expected: 2, found: 1 }),
            ),
            (
                "the second does not follow another first",
                Some(other),
                second,
                Err(ChainError::Link { number: 1, expected: other.hash(), found: first.hash() }),
            ),
            (
                "the first is linked to nothing",
                None,
                Header { previous: Hash::of(b"x"), ..first },
                Err(ChainError::Link {
                    number: 0,
                    expected: Hash::default(),
                    found: Hash::of(b"x"),
                }),
            ),
        ];
        for (what, tip, header, expected) in cases {
            assert_eq!(check_link(tip.as_ref(), &header), expected, "{what}");
        }
    }

    #[test]
    fn what_a_block_holds_cannot_be_changed() {
        let whole = block(3, Hash::of(b"p"), &["a", "b", "c"]);
        assert_eq!(whole.check_data(), Ok(()));
        let with = |change: fn(&mut Block)| {
            let mut block = whole.clone();
            change(&mut block);
            block.check_data()
        };
        let error = Err(ChainError::Data { number: 3 });
        assert_eq!(with(|b| b.data.swap(0, 1)), error, "the order");
        assert_eq!(with(|b| drop(b.data.pop())), error, "the number of items");
        assert_eq!(with(|b| b.data[0] = Bytes::from_static(b"x")), error, "an item");
        assert_eq!(with(|b| b.kind = Kind::Configuration), error, "the kind");
    }

    proptest! {
        #[test]
        fn a_kept_block_survives_its_encoding(
            items in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..10),
            number: u64, index: u64, term: u64, config: bool,
        ) {
            let items = items.into_iter().map(|item| {
                let hash = Hash::of(&item);
                (Bytes::from(item), hash)
            });
            let kind = if config { Kind::Configuration } else { Kind::Envelopes };
            let block = Block::next(number, Hash::of(b"p"), kind, items.collect());
            let kept = Kept { block, index, term };
            prop_assert_eq!(kept.block.check_data(), Ok(()));
            prop_assert_eq!(Kept::decode(kept.encode()), Ok(kept));
        }

        #[test]
        fn no_bytes_of_a_disk_or_peer_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = Kept::decode(Bytes::from(bytes));
        }
    }
}
