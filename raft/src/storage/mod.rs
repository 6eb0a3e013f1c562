//! The log, the snapshots and the node's identity on disk: everything sealed, everything checked before it is believed.
//!
//! [`FileLog`] keeps one folder through the [`Disk`] trait:
//!
//! | file | holds |
//! |---|---|
//! | `format` | the version of the folder, in clear; written last when the folder is made, so its presence says that the rest is whole |
//! | `log` | who this member is, then batches: entries, hard state, valid snapshots; a frame, a write and a sync for each |
//! | `witness` | the number of the last batch that was acknowledged, written after the batch and never synced by itself |
//! | `snapshot-INDEX-TERM` | a snapshot, sealed in chunks; valid only when `log` lists it |
//! | `*.new` | unfinished; removed when the folder is opened |
//!
//! The rules: nothing is acknowledged before it is synced; nothing acknowledged is written over; after an error nothing
//! more is written; what is read is authenticated and named when it is not what was written; a record cannot be taken for
//! another one, because what it is and where it stands are bound into its seal. Nothing here knows Raft beyond terms and
//! indexes.
//!
//! A frame is encoded in `frame`, written in `journal`, read again in `replay`; what the batches add up to is `contents`.

mod contents;
mod disk;
mod file_log;
mod frame;
mod journal;
mod layout;
mod real_disk;
mod records;
mod replay;
mod seal;
#[cfg(any(test, feature = "sim"))]
pub mod sim_disk;
mod snapshot_file;
#[cfg(test)]
mod tests;
mod witness;

pub use disk::{Disk, DiskFile};
pub use file_log::{FileLog, FileLogConfig};
pub use real_disk::RealDisk;
