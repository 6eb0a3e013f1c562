//! The two listeners: TCP with TLS for other nodes, and the control socket for this machine.
//!
//! A listener takes connections, learns who is at the other end, and serves HTTP/2 on each with the service that it was
//! given, a [`Caller`](crate::Caller) in every request's extensions. What a caller may do is the door's business.

mod connection;
mod control;
mod prefixed;
mod remote;
mod stats;

pub use connection::{
    ANONYMOUS_STREAMS_MAX, MANAGER_STREAMS_MAX, SHUTDOWN_GRACE, WORKER_STREAMS_MAX,
};
pub use control::{BindError, CONTROL_CONNECTIONS_MAX, ControlSocket};
pub use remote::{
    ANONYMOUS_CONNECTIONS_MAX, CONNECTIONS_MAX, HANDSHAKE_TIMEOUT, HANDSHAKES_MAX, RemoteListener,
};
pub use stats::{ListenerCounts, ListenerStats};
