//! What a start finds in the file: whole records, perhaps an end that a crash has torn, or damage.
//!
//! A crash can only tear what was not synced, which is what the last write wrote. So what is broken is a torn end if nothing after
//! it was written later than it was synced, and damage otherwise.

use std::io;

use super::record::{FILE_HEAD, HEAD_BYTES, Head, MAGIC};
use super::storage::Storage;
use crate::core::chain::{Tip, check_link};
use crate::core::keeper::WRITE_BYTES_MAX;

/// A write has no more bytes than this: what may be torn.
pub const TORN_BYTES_MAX: u64 = 2 * WRITE_BYTES_MAX as u64;

/// What is there.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// Where each block's record begins.
    pub offsets: Vec<u64>,
    /// Where the chain ends.
    pub tip: Option<Tip>,
    /// Where the whole records end; what comes after was torn.
    pub end: u64,
}

/// What makes a file no ledger, or a damaged one.
#[derive(Debug, thiserror::Error)]
pub enum ScanError {
    /// The disk.
    #[error("it cannot be read")]
    Io(#[from] io::Error),
    /// It begins with something else.
    #[error("it is no ledger")]
    NoLedger,
    /// A record that was synced is not what was written.
    #[error("block {number} is damaged, at byte {offset}")]
    Damaged {
        /// Its number.
        number: u64,
        /// Where it begins.
        offset: u64,
    },
}

fn head_at(file: &dyn Storage, offset: u64, len: u64) -> io::Result<Option<Head>> {
    if len - offset < HEAD_BYTES as u64 {
        return Ok(None);
    }
    let mut head = [0; HEAD_BYTES];
    file.read_at(offset, &mut head)?;
    Ok(Head::decode(&head))
}

fn is_whole(file: &dyn Storage, offset: u64, head: &Head) -> io::Result<bool> {
    let mut block = vec![0; head.bytes];
    file.read_at(offset + HEAD_BYTES as u64, &mut block)?;
    Ok(head.fits(&block))
}

/// Reads the whole file, heads only but for the last write.
///
/// # Errors
/// When it is not a ledger that a crash may have left.
pub fn scan(file: &dyn Storage) -> Result<Found, ScanError> {
    let len = file.bytes()?;
    let mut start = vec![0; len.min(FILE_HEAD.len() as u64) as usize];
    file.read_at(0, &mut start)?;
    if start != FILE_HEAD {
        // The head is synced before anything else is written: a file that was cut off while it was made holds nothing more.
        let was_cut = FILE_HEAD.starts_with(&start) || start.iter().all(|byte| *byte == 0);
        let unmade = was_cut && len <= FILE_HEAD.len() as u64;
        return if unmade { Ok(Found::default()) } else { Err(ScanError::NoLedger) };
    }
    let mut heads: Vec<(u64, Head)> = Vec::new();
    let mut end = FILE_HEAD.len() as u64;
    while end < len {
        let Some(head) = head_at(file, end, len)? else { break };
        let last = heads.last().map(|(_, head)| head.tip.header);
        if check_link(last.as_ref(), &head.tip.header).is_err() {
            return Err(ScanError::Damaged { number: heads.len() as u64, offset: end });
        }
        let next = end + HEAD_BYTES as u64 + head.bytes as u64;
        if next > len {
            break;
        }
        heads.push((end, head));
        end = next;
    }
    // Of the last write the blocks themselves may be torn, though their heads are not.
    let synced = heads.last().map_or(0, |(_, head)| head.synced);
    let last_write = heads.partition_point(|(offset, _)| *offset < synced);
    for (at, (offset, head)) in heads.iter().enumerate().skip(last_write) {
        if !is_whole(file, *offset, head)? {
            end = *offset;
            heads.truncate(at);
            break;
        }
    }
    if end < len && was_synced(file, end, len)? {
        return Err(ScanError::Damaged { number: heads.len() as u64, offset: end });
    }
    Ok(Found {
        tip: heads.last().map(|(_, head)| head.tip),
        offsets: heads.into_iter().map(|(offset, _)| offset).collect(),
        end,
    })
}

/// Whether what begins at `broken` had been synced once: when it is too long for one write, or when a later record says so.
fn was_synced(file: &dyn Storage, broken: u64, len: u64) -> io::Result<bool> {
    if len - broken > TORN_BYTES_MAX {
        return Ok(true);
    }
    let mut rest = vec![0; (len - broken) as usize];
    file.read_at(broken, &mut rest)?;
    let heads = rest.windows(HEAD_BYTES).filter(|window| window.starts_with(MAGIC));
    let heads = heads.filter_map(|window| Head::decode(window.try_into().ok()?));
    Ok(heads.into_iter().any(|head| head.synced > broken))
}
