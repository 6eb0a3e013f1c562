//! The disk as the storage sees it: one flat folder of files.
//!
//! Everything that reaches the disk goes through these two traits, so that a test can put a disk underneath that loses,
//! tears, corrupts and runs full ([`SimDisk`](super::sim_disk::SimDisk)). They promise no more than POSIX does:
//! what was written is durable only after [`DiskFile::sync`], and a name that was created, renamed or removed is durable
//! only after [`Disk::sync_dir`]. Calls block; they belong on the log writer's thread, never on an async task.

use std::fmt;
use std::io;

/// A folder without subfolders.
pub trait Disk: fmt::Debug + Send + Sync + 'static {
    /// Opens an existing file for reading and writing.
    ///
    /// # Errors
    /// [`io::ErrorKind::NotFound`] when there is no such file; else what the disk says.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Creates an empty file, emptying one that is there. The name is durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the disk says.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Renames `from` to `to`, replacing `to`. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the disk says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file. Durable after [`Disk::sync_dir`].
    ///
    /// # Errors
    /// What the disk says.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// The names of all files, sorted.
    ///
    /// # Errors
    /// What the disk says.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes creations, renames and removals durable.
    ///
    /// # Errors
    /// What the disk says; after one, nobody knows which names are durable.
    fn sync_dir(&self) -> io::Result<()>;

    /// How to name this file to a person: its full path.
    fn describe(&self, name: &str) -> String;
}

/// An open file, read and written at offsets. Handles may be shared; writes of one handle are seen by the others.
pub trait DiskFile: fmt::Debug + Send + Sync + 'static {
    /// Length in bytes.
    ///
    /// # Errors
    /// What the disk says.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file holds nothing.
    ///
    /// # Errors
    /// What the disk says.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }

    /// Fills `out` from `offset`.
    ///
    /// # Errors
    /// [`io::ErrorKind::UnexpectedEof`] when the file ends before `out` is full; else what the disk says.
    fn read_at(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `data` at `offset`, growing the file if need be. Durable after [`DiskFile::sync`].
    ///
    /// # Errors
    /// What the disk says.
    fn write_at(&self, offset: u64, data: &[u8]) -> io::Result<()>;

    /// Cuts or grows (with zeros) the file. Durable after [`DiskFile::sync`].
    ///
    /// # Errors
    /// What the disk says.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Makes the contents and the length durable.
    ///
    /// # Errors
    /// What the disk says. After one, writes since the last success may be lost although later reads still show them,
    /// and a later success does not bring them back: whoever gets an error here must stop.
    fn sync(&self) -> io::Result<()>;
}

/// Reads a whole small file.
///
/// # Errors
/// What the disk says; [`io::ErrorKind::FileTooLarge`] when the file is longer than `len_max` bytes.
pub fn read_all(file: &dyn DiskFile, len_max: u64) -> io::Result<Vec<u8>> {
    let len = file.len()?;
    if len > len_max {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("{len} bytes where at most {len_max} are expected"),
        ));
    }
    // The cast cannot cut: len_max is far below any usize we run on.
    let mut data = vec![0; len as usize];
    file.read_at(0, &mut data)?;
    Ok(data)
}

/// Writes `data` under `name` so that after a crash there is either the old file or the new one, whole.
///
/// # Errors
/// What the disk says.
pub fn write_whole(disk: &dyn Disk, name: &str, data: &[u8]) -> io::Result<()> {
    let aside = format!("{name}{ASIDE_SUFFIX}");
    let file = disk.create(&aside)?;
    file.write_at(0, data)?;
    file.sync()?;
    disk.rename(&aside, name)?;
    disk.sync_dir()
}

/// What a file is called while it is being written aside. A file left with this ending is unfinished and is removed at open.
pub const ASIDE_SUFFIX: &str = ".new";
