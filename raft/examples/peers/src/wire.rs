//! The generated messages and services, and every bound on what comes in.

use std::time::Duration;

/// The generated code.
#[allow(missing_docs, clippy::all, reason = "generated code")]
mod generated {
    tonic::include_proto!("skep.raft.peers.v1");
}

pub use generated::*;

/// Bytes of a message that is read at once: a frame has a mebibyte of entries, or one entry of up to 1.5 MiB.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;
/// Data of a snapshot in one part.
pub const CHUNK_BYTES: usize = 1024 * 1024;
/// The largest snapshot that is put together; it is held in memory.
pub const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024 * 1024;
/// Snapshots that come in at a time: a follower gets them from one leader.
pub const SNAPSHOTS_MAX: usize = 2;
/// How long the next part of a snapshot may take.
pub const SNAPSHOT_STALL: Duration = Duration::from_secs(15);
/// A node's name or an address.
pub const NAME_BYTES_MAX: usize = 255;
/// How long a call that waits for the group may take: a change of leader lies within it.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a node may take to say who it is.
pub const WHO_TIMEOUT: Duration = Duration::from_secs(2);
/// How long a connection may take, handshake included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// A peer that vanished without a word is noticed after this and [`PING_TIMEOUT`] …
pub const PING_INTERVAL: Duration = Duration::from_secs(1);
/// … since a healthy one answers sooner even on a busy machine.
pub const PING_TIMEOUT: Duration = Duration::from_secs(3);

/// What tells a sender that it was removed from the group: this code **and** exactly this text, and nothing else, since
/// whoever gets it stops for ever.
pub fn removed_signal() -> tonic::Status {
    tonic::Status::not_found(skep_raft::StepError::Removed.to_string())
}

/// Whether an answer is [`removed_signal`].
pub fn is_removed_signal(status: &tonic::Status) -> bool {
    status.code() == tonic::Code::NotFound
        && status.message() == skep_raft::StepError::Removed.to_string()
}
