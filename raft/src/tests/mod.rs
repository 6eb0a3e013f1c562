//! What the core promises, as scripts over several members.

mod election;
mod node;
