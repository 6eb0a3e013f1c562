//! What a daemon is at the moment, as its operator sees it.

use std::sync::Arc;

use crate::node::Node;

/// The states of a daemon.
///
/// ```text
///   Inactive ──init, join──▶ Pending ──▶ Active ──leave, removed──▶ Inactive
///   start with a sealed key ──▶ Locked ──unlock──▶ Active
///   Active ──an error that needs a person──▶ Failed
/// ```
#[derive(Clone)]
pub enum State {
    /// Not part of a cluster.
    Inactive {
        /// Why it is out, when it was in.
        reason: Option<String>,
    },
    /// On the way into a cluster.
    Pending,
    /// A node of a cluster.
    Active(Arc<Node>),
    /// The key on disk is sealed.
    Locked,
    /// Stopped; the text says why and what to do.
    Failed(String),
}

impl State {
    /// In a word, for log lines and errors.
    pub fn name(&self) -> &'static str {
        match self {
            State::Inactive { .. } => "inactive",
            State::Pending => "pending",
            State::Active(_) => "active",
            State::Locked => "locked",
            State::Failed(_) => "error",
        }
    }
}
