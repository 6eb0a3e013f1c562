//! The log file as it is read at the start: what its batches come to, and where it ends.
//!
//! It ends where nothing but zeros follow. When something else follows that is not the next batch, then it is one of two
//! things: the last batch, which a crash has torn and nobody was told of, or rot in something that was acknowledged.
//! Cutting off the first is right, and cutting off the second would forget what others count on, without a word. It is rot
//! when
//!
//! - the batch was there before the file got its name, or
//! - the [`witness`](super::witness) says that it was acknowledged, or one after it, or
//! - a batch after it is there: one is begun only when the one before it is durable.

use crate::StorageError;

use super::contents::Contents;
use super::disk::DiskFile;
use super::frame::{self, Broken, FRAME_ALIGN_BYTES, HEADER_BYTES, Header, Place, aligned};
use super::layout::{REJOIN, io_error};
use super::records::{FrameRecord, HeadRecord};
use super::seal::{SealId, Sealer};

/// The file is searched in pieces of this size, a multiple of [`FRAME_ALIGN_BYTES`].
const SEARCH_BYTES: usize = 64 << 10;

/// Frames that do not open among what is searched for one that does. A file has none, but for a stray block of another; with
/// so many it is a rotten one.
const SEARCH_OPENED_MAX: usize = 16;

/// What a file comes to.
#[derive(Debug)]
pub struct Replayed {
    pub contents: Contents,
    /// The last batch, counting one that was cut off.
    pub number: u64,
}

/// Reads the log file; `witnessed` is the last batch that is known to have been acknowledged.
///
/// # Errors
/// [`StorageError::Damaged`] for a file that is not what was written, besides a last batch that was not acknowledged.
pub fn replay(
    file: &dyn DiskFile,
    path: &str,
    sealer: &Sealer,
    witnessed: Option<u64>,
) -> Result<Replayed, StorageError> {
    let len = file.len().map_err(io_error(format!("read {path}")))?;
    let reader = Reader { file, path, len, sealer };
    let (mut replay, mut at) = reader.head()?;
    loop {
        let next = replay.number + 1;
        let what = match reader.next(at, next, replay.id)? {
            Next::Frame(record, end) => {
                replay.apply(&reader, next, record)?;
                at = end;
                continue;
            }
            Next::End => None,
            Next::Broken(what) => Some(what),
        };
        replay.judge(&reader, at, what, witnessed)?;
        let number = if what.is_some() { next } else { replay.number };
        return Ok(Replayed { contents: replay.contents, number });
    }
}

/// What was read so far.
struct Replay {
    contents: Contents,
    number: u64,
    /// See [`HeadRecord::whole_through`].
    whole_through: u64,
    id: SealId,
}

impl Replay {
    fn apply(
        &mut self,
        reader: &Reader<'_>,
        number: u64,
        mut record: FrameRecord,
    ) -> Result<(), StorageError> {
        let entries = record
            .take_entries()
            .ok_or_else(|| reader.damaged(&format!("batch {number} cannot be read")))?;
        self.contents
            .apply(record.state, entries.into_iter())
            .map_err(|_| reader.damaged(&format!("batch {number} does not go on from the last")))?;
        self.number = number;
        Ok(())
    }

    /// Whether what stands behind the last whole batch, if anything, may be cut off.
    fn judge(
        &self,
        reader: &Reader<'_>,
        at: u64,
        what: Option<&'static str>,
        witnessed: Option<u64>,
    ) -> Result<(), StorageError> {
        let (last, next) = (self.number, self.number + 1);
        let after = self.contents.state().last;
        let what = what.map(|what| format!("batch {next}, after entry {after}, {what}"));
        if let Some(batch) = witnessed.filter(|batch| *batch >= next) {
            let what = what.map(|what| format!(": {what}")).unwrap_or_default();
            return Err(reader.damaged(&format!(
                "batch {batch} was acknowledged, but the newest that is whole is {last}{what}"
            )));
        }
        if next <= self.whole_through {
            let what = what.unwrap_or_else(|| format!("batch {next} is missing"));
            return Err(reader.damaged(&what));
        }
        let Some(what) = what else { return Ok(()) };
        if let Some(later) = reader.later(at, next, self.id)? {
            return Err(reader.damaged(&format!("{what}, and batch {later} stands behind it")));
        }
        tracing::warn!(
            "{}: {what}; it was never acknowledged, so it is cut off as what a crash left of it",
            reader.path
        );
        Ok(())
    }
}

/// What stands where the next batch should.
enum Next {
    /// It, and where it ends.
    Frame(FrameRecord, u64),
    /// Zeros up to the end of the file.
    End,
    /// Something else.
    Broken(&'static str),
}

struct Reader<'a> {
    file: &'a dyn DiskFile,
    path: &'a str,
    len: u64,
    sealer: &'a Sealer,
}

impl Reader<'_> {
    /// The first frame, which was there whole before the file got its name.
    fn head(&self) -> Result<(Replay, u64), StorageError> {
        let header = self.header(0)?.ok_or_else(|| self.damaged("it does not begin as a log"))?;
        let sealed = self.sealed(0, &header)?;
        let id = SealId::of(&sealed).ok_or_else(|| self.damaged("its beginning is too short"))?;
        let mut record = frame::open(self.sealer, Place::Head, &header, sealed).map_err(
            |broken| match broken {
                Broken::Seal => self.damaged("its first batch has a broken seal"),
                Broken::UnknownKey(key) => {
                    StorageError::UnknownKey { what: self.path.to_owned(), key }
                }
                Broken::Unreadable => self.damaged("its first batch cannot be read"),
            },
        )?;
        let (identity, whole_through) = record
            .head
            .take()
            .and_then(|HeadRecord { identity, whole_through }| {
                Some((identity.into_identity()?, whole_through))
            })
            .ok_or_else(|| self.damaged("its first batch does not say whose log it is"))?;
        let contents = Contents::begun(identity, record.state.compacted);
        let number = header.number;
        let mut replay = Replay { contents, number, whole_through, id };
        replay.apply(self, number, record)?;
        Ok((replay, aligned(header.frame_bytes())))
    }

    fn next(&self, at: u64, number: u64, file: SealId) -> Result<Next, StorageError> {
        let header = match self.header(at)? {
            Some(header) if header.number == number => header,
            Some(_) => return Ok(Next::Broken("is another one")),
            None if self.is_zero_from(at)? => return Ok(Next::End),
            None => return Ok(Next::Broken("does not begin as one")),
        };
        let sealed = self.sealed(at, &header)?;
        match frame::open(self.sealer, Place::After(file), &header, sealed) {
            Ok(record) => Ok(Next::Frame(record, aligned(at + header.frame_bytes()))),
            Err(Broken::Seal) => Ok(Next::Broken("has a broken seal")),
            Err(Broken::UnknownKey(key)) => Err(StorageError::UnknownKey {
                what: format!("{} (batch {number})", self.path),
                key,
            }),
            // A torn one does not open.
            Err(Broken::Unreadable) => Err(self.damaged(&format!("batch {number} cannot be read"))),
        }
    }

    /// A batch after number `next`, somewhere behind the place `at` where that one should be.
    fn later(&self, at: u64, next: u64, file: SealId) -> Result<Option<u64>, StorageError> {
        let possible = next + 1..=next + self.len.saturating_sub(at) / FRAME_ALIGN_BYTES;
        let mut tried = 0;
        let mut piece_at = at + FRAME_ALIGN_BYTES;
        while piece_at < self.len {
            let piece = self.piece(piece_at)?;
            for (n, start) in piece.chunks(FRAME_ALIGN_BYTES as usize).enumerate() {
                let at = piece_at + n as u64 * FRAME_ALIGN_BYTES;
                let header = start.first_chunk().and_then(Header::read);
                let Some(header) = header
                    .filter(|header| self.fits(at, header) && possible.contains(&header.number))
                else {
                    continue;
                };
                let sealed = self.sealed(at, &header)?;
                let opened = frame::open(self.sealer, Place::After(file), &header, sealed);
                tried += 1;
                // Under a key that is not at hand it may well be one.
                if opened != Err(Broken::Seal) || tried == SEARCH_OPENED_MAX {
                    return Ok(Some(header.number));
                }
            }
            piece_at += piece.len() as u64;
        }
        Ok(None)
    }

    /// The header at this place; `None` when there is none, or none whose frame fits into the file.
    fn header(&self, at: u64) -> Result<Option<Header>, StorageError> {
        if self.len.saturating_sub(at) < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let mut bytes = [0; HEADER_BYTES];
        self.read(at, &mut bytes)?;
        Ok(Header::read(&bytes).filter(|header| self.fits(at, header)))
    }

    fn fits(&self, at: u64, header: &Header) -> bool {
        header.frame_bytes() <= self.len.saturating_sub(at)
    }

    fn sealed(&self, at: u64, header: &Header) -> Result<Vec<u8>, StorageError> {
        let mut sealed = vec![0; header.sealed_bytes as usize];
        self.read(at + HEADER_BYTES as u64, &mut sealed)?;
        Ok(sealed)
    }

    fn is_zero_from(&self, mut at: u64) -> Result<bool, StorageError> {
        while at < self.len {
            let piece = self.piece(at)?;
            if piece.iter().any(|byte| *byte != 0) {
                return Ok(false);
            }
            at += piece.len() as u64;
        }
        Ok(true)
    }

    fn piece(&self, at: u64) -> Result<Vec<u8>, StorageError> {
        let mut piece = vec![0; (self.len - at).min(SEARCH_BYTES as u64) as usize];
        self.read(at, &mut piece)?;
        Ok(piece)
    }

    fn read(&self, at: u64, out: &mut [u8]) -> Result<(), StorageError> {
        self.file.read_at(at, out).map_err(|error| io_error(format!("read {}", self.path))(error))
    }

    fn damaged(&self, what: &str) -> StorageError {
        StorageError::Damaged { what: self.path.to_owned(), detail: format!("{what}; {REJOIN}") }
    }
}
