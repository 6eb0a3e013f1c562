//! The log file as it is written: frames one after the other, in a file that is grown ahead of them by zeros.
//!
//! A batch is one write and one sync. The zeros are written ones, so that a sync changes nothing but the data: neither the file's
//! length nor where its blocks are, which would cost the file system a commit of its own each time. Only when a frame
//! does not fit into what was grown does its sync carry the growth along.
//!
//! Nothing in a file is ever written over. What is no longer wanted goes when a fresh file takes the old one's place: at a
//! compaction, when too much has gathered, and at each start.

use std::collections::BTreeSet;
use std::io;

use crate::{KeyId, StorageError};

use super::contents::Contents;
use super::disk::{Disk, DiskFile};
use super::frame::{self, HEADER_BYTES, Place, aligned};
use super::layout::{LOG_ASIDE_NAME, LOG_NAME, io_error};
use super::records::{EntryRecord, FrameRecord, HeadRecord, IdentityRecord, StateRecord};
use super::seal::{SealId, Sealer};

/// Zeros written ahead: enough for hundreds of small batches, and written in a fraction of a millisecond.
pub const GROW_BYTES: usize = 256 << 10;

/// Entries of a fresh file are put into frames of this size: large enough that sealing them is not felt, small enough that
/// reading one needs little memory.
pub const FRAME_ENTRIES_BYTES: usize = 1 << 20;

/// A buffer that a large batch left behind is given back, so that it is not held for ever.
const BUFFER_KEPT_BYTES: usize = 1 << 20;

/// The file, open for appending.
pub struct Journal {
    file: Box<dyn DiskFile>,
    /// How it is called once it has its name.
    path: String,
    /// The seal of the first frame, which names the file in the others.
    id: SealId,
    /// The last batch.
    number: u64,
    /// Where the next frame begins.
    tail: u64,
    /// The file's length; from `tail` on there are zeros.
    len: u64,
    /// What the frames are sealed with.
    keys: BTreeSet<KeyId>,
    buffer: Vec<u8>,
}

impl Journal {
    /// Writes a fresh file beside the log, synced, that holds just this; its first batch is number `first`. The caller
    /// gives it its name: before that, none of it counts.
    pub fn write_aside(
        disk: &dyn Disk,
        sealer: &Sealer,
        contents: &Contents,
        first: u64,
    ) -> Result<Self, StorageError> {
        let path = disk.describe(LOG_NAME);
        let failed = || io_error(format!("rewrite {path}"));
        let file = disk.create(LOG_ASIDE_NAME).map_err(failed())?;
        let mut parts = parts(contents).into_iter();
        let whole_through = first + parts.len() as u64 - 1;
        let mut state =
            StateRecord { last: contents.state().compacted, ..contents.state().clone() };
        let mut record = |entries: Vec<EntryRecord>, head| {
            state.last += entries.len() as u64;
            FrameRecord { state: state.clone(), head, entries }
        };
        let identity = IdentityRecord::new(contents.identity());
        let head = HeadRecord { identity, whole_through };
        let head = record(parts.next().unwrap_or_default(), Some(head));
        let mut buffer = Vec::new();
        encode(sealer, Place::Head, first, &head, &mut buffer)?;
        let id = SealId::of(&buffer).expect("a frame ends in its seal");
        file.write_at(0, &buffer).map_err(failed())?;
        let mut journal = Self {
            tail: aligned(buffer.len() as u64),
            len: buffer.len() as u64,
            keys: [sealer.current()].into(),
            number: first,
            file,
            id,
            buffer,
            path: path.clone(),
        };
        for part in parts {
            journal.write(sealer, &record(part, None)).map_err(|error| match error {
                NotWritten::TooLarge(error) => error,
                NotWritten::Io(error) => failed()(error),
            })?;
        }
        journal.grow().and_then(|()| journal.file.sync()).map_err(failed())?;
        Ok(journal)
    }

    /// Makes a batch durable.
    pub fn append(&mut self, sealer: &Sealer, record: &FrameRecord) -> Result<(), StorageError> {
        let written = self.write(sealer, record).and_then(|()| {
            if self.len <= self.tail {
                self.grow()?;
            }
            Ok(self.file.sync()?)
        });
        written.map_err(|error| match error {
            NotWritten::TooLarge(error) => error,
            NotWritten::Io(error) => io_error(format!("write to {}", self.path))(error),
        })
    }

    /// Writes the next frame at the tail.
    fn write(&mut self, sealer: &Sealer, record: &FrameRecord) -> Result<(), NotWritten> {
        let number = self.number + 1;
        encode(sealer, Place::After(self.id), number, record, &mut self.buffer)
            .map_err(NotWritten::TooLarge)?;
        self.file.write_at(self.tail, &self.buffer)?;
        let end = self.tail + self.buffer.len() as u64;
        self.number = number;
        self.len = self.len.max(end);
        self.tail = aligned(end);
        self.keys.insert(sealer.current());
        if self.buffer.capacity() > BUFFER_KEPT_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Writes zeros behind what there is.
    fn grow(&mut self) -> io::Result<()> {
        let end = self.tail + GROW_BYTES as u64;
        let zeros = vec![0; (end - self.len) as usize];
        self.file.write_at(self.len, &zeros)?;
        self.len = end;
        Ok(())
    }

    /// The last batch.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// What the frames are sealed with.
    pub fn keys(&self) -> &BTreeSet<KeyId> {
        &self.keys
    }

    /// What the frames take.
    pub fn used_bytes(&self) -> u64 {
        self.tail
    }

    /// What the file takes.
    pub fn file_bytes(&self) -> u64 {
        self.len
    }
}

/// Why a frame was not written.
enum NotWritten {
    TooLarge(StorageError),
    Io(io::Error),
}

impl From<io::Error> for NotWritten {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn encode(
    sealer: &Sealer,
    place: Place,
    number: u64,
    record: &FrameRecord,
    buffer: &mut Vec<u8>,
) -> Result<(), StorageError> {
    frame::encode(sealer, place, number, record, buffer).map_err(|frame::TooLarge(bytes)| {
        StorageError::Misuse(format!("asked to write a batch of {bytes} bytes"))
    })
}

/// The entries as a fresh file holds them: some for each frame, and at least one frame.
fn parts(contents: &Contents) -> Vec<Vec<EntryRecord>> {
    let mut parts = vec![Vec::new()];
    let mut bytes = 0;
    for entry in contents.entries() {
        if bytes + entry.data.len() > FRAME_ENTRIES_BYTES && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        // What an entry takes besides its data counts too: there may be many empty ones.
        bytes += entry.data.len() + HEADER_BYTES;
        if let Some(part) = parts.last_mut() {
            part.push(EntryRecord::new(entry));
        }
    }
    parts
}
