//! What the program that is replicated decides about its group.

use async_trait::async_trait;
use bytes::Bytes;

/// Why a call to the leader brought no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// It was not done and will not be.
    #[error("not done: {0}")]
    NotDone(String),
    /// Nobody knows whether it was done.
    #[error("it may or may not have been done: {0}")]
    Unknown(String),
}

/// The program.
#[async_trait]
pub trait Owner: Send + Sync + 'static {
    /// Whether a node of this name may become a member at this address; asked on the leader. `Err` says why not, and
    /// the node goes on asking.
    async fn admits(&self, name: &str, addr: &str) -> Result<(), String> {
        let _ = (name, addr);
        Ok(())
    }

    /// Does what a member asks of the leader. It may have lost its leadership by now: then it says
    /// [`CallError::NotDone`].
    async fn call(&self, body: Bytes) -> Result<Bytes, CallError>;
}
