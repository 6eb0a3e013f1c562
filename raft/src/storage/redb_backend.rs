//! redb's view of a [`DiskFile`], and the wall around redb.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redb::StorageBackend;

use crate::StorageError;

use super::disk::DiskFile;
use super::layout::REJOIN;

/// A file as redb wants it. The folder's lock keeps other processes out, so redb's own locks are not needed.
#[derive(Debug)]
pub struct Backend(pub Box<dyn DiskFile>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_at(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.0.write_at(offset, data)
    }
}

/// Runs work on the database and turns a panic in it into [`StorageError::Damaged`].
///
/// redb checks every page's checksum at open (we ask it to), but it reads its header and its allocator's tables before and
/// trusts, where a page was altered after that check, what it reads: there it asserts, which is right for a library that
/// takes its file for its own, and wrong for a process that should say which file is broken. Whatever state the panic
/// leaves behind is never looked at again: the caller drops the database and refuses all further calls.
pub fn walled<R>(
    path: &str,
    work: impl FnOnce() -> Result<R, StorageError>,
) -> Result<R, StorageError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let said = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(StorageError::Damaged {
            what: path.to_owned(),
            detail: format!("the database stopped at an inconsistency ({said}); {REJOIN}"),
        })
    })
}

/// Names the file in an error of redb's.
pub fn redb_error<E: Into<redb::Error>>(
    action: &'static str,
    path: &str,
) -> impl FnOnce(E) -> StorageError {
    move |error| match error.into() {
        redb::Error::Io(source) => StorageError::Io { action: format!("{action} {path}"), source },
        redb::Error::DatabaseAlreadyOpen => StorageError::InUse { what: path.to_owned() },
        redb::Error::PreviousIo => StorageError::Io {
            action: format!("{action} {path}"),
            source: io::Error::other("an earlier read or write of it failed"),
        },
        other => StorageError::Damaged {
            what: path.to_owned(),
            detail: format!("cannot {action} it: {other}; {REJOIN}"),
        },
    }
}
