//! The rotation loop: asks nodes whose certificate is not from the new root's key to renew, and ends the rotation when
//! none is left. A node that is down holds it up until it comes back or is removed.

use std::time::Duration;

use skep_ca::{
    root::RootError,
    rotation::{Issuer, finish, lagging, rotate_batch, target_issuer},
};
use skep_proto::{
    ids::{ClusterId, NodeId},
    swarmkit::{Cluster, IssuanceStatus, Node, RootCa, issuance_status::State},
};
use skep_store::{Commit, Event, Kind, Selector, Store, StoreError, Tables, UpdateError};

use super::{cluster, request::state, signers::with_source};

/// Between two rounds. With the size of a round it sets how fast certificates are asked for: ten a second.
const ROUND_INTERVAL: Duration = Duration::from_secs(3);

/// What a round is to do.
#[derive(Clone, Debug, PartialEq)]
enum Round {
    /// No rotation is in progress.
    Idle,
    /// These are asked to renew; none of them, when all that lag have been asked.
    Ask(Vec<NodeId>),
    /// All nodes have certificates from the new key: the rotation can end.
    Finish,
}

/// Carries rotations through for as long as it is polled. Never returns; safe to drop: the next leader goes on.
pub async fn run(store: Store, cluster_id: ClusterId) {
    loop {
        let (view, mut watcher) = store.watch(Selector::kinds(&[Kind::Cluster]));
        let mut rotating = is_rotating(cluster(&view, &cluster_id).map(|c| &**c));
        drop(view);
        loop {
            tokio::select! {
                commit = watcher.next() => match commit {
                    Ok(commit) => rotating = after(&commit, &cluster_id).unwrap_or(rotating),
                    Err(_) => break,
                },
                () = tokio::time::sleep(ROUND_INTERVAL), if rotating => {
                    if let Err(error) = round(&store, &cluster_id).await {
                        tracing::warn!(error = %with_source(&error), "a round of the root rotation failed; it is tried again");
                    }
                }
            }
        }
    }
}

#[derive(Debug, thiserror::Error)]
enum RoundError {
    #[error("the new root CA cannot be used")]
    Root(#[from] RootError),
    #[error("the rotation was not written")]
    Store(#[from] UpdateError<StoreError>),
}

async fn round(store: &Store, cluster_id: &ClusterId) -> Result<(), RoundError> {
    let view = store.view();
    let Some(present) = cluster(&view, cluster_id).and_then(|cluster| cluster.root_ca.clone())
    else {
        return Ok(());
    };
    if present.root_rotation.is_none() {
        return Ok(());
    }
    let target = target_issuer(&present)?;
    let decision = decide(&view, &present, &target);
    drop(view);
    match decision {
        Round::Idle => {}
        Round::Ask(nodes) => ask(store, nodes, &target).await?,
        Round::Finish => {
            if end(store, cluster_id, &present, &target).await? {
                tracing::info!(
                    "the root rotation has ended: the new root is in use, with new join tokens"
                );
            }
        }
    }
    Ok(())
}

fn decide(tables: &Tables, root: &RootCa, target: &Issuer) -> Round {
    if root.root_rotation.is_none() {
        return Round::Idle;
    }
    if !tables.all::<Node>().any(|node| lagging(node, target)) {
        return Round::Finish;
    }
    let nodes = rotate_batch(tables.all::<Node>().map(|node| &**node), target);
    Round::Ask(nodes.iter().filter_map(|node| node.id.parse().ok()).collect())
}

async fn ask(
    store: &Store,
    nodes: Vec<NodeId>,
    target: &Issuer,
) -> Result<(), UpdateError<StoreError>> {
    let results = store.batch(nodes, |tx, node_id| {
        // Judged again: it may have renewed, or begun to, since.
        let still = tx.get::<Node>(&node_id).is_some_and(|node| {
            lagging(node, target)
                && !matches!(state(node), State::Renew | State::Pending | State::Rotate)
        });
        if !still {
            return Ok(());
        }
        tx.modify::<Node>(&node_id, |node| {
            let certificate = node.certificate.get_or_insert_default();
            certificate.status =
                Some(IssuanceStatus { state: State::Rotate.into(), err: String::new() });
        })
        .map(|_| ())
    });
    results.await.into_iter().collect()
}

/// Ends the rotation if it is still the one that was decided on, and still no node lags; says whether it did.
async fn end(
    store: &Store,
    cluster_id: &ClusterId,
    decided_on: &RootCa,
    target: &Issuer,
) -> Result<bool, UpdateError<StoreError>> {
    store
        .update(|tx| {
            let Some(present) = cluster(tx, cluster_id) else { return Ok(false) };
            let requires_fips = present.fips;
            let Some(root) = &present.root_ca else { return Ok(false) };
            if root.root_rotation != decided_on.root_rotation
                || decide(tx, root, target) != Round::Finish
            {
                return Ok(false);
            }
            let Some(done) = finish(root, requires_fips) else { return Ok(false) };
            tx.modify::<Cluster>(cluster_id, |cluster| cluster.root_ca = Some(done))?;
            Ok(true)
        })
        .await
}

fn is_rotating(cluster: Option<&Cluster>) -> bool {
    cluster.and_then(|c| c.root_ca.as_ref()).is_some_and(|root| root.root_rotation.is_some())
}

/// Whether a rotation is in progress after a commit; `None` when it says nothing of the cluster.
fn after(commit: &Commit, cluster_id: &ClusterId) -> Option<bool> {
    commit.events.iter().rev().find_map(|event| match event {
        Event::Cluster(change) if change.id == (*cluster_id).into() => {
            Some(is_rotating(change.new.as_deref()))
        }
        _ => None,
    })
}
