//! The files of the folder, the order in which it is made, and the version it carries.
//!
//! A folder is made in an order that leaves no doubt after a crash: the log is created aside and synced, then `format` is
//! written, then the log gets its name. So: no `format`, no log that ever held anything; `format` without `log` means
//! that the rename is to be finished, or, when there is nothing to rename, that somebody removed the log.

use std::io;

use crate::StorageError;

use super::disk::{ASIDE_SUFFIX, Disk, read_all, write_whole};

/// The version of the folder that this code writes and reads.
pub const FORMAT_VERSION: u32 = 2;
pub const FORMAT_NAME: &str = "format";
pub const LOG_NAME: &str = "log";
pub const LOG_ASIDE_NAME: &str = "log.new";
pub const WITNESS_NAME: &str = "witness";
const SNAPSHOT_PREFIX: &str = "snapshot-";
const FORMAT_PREFIX: &str = "skep-raft ";
/// Longer than any version's text; a longer file is not ours.
const FORMAT_BYTES_MAX: u64 = 64;

/// What to do about a folder that cannot be trusted any more.
pub const REJOIN: &str = "restore the folder from a backup made while the manager was stopped, or remove this manager \
     from the group, delete the folder and join again";

/// The state in which a folder is found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing was ever stored here (leftovers of a creation that did not finish may lie around).
    Nothing,
    /// A whole folder.
    Whole,
}

/// Wraps what the system said with what was tried.
pub fn io_error(action: impl Into<String>) -> impl FnOnce(io::Error) -> StorageError {
    let action = action.into();
    move |source| match source.kind() {
        io::ErrorKind::ResourceBusy => StorageError::InUse { what: action },
        _ => StorageError::Io { action, source },
    }
}

/// The name of a snapshot's file.
pub fn snapshot_name(index: u64, term: u64) -> String {
    format!("{SNAPSHOT_PREFIX}{index:020}-{term:020}")
}

/// Looks at the folder, checks its version and finishes a creation that was nearly done.
pub fn inspect(disk: &dyn Disk) -> Result<Found, StorageError> {
    let folder = disk.describe("");
    let names = disk.list().map_err(io_error(format!("list {folder}")))?;
    let has = |name: &str| names.iter().any(|n| n == name);
    if !has(FORMAT_NAME) {
        if has(LOG_NAME) || names.iter().any(|n| is_snapshot(n)) {
            return Err(StorageError::Damaged {
                what: disk.describe(FORMAT_NAME),
                detail: format!("it is missing although a log or snapshots are there; {REJOIN}"),
            });
        }
        return Ok(Found::Nothing);
    }
    check_version(disk)?;
    if !has(LOG_NAME) {
        if !has(LOG_ASIDE_NAME) {
            return Err(StorageError::Damaged {
                what: disk.describe(LOG_NAME),
                detail: format!("it is missing; {REJOIN}"),
            });
        }
        finish(disk)?;
    }
    Ok(Found::Whole)
}

fn check_version(disk: &dyn Disk) -> Result<(), StorageError> {
    let path = disk.describe(FORMAT_NAME);
    let text = disk
        .open(FORMAT_NAME)
        .and_then(|file| read_all(&*file, FORMAT_BYTES_MAX))
        .map_err(io_error(format!("read {path}")))?;
    let version = std::str::from_utf8(&text)
        .ok()
        .and_then(|text| text.strip_prefix(FORMAT_PREFIX)?.strip_suffix('\n')?.parse().ok());
    match version {
        Some(FORMAT_VERSION) if text == version_text().as_bytes() => Ok(()),
        Some(found) if found != FORMAT_VERSION => {
            Err(StorageError::UnknownFormat { what: path, found, supported: FORMAT_VERSION })
        }
        _ => Err(StorageError::Damaged {
            what: path,
            detail: format!(
                "it should read {:?}; write that into it if it was changed by hand, else {REJOIN}",
                version_text()
            ),
        }),
    }
}

fn version_text() -> String {
    format!("{FORMAT_PREFIX}{FORMAT_VERSION}\n")
}

/// Writes the version: from here on the folder counts as made.
pub fn write_version(disk: &dyn Disk) -> Result<(), StorageError> {
    write_whole(disk, FORMAT_NAME, version_text().as_bytes())
        .map_err(io_error(format!("write {}", disk.describe(FORMAT_NAME))))
}

/// Gives the log that was written aside, and synced, its name.
pub fn finish(disk: &dyn Disk) -> Result<(), StorageError> {
    disk.rename(LOG_ASIDE_NAME, LOG_NAME)
        .and_then(|()| disk.sync_dir())
        .map_err(io_error(format!("rename {}", disk.describe(LOG_ASIDE_NAME))))
}

/// Removes what is unfinished, durably. To be done before anything is written aside under the same name: a crash may keep
/// the renaming of the new file and lose its creation, and then the unfinished one would get the finished one's name.
pub fn clear_aside(disk: &dyn Disk) -> Result<(), StorageError> {
    remove_if(disk, |name| name.ends_with(ASIDE_SUFFIX))
}

/// Removes what is unfinished, and the snapshots that the log does not list.
pub fn tidy(disk: &dyn Disk, listed: &[String]) -> Result<(), StorageError> {
    remove_if(disk, |name| {
        name.ends_with(ASIDE_SUFFIX)
            || (is_snapshot(name) && !listed.iter().any(|listed| listed == name))
    })
}

fn remove_if(disk: &dyn Disk, unwanted: impl Fn(&str) -> bool) -> Result<(), StorageError> {
    let folder = disk.describe("");
    let names = disk.list().map_err(io_error(format!("list {folder}")))?;
    let mut removed = false;
    for name in names.iter().filter(|name| unwanted(name)) {
        disk.remove(name).map_err(io_error(format!("remove {}", disk.describe(name))))?;
        removed = true;
    }
    if removed {
        disk.sync_dir().map_err(io_error(format!("sync {folder}")))?;
    }
    Ok(())
}

fn is_snapshot(name: &str) -> bool {
    name.starts_with(SNAPSHOT_PREFIX) && !name.ends_with(ASIDE_SUFFIX)
}
