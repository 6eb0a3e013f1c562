//! Snapshot files: written aside, synced, renamed, the folder synced; sealed chunk by chunk.
//!
//! The member's own are written aside under another name than those that a leader sends, since both may be under way at
//! once.
//!
//! A file is a sequence of `length (4, little-endian) ‖ sealed chunk`. The first chunk is the header, the others are the data
//! in pieces of [`CHUNK_BYTES`]; each is bound to the snapshot's index and term, to its number, and to whether it is
//! the last, so that a file that is cut, extended, renamed or put together from two does not open.

use std::io;

use bytes::Bytes;
use prost::Message;

use crate::{
    KeyId, Snapshot, SnapshotContents, SnapshotError, SnapshotMeta, StageError, StagedSnapshot,
    StorageError,
};

use super::disk::{ASIDE_SUFFIX, Disk, DiskFile};
use super::layout::{io_error, snapshot_name};
use super::records::{SnapshotHeader, SnapshotRecord};
use super::seal::{OVERHEAD_BYTES, OpenError, Sealer, Slot};

/// Data per chunk: large enough that sealing is not felt, small enough that a big snapshot needs little besides itself.
const CHUNK_BYTES: usize = 1 << 20;
/// A header holds some ids; more than this is none.
const HEADER_BYTES_MAX: usize = 1 << 20;
/// A stored length beyond this is taken for damage before memory is set aside for it.
const DATA_BYTES_MAX: u64 = 16 << 30;

/// What to do about a damaged snapshot.
const ADVICE: &str = "move the file away and start again if an older snapshot and the log can replace it; otherwise \
     remove this manager from the group, delete its folder and join again";

/// Writes a leader's snapshot durably. It counts only once the log lists the record that this returns.
pub fn write(
    disk: &dyn Disk,
    sealer: &Sealer,
    snapshot: &Snapshot,
) -> Result<SnapshotRecord, StorageError> {
    let Snapshot { meta, data } = snapshot;
    let aside = format!("{}{ASIDE_SUFFIX}", snapshot_name(meta.index, meta.term));
    let staged = write_aside(disk, sealer, &aside, meta.clone(), data.clone().into());
    let staged = staged.map_err(|error| match error {
        StageError::Storage(error) => error,
        StageError::Contents(error) => io_error("write a snapshot")(io::Error::other(error)),
    })?;
    name(disk, &aside, &staged)
}

/// Writes a snapshot of the member's own aside, durably.
pub fn stage(
    disk: &dyn Disk,
    sealer: &Sealer,
    meta: SnapshotMeta,
    contents: SnapshotContents,
) -> Result<StagedSnapshot, StageError> {
    let aside = staged_name(&meta);
    write_aside(disk, sealer, &aside, meta, contents)
}

/// Gives a staged snapshot its name, durably. It counts only once the log lists the record that this returns.
pub fn name_staged(
    disk: &dyn Disk,
    staged: &StagedSnapshot,
) -> Result<SnapshotRecord, StorageError> {
    name(disk, &staged_name(&staged.meta), staged)
}

/// Throws a staged snapshot away.
pub fn remove_staged(disk: &dyn Disk, staged: &StagedSnapshot) -> Result<(), StorageError> {
    let aside = staged_name(&staged.meta);
    disk.remove(&aside).map_err(io_error(format!("remove {}", disk.describe(&aside))))
}

fn staged_name(meta: &SnapshotMeta) -> String {
    format!("{}.own{ASIDE_SUFFIX}", snapshot_name(meta.index, meta.term))
}

fn name(
    disk: &dyn Disk,
    aside: &str,
    staged: &StagedSnapshot,
) -> Result<SnapshotRecord, StorageError> {
    let SnapshotMeta { index, term, .. } = staged.meta;
    let name = snapshot_name(index, term);
    disk.rename(aside, &name)
        .and_then(|()| disk.sync_dir())
        .map_err(io_error(format!("rename {}", disk.describe(aside))))?;
    Ok(SnapshotRecord { index, term, key: staged.key.0, file_bytes: staged.file_bytes })
}

fn write_aside(
    disk: &dyn Disk,
    sealer: &Sealer,
    aside: &str,
    meta: SnapshotMeta,
    contents: SnapshotContents,
) -> Result<StagedSnapshot, StageError> {
    let bytes = contents.bytes();
    let failed = || io_error(format!("write {}", disk.describe(aside)));
    let file = disk.create(aside).map_err(failed())?;
    let mut writer = Writer {
        file: &*file,
        sealer,
        index: meta.index,
        term: meta.term,
        chunks: bytes.div_ceil(CHUNK_BYTES as u64),
        number: 0,
        left: bytes,
        frame: frame(Vec::new()),
        offset: 0,
        failed: None,
    };
    writer.frame.extend(SnapshotHeader::new(&meta, bytes).encode_to_vec());
    let written = writer.seal().and_then(|()| contents.write_to(&mut writer));
    let written = written.and_then(|()| writer.finish());
    if let Some(error) = writer.failed {
        return Err(failed()(error).into());
    }
    if let Err(error) = written {
        disk.remove(aside).map_err(io_error(format!("remove {}", disk.describe(aside))))?;
        return Err(SnapshotError::new(error).into());
    }
    file.sync().map_err(failed())?;
    Ok(StagedSnapshot { meta, file_bytes: writer.offset, key: sealer.current() })
}

/// Seals what is written to it chunk by chunk. It needs no more memory than one chunk, however much that is.
struct Writer<'a> {
    file: &'a dyn DiskFile,
    sealer: &'a Sealer,
    index: u64,
    term: u64,
    /// Chunks of data that there will be.
    chunks: u64,
    /// Number of the next chunk; the header's is 0.
    number: u64,
    /// Data that is still to come.
    left: u64,
    /// Room for the next chunk's length, and what there is of the chunk.
    frame: Vec<u8>,
    offset: u64,
    /// Why the disk did not take it. Errors of anybody else leave none.
    failed: Option<io::Error>,
}

/// Room for a chunk's length.
const LEN_BYTES: usize = size_of::<u32>();

fn frame(mut buffer: Vec<u8>) -> Vec<u8> {
    buffer.clear();
    buffer.resize(LEN_BYTES, 0);
    buffer
}

impl Writer<'_> {
    fn seal(&mut self) -> io::Result<()> {
        let slot = chunk_slot(self.index, self.term, self.number, self.chunks);
        self.sealer.seal_from(slot, &mut self.frame, LEN_BYTES);
        let len = (self.frame.len() - LEN_BYTES) as u32;
        self.frame[..LEN_BYTES].copy_from_slice(&len.to_le_bytes());
        if let Err(error) = self.file.write_at(self.offset, &self.frame) {
            let stopped = io::Error::from(error.kind());
            self.failed = Some(error);
            return Err(stopped);
        }
        self.offset += self.frame.len() as u64;
        self.number += 1;
        self.frame = frame(std::mem::take(&mut self.frame));
        Ok(())
    }

    /// The last chunk, which need not be full.
    fn finish(&mut self) -> io::Result<()> {
        if self.left > 0 {
            return Err(io::Error::other(format!("it ends {} bytes early", self.left)));
        }
        if self.frame.len() > LEN_BYTES {
            self.seal()?;
        }
        Ok(())
    }
}

impl io::Write for Writer<'_> {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        if data.len() as u64 > self.left {
            return Err(io::Error::other("it is longer than it was said to be"));
        }
        let room = CHUNK_BYTES + LEN_BYTES - self.frame.len();
        let taken = data.len().min(room);
        let wanted = usize::try_from(self.left).map_or(room, |left| left.min(room));
        self.frame.reserve_exact(wanted + OVERHEAD_BYTES);
        self.left -= taken as u64;
        self.frame.extend_from_slice(&data[..taken]);
        if taken == room {
            self.seal()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Reads a snapshot that the log lists.
pub fn read(
    disk: &dyn Disk,
    sealer: &Sealer,
    record: &SnapshotRecord,
) -> Result<Snapshot, StorageError> {
    let name = snapshot_name(record.index, record.term);
    let path = disk.describe(&name);
    let file = disk.open(&name).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => damaged(&path, "the file is missing"),
        _ => io_error(format!("open {path}"))(error),
    })?;
    let mut reader =
        Reader { file: &*file, path: &path, offset: 0, sealer, record, data_chunks: 0 };
    if reader.len()? != record.file_bytes {
        return Err(damaged(&path, "it is not as long as it was written"));
    }
    let (header, last) = reader.header()?;
    if header.data_bytes > DATA_BYTES_MAX {
        return Err(damaged(&path, "its header gives an impossible size"));
    }
    reader.data_chunks = header.data_bytes.div_ceil(CHUNK_BYTES as u64);
    if last != (reader.data_chunks == 0) {
        return Err(damaged(&path, "its header does not belong to its data"));
    }
    let mut data = Vec::with_capacity(header.data_bytes as usize);
    for number in 1..=reader.data_chunks {
        data.extend_from_slice(&reader.chunk(number)?);
    }
    if data.len() as u64 != header.data_bytes || reader.offset != record.file_bytes {
        return Err(damaged(&path, "its chunks do not add up"));
    }
    Ok(Snapshot { meta: header.into_meta(record.index, record.term), data: Bytes::from(data) })
}

fn chunk_slot(index: u64, term: u64, number: u64, data_chunks: u64) -> Slot {
    Slot::Chunk { index, term, number, last: number == data_chunks }
}

fn damaged(path: &str, detail: &str) -> StorageError {
    StorageError::Damaged { what: path.to_owned(), detail: format!("{detail}; {ADVICE}") }
}

struct Reader<'a> {
    file: &'a dyn DiskFile,
    path: &'a str,
    offset: u64,
    sealer: &'a Sealer,
    record: &'a SnapshotRecord,
    data_chunks: u64,
}

impl Reader<'_> {
    fn len(&self) -> Result<u64, StorageError> {
        self.file.len().map_err(io_error(format!("read {}", self.path)))
    }

    /// The header, and whether it is the only chunk: its seal says so before its contents are known.
    fn header(&mut self) -> Result<(SnapshotHeader, bool), StorageError> {
        let sealed = self.frame(HEADER_BYTES_MAX)?;
        let (index, term) = (self.record.index, self.record.term);
        let only = Slot::Chunk { index, term, number: 0, last: true };
        let first = Slot::Chunk { index, term, number: 0, last: false };
        let (plain, last) = match self.sealer.open(first, &sealed) {
            Ok((plain, _)) => (plain, false),
            Err(OpenError::Forged) => (self.opened(only, &sealed)?, true),
            Err(OpenError::UnknownKey(key)) => return Err(self.unknown(key)),
        };
        let header = SnapshotHeader::decode(plain.as_slice())
            .map_err(|_| damaged(self.path, "its header cannot be read"))?;
        Ok((header, last))
    }

    fn chunk(&mut self, number: u64) -> Result<Vec<u8>, StorageError> {
        let sealed = self.frame(CHUNK_BYTES)?;
        let slot = chunk_slot(self.record.index, self.record.term, number, self.data_chunks);
        self.opened(slot, &sealed)
    }

    fn frame(&mut self, plain_bytes_max: usize) -> Result<Vec<u8>, StorageError> {
        let mut len = [0; 4];
        self.read(&mut len)?;
        let len = u32::from_le_bytes(len) as usize;
        if len > plain_bytes_max + OVERHEAD_BYTES {
            return Err(damaged(self.path, "a chunk's length is impossible"));
        }
        let mut sealed = vec![0; len];
        self.read(&mut sealed)?;
        Ok(sealed)
    }

    fn read(&mut self, out: &mut [u8]) -> Result<(), StorageError> {
        self.file.read_at(self.offset, out).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => damaged(self.path, "it ends too early"),
            _ => io_error(format!("read {}", self.path))(error),
        })?;
        self.offset += out.len() as u64;
        Ok(())
    }

    fn opened(&self, slot: Slot, sealed: &[u8]) -> Result<Vec<u8>, StorageError> {
        match self.sealer.open(slot, sealed) {
            Ok((plain, _)) => Ok(plain),
            Err(OpenError::Forged) => Err(damaged(self.path, "the seal of a chunk is broken")),
            Err(OpenError::UnknownKey(key)) => Err(self.unknown(key)),
        }
    }

    /// A key id that neither the ring nor the log's record of the file knows is a flipped byte, not another key.
    fn unknown(&self, key: KeyId) -> StorageError {
        if key.0 == self.record.key {
            StorageError::UnknownKey { what: self.path.to_owned(), key }
        } else {
            damaged(self.path, "a chunk names a key that did not seal this file")
        }
    }
}
