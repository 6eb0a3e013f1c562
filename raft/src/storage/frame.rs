//! A frame of the log file: one batch, sealed, behind a header in clear. Nothing here touches the file.
//!
//! | bytes | |
//! |---|---|
//! | 4 | [`MAGIC`] |
//! | 4 | length of the sealed record, little-endian |
//! | 8 | the batch's number |
//! | 4 | the key that sealed it; the seal names it too, but a torn frame's seal says nothing of its key |
//! | … | the sealed [`FrameRecord`] |
//!
//! The number is bound into the seal, and so is the file: the seal of a file's first frame names the file in all others. A
//! frame that lies about in a block that another file had before, or that was cut off and written again, does not open.

use prost::Message;

use crate::KeyId;

use super::records::FrameRecord;
use super::seal::{OVERHEAD_BYTES, OpenError, SealId, Sealer, Slot};

/// Frames begin at multiples of this, the most that a disk writes in one piece or not at all: so no piece that holds
/// something acknowledged is ever written again, and a header is there whole or not at all.
pub const FRAME_ALIGN_BYTES: u64 = 512;

/// What stands before the sealed record.
pub const HEADER_BYTES: usize = 20;

/// Begins each frame; its last byte is the version.
const MAGIC: [u8; 4] = *b"skf\x01";

/// The header of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub number: u64,
    pub sealed_bytes: u32,
    pub key: KeyId,
}

/// Which frame of which file.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// The first.
    Head,
    /// A later one of the file whose first frame was sealed so.
    After(SealId),
}

/// Why a frame cannot be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Broken {
    /// Not what was written, or not here, or not under this number.
    Seal,
    /// Its header names a key that the ring does not hold.
    UnknownKey(KeyId),
    /// Authentic, but not to be understood.
    Unreadable,
}

/// A batch too large for the header's length: 4 GiB.
#[derive(Clone, Copy, Debug)]
pub struct TooLarge(pub usize);

/// The first multiple of [`FRAME_ALIGN_BYTES`] that is not below `offset`.
pub fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(FRAME_ALIGN_BYTES)
}

impl Header {
    /// `None` when these bytes do not begin a frame.
    pub fn read(bytes: &[u8; HEADER_BYTES]) -> Option<Self> {
        let (magic, rest) = bytes.split_first_chunk::<4>()?;
        let (sealed_bytes, rest) = rest.split_first_chunk::<4>()?;
        let (number, key) = rest.split_first_chunk::<8>()?;
        let header = Self {
            number: u64::from_le_bytes(*number),
            sealed_bytes: u32::from_le_bytes(*sealed_bytes),
            key: KeyId(u32::from_le_bytes(*key.first_chunk()?)),
        };
        (*magic == MAGIC && header.sealed_bytes as usize >= OVERHEAD_BYTES).then_some(header)
    }

    fn write(&self, into: &mut [u8]) {
        into[..4].copy_from_slice(&MAGIC);
        into[4..8].copy_from_slice(&self.sealed_bytes.to_le_bytes());
        into[8..16].copy_from_slice(&self.number.to_le_bytes());
        into[16..HEADER_BYTES].copy_from_slice(&self.key.0.to_le_bytes());
    }

    /// The whole frame's length, without what is left free behind it.
    pub fn frame_bytes(&self) -> u64 {
        HEADER_BYTES as u64 + u64::from(self.sealed_bytes)
    }
}

impl Place {
    fn slot(self, number: u64) -> Slot {
        match self {
            Self::Head => Slot::Head(number),
            Self::After(file) => Slot::Batch { number, file },
        }
    }
}

/// Replaces what is in `buffer` by the frame.
pub fn encode(
    sealer: &Sealer,
    place: Place,
    number: u64,
    record: &FrameRecord,
    buffer: &mut Vec<u8>,
) -> Result<(), TooLarge> {
    let sealed_bytes = record.encoded_len() + OVERHEAD_BYTES;
    let header = Header {
        number,
        sealed_bytes: u32::try_from(sealed_bytes).map_err(|_| TooLarge(sealed_bytes))?,
        key: sealer.current(),
    };
    buffer.clear();
    buffer.reserve_exact(HEADER_BYTES + sealed_bytes);
    buffer.resize(HEADER_BYTES, 0);
    header.write(buffer);
    record.encode(buffer).expect("a vector takes any record");
    sealer.seal_from(place.slot(number), buffer, HEADER_BYTES);
    Ok(())
}

/// Opens the sealed part of a frame.
pub fn open(
    sealer: &Sealer,
    place: Place,
    header: &Header,
    mut sealed: Vec<u8>,
) -> Result<FrameRecord, Broken> {
    if !sealer.holds(header.key) {
        return Err(Broken::UnknownKey(header.key));
    }
    match sealer.open_in_place(place.slot(header.number), &mut sealed) {
        Ok(key) if key == header.key => {}
        Ok(_) | Err(OpenError::UnknownKey(_) | OpenError::Forged) => return Err(Broken::Seal),
    }
    // The entries share the buffer from here on.
    FrameRecord::decode(bytes::Bytes::from(sealed)).map_err(|_| Broken::Unreadable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::records::StateRecord;
    use crate::{DataKey, Keyring};

    fn sealer(byte: u8) -> Sealer {
        Sealer::new(&Keyring { current: DataKey::new([byte; 32]), older: Vec::new() })
    }

    fn record() -> FrameRecord {
        FrameRecord {
            state: StateRecord { term: 3, ..StateRecord::default() },
            ..FrameRecord::default()
        }
    }

    fn encoded(place: Place, number: u64) -> Vec<u8> {
        let mut frame = b"what was in the buffer before".to_vec();
        encode(&sealer(1), place, number, &record(), &mut frame).unwrap();
        frame
    }

    fn header(frame: &[u8]) -> Option<Header> {
        Header::read(frame.first_chunk().unwrap())
    }

    fn opened(place: Place, frame: &[u8]) -> Result<FrameRecord, Broken> {
        open(&sealer(1), place, &header(frame).unwrap(), frame[HEADER_BYTES..].to_vec())
    }

    #[test]
    fn a_frame_opens_only_in_its_file_and_under_its_number() {
        let head = encoded(Place::Head, 7);
        assert_eq!(opened(Place::Head, &head), Ok(record()));
        let [this, other] = [0, 1].map(|_| SealId::of(&encoded(Place::Head, 7)).unwrap());
        assert_ne!(this, other, "two files that begin alike are two files");
        let frame = encoded(Place::After(this), 8);
        assert_eq!(opened(Place::After(this), &frame), Ok(record()));
        for place in [Place::Head, Place::After(other)] {
            assert_eq!(opened(place, &frame), Err(Broken::Seal), "{place:?}");
        }
        assert_eq!(opened(Place::After(this), &head), Err(Broken::Seal));
        let mut renumbered = frame;
        renumbered[8] ^= 1;
        assert_eq!(opened(Place::After(this), &renumbered), Err(Broken::Seal));
    }

    #[test]
    fn no_flipped_byte_of_a_frame_is_taken() {
        let frame = encoded(Place::Head, 7);
        for at in 0..frame.len() {
            let mut flipped = frame.clone();
            flipped[at] ^= 0x10;
            let Some(header) = header(&flipped) else { continue };
            let sealed = flipped[HEADER_BYTES..].to_vec();
            let taken = open(&sealer(1), Place::Head, &header, sealed).is_ok_and(|_| {
                header == super::Header::read(frame.first_chunk().unwrap()).unwrap()
            });
            assert!(!taken, "at {at}");
        }
    }

    #[test]
    fn an_end_torn_off_is_no_unknown_key() {
        let mut frame = encoded(Place::Head, 7);
        let len = frame.len();
        frame[len - 20..].fill(0);
        assert_eq!(opened(Place::Head, &frame), Err(Broken::Seal));
        let whole = encoded(Place::Head, 7);
        let sealed = whole[HEADER_BYTES..].to_vec();
        let key = DataKey::new([1; 32]).id();
        let unknown = open(&sealer(2), Place::Head, &header(&whole).unwrap(), sealed);
        assert_eq!(unknown, Err(Broken::UnknownKey(key)));
    }
}
