//! Writes the states of nodes. Whatever waits goes into one batch, so that ten thousand nodes that register at once are
//! some tens of log entries; a lone one does not wait.

use std::{sync::Arc, time::Duration};

use skep_proto::{ids::NodeId, swarmkit::Node};
use skep_store::{Kind, StoreError, Tx, UpdateError};
use tokio::{
    sync::{mpsc, oneshot},
    time::sleep,
};
use tonic::Status;

use super::{
    leadership::Leadership,
    node_state::{NodeChange, changed},
    timing::NODE_WRITES_BATCH_MAX,
};

/// How long to wait before a refused write is tried again: until the group takes proposals again, or this manager hears
/// that it leads no more.
const RETRY_DELAY: Duration = Duration::from_millis(100);

/// How long a crowd is waited for: little beside a round trip and an fsync, and long enough for hundreds to arrive.
const GATHER_DELAY: Duration = Duration::from_millis(10);

/// A change of one node that is to be written.
#[derive(Debug)]
pub(super) struct NodeWrite {
    pub node: NodeId,
    /// None only makes sure that this manager leads.
    pub change: Option<NodeChange>,
    /// Who waits for it; what nobody waits for is tried again until it is written or no longer true.
    pub done: Option<oneshot::Sender<Result<(), WriteError>>>,
}

/// Why a node's state was not written.
#[derive(Clone, Debug, thiserror::Error)]
pub(super) enum WriteError {
    /// There is no such node.
    #[error("node not found")]
    NotFound,
    /// The leadership is over.
    #[error("dispatcher is stopped")]
    Over,
    /// The store did not take it, or it is not known whether it did.
    #[error("the node's state was not recorded: {0}")]
    Store(String),
}

impl From<WriteError> for Status {
    fn from(error: WriteError) -> Status {
        match error {
            WriteError::NotFound => Status::unknown(error.to_string()),
            WriteError::Over | WriteError::Store(_) => Status::aborted(error.to_string()),
        }
    }
}

/// Writes what is queued until the queue is closed.
pub(super) async fn run(leadership: &Leadership, mut queue: mpsc::Receiver<NodeWrite>) {
    let mut taken: Vec<NodeWrite> = Vec::new();
    loop {
        if taken.is_empty() {
            if queue.recv_many(&mut taken, NODE_WRITES_BATCH_MAX).await == 0 {
                return;
            }
            if taken.len() > 1 {
                // Several at once are the head of a crowd.
                sleep(GATHER_DELAY).await;
                while taken.len() < NODE_WRITES_BATCH_MAX
                    && let Ok(write) = queue.try_recv()
                {
                    taken.push(write);
                }
            }
        } else {
            sleep(RETRY_DELAY).await;
        }
        taken.retain(|write| still_true(leadership, write));
        taken = write(leadership, std::mem::take(&mut taken)).await;
    }
}

/// Nobody waits for what became untrue while it was queued: a node that was lost may be back.
fn still_true(leadership: &Leadership, write: &NodeWrite) -> bool {
    match write.change {
        Some(NodeChange::Down(_)) => leadership.liveness.lock().is_down(&write.node),
        Some(NodeChange::Unknown) => leadership.liveness.lock().is_unknown(&write.node),
        _ => true,
    }
}

/// Writes a batch and answers who waits; gives back what is to be tried again.
async fn write(leadership: &Leadership, writes: Vec<NodeWrite>) -> Vec<NodeWrite> {
    let items: Vec<_> = writes.iter().map(|w| (w.node, w.change.clone())).collect();
    let results =
        leadership.store.batch(items, |tx, (node, change)| apply(tx, node, change.as_ref())).await;
    // Only a commit proves that this manager leads. Who needs that, and changed nothing, waits for the group's word.
    let unproven = |(write, result): (&NodeWrite, &Result<bool, _>)| {
        write.done.is_some() && *result == Ok(false)
    };
    let proof = match writes.iter().zip(&results).any(unproven) {
        true => leadership.group.read_barrier().await.map_err(|e| WriteError::Store(e.to_string())),
        false => Ok(()),
    };
    let mut again = Vec::new();
    for (write, result) in writes.into_iter().zip(results) {
        let result = match result {
            Ok(true) => Ok(()),
            Ok(false) => proof.clone(),
            Err(UpdateError::Aborted(StoreError::NotFound { .. })) => Err(WriteError::NotFound),
            Err(error) => Err(WriteError::Store(error.to_string())),
        };
        match write.done {
            Some(done) => {
                // A caller that went away does not care.
                let _ = done.send(result);
            }
            None if matches!(result, Err(WriteError::Store(_))) => again.push(write),
            None => {}
        }
    }
    again
}

/// Whether anything was to be written.
pub(super) fn apply(
    tx: &mut Tx,
    node: NodeId,
    change: Option<&NodeChange>,
) -> Result<bool, StoreError> {
    let Some(change) = change else { return Ok(false) };
    let Some(stored) = tx.get::<Node>(&node).map(Arc::clone) else {
        return Err(StoreError::NotFound { kind: Kind::Node, id: node.to_string() });
    };
    match changed(&stored, change) {
        None => Ok(false),
        Some(node) => tx.update(node).map(|_| true),
    }
}
