//! The ledger: one file that blocks are appended to, each synced before it counts.
//!
//! A file of records after a short head (`record`). A record's head holds the block's header, so that the headers of a chain can be
//! read without its blocks, and says up to where the file was synced when the record was written: by that, an end that a crash
//! has torn is told from damage. At the start the heads are read and checked (`scan`), and the last write as a whole; a block is
//! checked whenever it is read.
//!
//! Why not more: a chain is written at its end and read by number. There is nothing to compact, and an index of offsets in
//! memory (8 bytes a block) finds everything.

mod file;
mod record;
mod scan;
mod storage;

pub use file::{Ledger, LedgerError, Reader};
pub use storage::{FileStorage, Storage};
