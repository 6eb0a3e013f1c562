//! The one cluster object, and updates that are made again when somebody else was faster.

use skep_proto::swarmkit::{
    Cluster, ClusterSpec, GetNodeRequest, KeyRotation, ListClustersRequest, Node, NodeSpec,
    UpdateClusterRequest, UpdateNodeRequest,
};

use crate::{
    connect::Connection,
    errors::{Failure, is_out_of_sequence},
};

/// How often an update is tried: a loss means that somebody else won, so more than a few in a row is no accident.
const UPDATE_ATTEMPTS_MAX: usize = 10;

/// The cluster that the daemon belongs to.
pub async fn cluster(connection: &Connection) -> Result<Cluster, Failure> {
    let request = connection.request(ListClustersRequest::default());
    let reply = connection.control().list_clusters(request).await;
    let clusters = reply.map_err(Failure::call("read the swarm"))?.into_inner().clusters;
    let doing = || "read the swarm".to_owned();
    clusters.into_iter().next().ok_or(Failure::Incomplete { doing: doing(), missing: "cluster" })
}

/// Changes the cluster's spec with `change`, which may run several times, and rotates what `rotation` says.
pub async fn update_cluster(
    connection: &Connection,
    rotation: KeyRotation,
    mut change: impl FnMut(&mut ClusterSpec),
) -> Result<Cluster, Failure> {
    let doing = "update the swarm";
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let current = cluster(connection).await?;
        let mut spec = current.spec.unwrap_or_default();
        change(&mut spec);
        let request = connection.request(UpdateClusterRequest {
            cluster_id: current.id,
            cluster_version: current.meta.and_then(|m| m.version),
            spec: Some(spec),
            rotation: Some(rotation),
        });
        match connection.control().update_cluster(request).await {
            Ok(reply) => {
                let missing = Failure::Incomplete { doing: doing.into(), missing: "cluster" };
                return reply.into_inner().cluster.ok_or(missing);
            }
            Err(status) if is_out_of_sequence(&status) => {}
            Err(status) => return Err(Failure::call(doing)(status)),
        }
    }
    Err(Failure::Contended { doing: doing.into(), attempts: UPDATE_ATTEMPTS_MAX })
}

/// Changes a node's spec with `change`, which may run several times and says whether there is anything to change.
/// Gives whether the node was changed.
pub async fn update_node(
    connection: &Connection,
    node: Node,
    mut change: impl FnMut(&mut NodeSpec) -> bool,
) -> Result<bool, Failure> {
    let doing = || format!("update node {}", node.id);
    let mut current = node.clone();
    for _ in 0..UPDATE_ATTEMPTS_MAX {
        let mut spec = current.spec.take().unwrap_or_default();
        if !change(&mut spec) {
            return Ok(false);
        }
        let request = connection.request(UpdateNodeRequest {
            node_id: node.id.clone(),
            node_version: current.meta.take().and_then(|m| m.version),
            spec: Some(spec),
        });
        match connection.control().update_node(request).await {
            Ok(_) => return Ok(true),
            Err(status) if is_out_of_sequence(&status) => {}
            Err(status) => return Err(Failure::call(doing())(status)),
        }
        let request = connection.request(GetNodeRequest { node_id: node.id.clone() });
        let reply = connection.control().get_node(request).await;
        let reply = reply.map_err(|s| Failure::call(doing())(s))?.into_inner();
        current = reply.node.ok_or(Failure::Incomplete { doing: doing(), missing: "node" })?;
    }
    Err(Failure::Contended { doing: doing(), attempts: UPDATE_ATTEMPTS_MAX })
}
