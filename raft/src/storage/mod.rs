//! The log, the snapshots and the node's identity on disk: everything sealed, everything checked before it is believed.
//!
//! [`RedbLog`] keeps one folder through the [`Disk`] trait:
//!
//! | file | holds |
//! |---|---|
//! | `format` | the version of the folder, in clear; written last when the folder is made, so its presence says that the rest is whole |
//! | `log.redb` | entries, hard state, identity, the list of valid snapshots: one transaction per batch, one sync |
//! | `witness` | the number of the last batch that was acknowledged, written after the batch and never synced by itself |
//! | `snapshot-INDEX-TERM` | a snapshot, sealed in chunks; valid only when `log.redb` lists it |
//! | `*.new` | unfinished; removed when the folder is opened |
//!
//! The rules: nothing is acknowledged before it is synced; after an error nothing more is written; what is read is
//! authenticated and named when it is not what was written; a record cannot be taken for another one, because what it is
//! and where it stands are bound into its seal. Nothing here knows Raft beyond terms and indexes.

mod disk;
mod layout;
mod real_disk;
mod records;
mod redb_backend;
mod redb_log;
mod seal;
#[cfg(any(test, feature = "sim"))]
pub mod sim_disk;
mod snapshot_file;
mod tables;
#[cfg(test)]
mod tests;
mod witness;

pub use disk::{Disk, DiskFile};
pub use real_disk::RealDisk;
pub use redb_log::{RedbLog, RedbLogConfig};
