//! The manager daemon: the services behind the door, and the control loops that run while this node leads.
//!
//! The only crate where the raft group and the store meet. Each control loop is one module with one `run` future,
//! started when this node leads and has applied everything up to its election, and dropped when it no longer does.
//! Loops talk to each other through the store alone.

#![forbid(unsafe_code)]

pub mod authority;
pub mod control;
pub mod dispatcher;
pub mod group;
pub mod keys;
pub mod roles;
#[cfg(test)]
mod test_group;
pub mod watch;
