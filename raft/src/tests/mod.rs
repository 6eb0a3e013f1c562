//! What the core promises, as scripts over several members; and whole nodes.

mod chaos;
mod clock;
mod election;
mod epochs;
mod force_new;
mod golden;
mod malformed;
mod members;
mod node;
mod pipeline;
mod reads;
mod restart;
mod snapshots;
mod transfer;
