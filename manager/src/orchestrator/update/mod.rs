//! Moving a service to its present spec, or back to its previous one: a few places at a time, watching whether what is new
//! stays up.
//!
//! [`machine`] decides when the next place's turn is and when it is enough; it knows places, tasks and moments, and nothing of
//! the store. [`begin`] sets it up from what the store holds, also in the middle of an update that another leader began.
//! [`report`] writes into the service how the update fares.

pub(super) mod begin;
pub(super) mod config;
pub(super) mod machine;
pub(super) mod report;

pub(super) use config::UpdatePlan;
pub(super) use machine::{Action, Update};
pub(super) use report::Verdict;

#[cfg(test)]
mod tests;
