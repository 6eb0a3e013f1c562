//! The open ledger: one writer, many readers.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::RwLock;

use super::record::{FILE_HEAD, HEAD_BYTES, Head, encode};
use super::scan::{Found, ScanError, scan};
use super::storage::Storage;
use crate::core::chain::{ChainError, Header, Kept, Tip, check_link};

/// What went wrong with a ledger. After a failed write nothing more is written.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// It cannot be used.
    #[error(
        "the ledger cannot be used: {0}; an orderer without a ledger pulls it from the others: move the file away"
    )]
    Unusable(#[from] ScanError),
    /// The disk failed.
    #[error("the ledger cannot be {action}")]
    Io {
        /// What was tried.
        action: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A block has rotted.
    #[error("block {number} of the ledger is damaged")]
    Damaged {
        /// Its number.
        number: u64,
    },
    /// There is no such block.
    #[error("the ledger has no block {number}")]
    Missing {
        /// Its number.
        number: u64,
    },
    /// What was to be written does not follow from what is there.
    #[error("the ledger does not take a block")]
    Chain(#[from] ChainError),
}

fn io_error(action: &'static str) -> impl FnOnce(io::Error) -> LedgerError {
    move |source| LedgerError::Io { action, source }
}

/// Reads a ledger while it is written. Cheap to clone; blocks on the disk.
#[derive(Clone)]
pub struct Reader {
    file: Arc<dyn Storage>,
    /// Where each block's record begins. Only what is durable is here.
    offsets: Arc<RwLock<Vec<u64>>>,
}

/// The writer.
pub struct Ledger {
    reader: Reader,
    tip: Option<Tip>,
    end: u64,
    /// A write has failed: nobody knows what is on the disk.
    failed: bool,
}

impl Ledger {
    /// Opens what is there, cuts off an end that a crash has torn, and makes sure that the rest is durable. Blocks.
    ///
    /// # Errors
    /// When it is damaged, or the disk fails.
    pub fn open(file: Arc<dyn Storage>) -> Result<Ledger, LedgerError> {
        let Found { offsets, tip, mut end } = scan(&*file)?;
        if end == 0 {
            file.write_at(0, FILE_HEAD).map_err(io_error("begun"))?;
            end = FILE_HEAD.len() as u64;
        }
        if file.bytes().map_err(io_error("read"))? > end {
            file.truncate(end).map_err(io_error("cut"))?;
        }
        // A process that was killed may have left what only the system's cache holds.
        file.sync().map_err(io_error("synced"))?;
        let reader = Reader { file, offsets: Arc::new(RwLock::new(offsets)) };
        Ok(Ledger { reader, tip, end, failed: false })
    }

    /// Where it ends.
    pub fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// A reader of it.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Appends blocks; returns once they are durable. Blocks on the disk.
    ///
    /// # Errors
    /// When they do not follow, or the disk fails: then nothing more is taken.
    pub fn append(&mut self, blocks: &[Kept]) -> Result<(), LedgerError> {
        if self.failed {
            let source = io::Error::other("an earlier write has failed");
            return Err(LedgerError::Io { action: "written", source });
        }
        let (mut out, mut offsets, mut tip) = (Vec::new(), Vec::new(), self.tip);
        for kept in blocks {
            check_link(tip.as_ref().map(|tip| &tip.header), &kept.block.header)?;
            offsets.push(self.end + out.len() as u64);
            encode(kept, self.end, &mut out);
            tip = Some(kept.tip());
        }
        self.failed = true;
        self.reader.file.write_at(self.end, &out).map_err(io_error("written"))?;
        self.reader.file.sync().map_err(io_error("synced"))?;
        self.failed = false;
        self.end += out.len() as u64;
        self.tip = tip;
        self.reader.offsets.write().extend(offsets);
        Ok(())
    }
}

impl Reader {
    /// How many blocks there are.
    pub fn height(&self) -> u64 {
        self.offsets.read().len() as u64
    }

    fn head(&self, number: u64) -> Result<(u64, Head), LedgerError> {
        let missing = LedgerError::Missing { number };
        let at = usize::try_from(number).ok();
        let offset = at.and_then(|at| self.offsets.read().get(at).copied()).ok_or(missing)?;
        let mut head = [0; HEAD_BYTES];
        self.file.read_at(offset, &mut head).map_err(io_error("read"))?;
        let head = Head::decode(&head).filter(|head| head.tip.header.number == number);
        Ok((offset, head.ok_or(LedgerError::Damaged { number })?))
    }

    /// A block's header.
    ///
    /// # Errors
    /// When there is none, or it has rotted.
    pub fn header(&self, number: u64) -> Result<Header, LedgerError> {
        Ok(self.head(number)?.1.tip.header)
    }

    /// A block.
    ///
    /// # Errors
    /// When there is none, or it has rotted.
    pub fn block(&self, number: u64) -> Result<Kept, LedgerError> {
        let (offset, head) = self.head(number)?;
        let mut block = vec![0; head.bytes];
        let start = offset + HEAD_BYTES as u64;
        self.file.read_at(start, &mut block).map_err(io_error("read"))?;
        head.block(Bytes::from(block)).ok_or(LedgerError::Damaged { number })
    }
}

#[cfg(test)]
mod tests;
