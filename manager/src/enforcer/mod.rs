//! The constraint enforcer: rejects tasks that run on a node which is no longer what they ask for, since a label was taken
//! away, an address changed, or the engine came back with fewer resources. The orchestrators then replace them elsewhere.
//!
//! Looks at a node when something of it changed that a rule reads, and at every node when leadership begins. Nodes that
//! are paused or drained are left alone: there nothing is to change, or everything goes anyway.

mod rules;
#[cfg(test)]
mod tests;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use skep_proto::{
    ids::{NodeId, TaskId},
    swarmkit::{Node, Task, TaskState, TaskStatus},
};
use skep_store::{Commit, Event, Kind, Object, Selector, Store, StoreError, Tx, UpdateError};
use tokio::time::sleep;

/// SwarmKit's words for a task that is rejected here.
pub const REJECTED: &str = "task rejected by constraint enforcer";
/// SwarmKit's reason for it.
pub const REJECTED_ERR: &str = "assigned node no longer meets constraints";
/// Pause before nodes are looked at again after the store refused a write.
const RETRY_DELAY: Duration = Duration::from_millis(200);

/// Enforces for as long as this manager leads. Never returns; safe to drop: the next leader looks at every node.
pub async fn run(store: Store) {
    loop {
        let (view, mut watcher) = store.watch(Selector::kinds(&[Kind::Node]));
        let mut dirty: BTreeSet<NodeId> =
            view.all::<Node>().filter_map(|node| node.id.parse().ok()).collect();
        drop(view);
        loop {
            match enforce(&store, &dirty).await {
                Ok(()) => dirty.clear(),
                Err(Refused) => sleep(RETRY_DELAY).await,
            }
            let next = match dirty.is_empty() {
                true => watcher.next().await.map(Some),
                false => watcher.try_next(),
            };
            match next {
                Ok(Some(commit)) => dirty.extend(changed(&commit)),
                Ok(None) => {}
                // Fell behind: begin again from a view.
                Err(_) => break,
            }
        }
    }
}

/// Nodes of which something changed that a rule reads.
fn changed(commit: &Commit) -> Vec<NodeId> {
    let mut nodes = Vec::new();
    for event in &commit.events {
        let Event::Node(change) = event else { continue };
        let (Some(old), Some(new)) = (&change.old, &change.new) else { continue };
        if rules::reads_differently(old, new) {
            nodes.push(change.id.into());
        }
    }
    nodes
}

/// The store took a write no more.
struct Refused;

/// Rejects what does not belong on these nodes.
async fn enforce(store: &Store, nodes: &BTreeSet<NodeId>) -> Result<(), Refused> {
    let view = store.view();
    let misplaced = nodes.iter().filter_map(|id| view.get::<Node>(id)).flat_map(|node| {
        let tasks = rules::misplaced(&view, node);
        tasks.into_iter().map(|task| (task, node.clone())).collect::<Vec<_>>()
    });
    let misplaced: Vec<(TaskId, Arc<Node>)> = misplaced.collect();
    drop(view);
    if misplaced.is_empty() {
        return Ok(());
    }
    tracing::info!(
        tasks = misplaced.len(),
        "rejecting tasks whose node is not what they ask for any more"
    );
    let results = store.batch(misplaced, |tx, (task, node)| reject(tx, &task, &node)).await;
    for result in results {
        match result {
            Ok(()) => {}
            Err(UpdateError::Aborted(error)) => {
                tracing::warn!(%error, "a misplaced task was not rejected");
            }
            Err(error) => {
                tracing::debug!(%error, "misplaced tasks were not rejected; trying again");
                return Err(Refused);
            }
        }
    }
    Ok(())
}

/// Rejects the task, if it and its node are as they were. When they are not, the commit that changed them has it looked at
/// again.
fn reject(tx: &mut Tx, id: &TaskId, node: &Node) -> Result<(), StoreError> {
    let same = tx.get_text::<Node>(&node.id).is_some_and(|now| now.meta() == node.meta());
    let here = |task: &&Arc<Task>| task.node_id == node.id && rules::is_concerned(task);
    if !same || tx.get::<Task>(id).filter(here).is_none() {
        return Ok(());
    }
    let timestamp = Some(tx.now());
    tx.modify::<Task>(id, |task| {
        // Of what the engine said last only the container is of use later.
        let runtime_status = task.status.take().and_then(|status| status.runtime_status);
        task.status = Some(TaskStatus {
            timestamp,
            state: TaskState::Rejected.into(),
            message: REJECTED.to_owned(),
            err: REJECTED_ERR.to_owned(),
            runtime_status,
            ..Default::default()
        });
    })?;
    Ok(())
}
