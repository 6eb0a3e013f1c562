//! Nodes that simulate their tasks: each does what its [`script`] says, in the time that it says, and prints lines when
//! somebody asks for its log. A task that runs costs some hundred bytes and no time.
//!
//! A [`SimulatedNode`] is an executor of one agent; all of a process share their [`Timers`]. A [`Witness`] sees what they
//! are told and what they do; [`Invariants`] is one that checks what must hold whatever happens to the managers.

mod invariants;
mod lines;
mod node;
pub mod script;
mod task;
mod timers;
mod witness;

pub use invariants::{Invariants, Stop};
pub use node::{SimulatedNode, SimulatedNodeConfig};
pub use script::Script;
pub use task::TaskInfo;
pub use timers::Timers;
pub use witness::{Nobody, Witness};

#[cfg(test)]
mod tests;
