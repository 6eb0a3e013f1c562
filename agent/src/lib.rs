//! The worker side of the protocol: a session with a manager, its heartbeat, the assignments of this node, and reports
//! about them.
//!
//! An [`Agent`] finds a manager through a [`Connector`], registers, and serves the session until it breaks; then it
//! starts again, at growing intervals. What runs tasks is an [`Executor`]; what acts on a new root, role or certificate
//! is an [`IdentityEvents`]. The agent itself decides nothing about either. One agent is one future: thousands fit into
//! a process, and a [`Fleet`] is such thousands, each with an identity of its own and an executor that simulates.

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod agent;
mod backoff;
pub mod connector;
pub mod description;
pub mod executor;
pub mod fleet;
mod identity;
pub mod lifecycle;
mod logs;
pub mod remembered;
pub mod remotes;
mod reports;
mod session;
pub mod simulated;

pub use agent::{Agent, AgentConfig, AgentState};
pub use connector::{ConnectError, Connection, Connector, Dial, LocalFirst, Via};
pub use executor::{Assignments, Executor};
pub use fleet::Fleet;
pub use identity::IdentityEvents;
pub use remotes::{Remote, Remotes};
pub use reports::Reporter;
pub use session::SessionError;
