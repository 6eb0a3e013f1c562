//! Removing a node: it is shut out, its tasks are given up and it is deleted, all in one transaction.

use skep_ca::certificate::Certificate;
use skep_proto::{
    ids::{NodeId, TaskId},
    prost_types::Timestamp,
    swarmkit::{
        BlacklistedCertificate, Cluster, Node, NodeRole, RemoveNodeRequest, RemoveNodeResponse,
        Task, TaskState, TaskStatus, node_status::State,
    },
};
use skep_store::{By, Refusal, Tx};

use super::super::{ControlService, errors::ControlError, id_of, wanted};
use crate::group::Group;

/// The name of the one cluster object.
const CLUSTER_NAME: &str = "default";
/// How long an entry of the blacklist outlives the certificate that it shuts out, in seconds: clocks may differ.
const BLACKLIST_GRACE_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Removes a node that is no manager any more, and is down or removed by force.
pub(in super::super) async fn remove(
    control: &ControlService,
    request: RemoveNodeRequest,
) -> Result<RemoveNodeResponse, ControlError> {
    let once = || {
        control.write(|tx| {
            let id = removable(tx, &*control.group, &request)?;
            shut_out(tx, &id)?;
            for task in unfinished_tasks(tx, id) {
                orphan(tx, &task)?;
            }
            tx.remove::<Node>(&id)?;
            Ok(())
        })
    };
    match once().await {
        // More tasks than fit one write: give them up in several first.
        Err(ControlError::Refused(Refusal::TooLarge)) => {
            orphan_in_batches(control, &request).await?;
            once().await?;
        }
        result => result?,
    }
    Ok(RemoveNodeResponse {})
}

fn removable(
    tx: &Tx,
    group: &dyn Group,
    request: &RemoveNodeRequest,
) -> Result<NodeId, ControlError> {
    let node = wanted::<Node>(tx, &request.node_id)?;
    let manager = node.spec.as_ref().is_some_and(|spec| spec.desired_role() == NodeRole::Manager);
    if manager && group.members().iter().any(|member| member.node_id == node.id) {
        return Err(ControlError::Precondition(format!(
            "node {} is a cluster manager and is a member of the raft cluster. It must be demoted to worker before \
             removal",
            node.id
        )));
    }
    let ready = node.status.as_ref().is_some_and(|status| status.state() == State::Ready);
    if ready && !request.force {
        return Err(ControlError::Precondition(format!(
            "node {} is not down and can't be removed; stop it first, or use force",
            node.id
        )));
    }
    id_of(&**node)
}

/// Puts the node's certificate on the blacklist until it has run out, and takes off those that have.
fn shut_out(tx: &mut Tx, id: &NodeId) -> Result<(), ControlError> {
    let expiry = tx.get::<Node>(id).and_then(|node| certificate_expiry(node));
    let Some(cluster) = tx.find_one::<Cluster>(By::Name(CLUSTER_NAME.into())) else {
        return Err(ControlError::Internal(format!(
            "the cluster object {CLUSTER_NAME:?} is missing: node {id} cannot be shut out"
        )));
    };
    let mut cluster = Cluster::clone(cluster);
    purge_blacklist(&mut cluster, tx.now());
    cluster.blacklisted_certificates.insert(id.to_string(), BlacklistedCertificate { expiry });
    tx.update(cluster)?;
    Ok(())
}

/// When the node's last certificate runs out; none if there is none that can be read, and then it stays shut out for ever.
fn certificate_expiry(node: &Node) -> Option<Timestamp> {
    let chain = Certificate::from_pem(&node.certificate.as_ref()?.certificate).ok()?;
    Some(Timestamp::from(chain.first()?.not_after))
}

/// Takes entries off the blacklist whose certificates ran out long enough ago. Entries without an expiry stay.
pub(in super::super) fn purge_blacklist(cluster: &mut Cluster, now: Timestamp) {
    cluster.blacklisted_certificates.retain(|_, entry| {
        entry
            .expiry
            .is_none_or(|at| at.seconds.saturating_add(BLACKLIST_GRACE_SECONDS) >= now.seconds)
    });
}

/// What ran to its end keeps its last word; everything else is lost with the node.
fn unfinished_tasks(tx: &Tx, node: NodeId) -> Vec<TaskId> {
    tx.find::<Task>(By::Node(node))
        .filter(|task| task.status.as_ref().is_none_or(|s| s.state < TaskState::Complete as i32))
        .filter_map(|task| task.id.parse().ok())
        .collect()
}

fn orphan(tx: &mut Tx, id: &TaskId) -> Result<(), ControlError> {
    let now = tx.now();
    tx.modify::<Task>(id, |task| {
        task.status = Some(TaskStatus {
            timestamp: Some(now),
            state: TaskState::Orphaned.into(),
            message: "the task's node was removed from the cluster".into(),
            ..Default::default()
        });
    })?;
    Ok(())
}

async fn orphan_in_batches(
    control: &ControlService,
    request: &RemoveNodeRequest,
) -> Result<(), ControlError> {
    let tasks = control
        .write(|tx| {
            let id = removable(tx, &*control.group, request)?;
            Ok(unfinished_tasks(tx, id))
        })
        .await?;
    let results = control
        .store
        .batch(tasks, |tx, id| match tx.get::<Task>(&id) {
            Some(_) => orphan(tx, &id),
            None => Ok(()),
        })
        .await;
    results.into_iter().try_for_each(|result| result.map_err(ControlError::from))
}
