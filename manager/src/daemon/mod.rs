//! The daemon: one actor that takes a machine into a cluster, keeps it there, and takes it out again.
//!
//! It owns the control socket and the state that an operator sees. Requests are worked off one at a time, so that an
//! init cannot meet a join half-way; status is read beside them at any moment. What a node of a cluster does is in
//! [`crate::node`].

mod actor;
mod service;
mod state;

pub use actor::{Daemon, DaemonError, InitOptions, JoinOptions};
pub use service::DaemonService;
pub use state::State;
