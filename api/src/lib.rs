//! The door of a manager, and the way to the other managers.
//!
//! In: [`listener`] takes connections and learns who is at the other end; [`Door`] decides who may call what
//! ([`door`]), answers on this manager or passes the call on to the leader; [`routes`] is the one table of what is
//! reached where. Out: [`ChannelPool`] holds the connections to other managers.
//!
//! Nothing here knows the store or the raft node. What it must know of them it asks through the traits in [`identity`]
//! and [`leader`].

#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub mod caller;
pub mod deadline;
pub mod door;
pub mod health;
pub mod identity;
pub mod leader;
pub mod listener;
pub mod metadata;
pub mod pool;
pub mod raft_service;
pub mod raft_transport;
mod removed;
pub mod routes;
mod security;
pub mod snapshot_parts;
mod subject;

pub use caller::{Caller, CallerKind};
pub use door::{Door, Surroundings};
pub use health::Health;
pub use identity::{Blacklist, IdentitySource, OwnIdentity, ServerTls};
pub use leader::{Leader, LeaderRoute};
pub use listener::{ControlSocket, RemoteListener};
pub use pool::{ChannelPool, Dial, DialError};
pub use raft_service::{RaftPort, RaftServices};
pub use raft_transport::GrpcTransport;

/// The largest message that an ordinary method takes: SwarmKit's figure, and tonic's.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
