//! The manager daemon: the services behind the door, and the control loops that run while this node leads.
//!
//! The only crate where the raft group and the store meet. Each control loop is one module with one `run` future,
//! started when this node leads and has applied everything up to its election, and dropped when it no longer does.
//! Loops talk to each other through the store alone.
//!
//! From the outside in: [`daemon`] is the machine's way into and out of a cluster, [`node`] what it is while in one,
//! [`leader`] what it does while it leads. [`control`], [`watch`], [`dispatcher`], [`logs`] and [`authority`] are the services.

#![forbid(unsafe_code)]

pub mod allocator;
pub mod answer;
pub mod attachments;
pub mod authority;
pub mod config;
pub mod control;
pub mod control_socket;
pub mod daemon;
pub mod dev;
pub mod dispatcher;
pub mod enforcer;
pub mod group;
pub mod keys;
pub mod leader;
pub mod logging;
pub mod logs;
pub mod metrics;
pub mod networks;
pub mod node;
pub mod options;
pub mod orchestrator;
pub mod placement;
pub mod rendezvous;
pub mod roles;
pub mod scheduler;
pub mod watch;

#[cfg(test)]
mod test_group;
