//! What the tests of clusters share: where the daemon is, and objects to write and to look for.

use std::{collections::BTreeSet, path::Path};

use skep_proto::swarmkit::{
    Annotations, Cluster, ConfigSpec, CreateConfigRequest, ListClustersRequest, ListConfigsRequest,
    NodeSpec, UpdateClusterRequest, UpdateNodeRequest,
};
use skep_testkit::skepd_process::{SETTLE_LIMIT, Skepd, SkepdCluster, SkepdOptions};
use tonic::{Code, Request, Status};

/// The daemon under test.
pub fn skepd() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_skepd"))
}

/// A daemon that is part of nothing yet.
pub async fn start(name: &str) -> Skepd {
    Skepd::start(SkepdOptions::new(skepd(), name)).await.unwrap()
}

/// A cluster of so many managers.
pub async fn cluster(managers: usize) -> SkepdCluster {
    SkepdCluster::form(skepd(), managers).await.unwrap()
}

/// Creates a config with this name.
pub async fn create(manager: &Skepd, name: &str) -> Result<(), Status> {
    let spec = ConfigSpec {
        annotations: Some(Annotations { name: name.to_owned(), ..Default::default() }),
        data: "payload".into(),
        ..Default::default()
    };
    let mut request = Request::new(CreateConfigRequest { spec: Some(spec) });
    request.set_timeout(SETTLE_LIMIT);
    manager.control_client().create_config(request).await.map(drop)
}

/// Creates a config and asks again until it is certain that it is there.
pub async fn create_surely(manager: &Skepd, name: &str) {
    manager
        .wait_for("a write to be taken", SETTLE_LIMIT, async |manager| {
            match create(manager, name).await {
                Ok(()) => Ok(()),
                // An attempt whose answer was lost had succeeded.
                Err(status) if status.code() == Code::AlreadyExists => Ok(()),
                Err(status) => Err(status.to_string()),
            }
        })
        .await
        .unwrap();
}

/// The names of all configs, each of which must be there once.
pub async fn names(manager: &Skepd) -> BTreeSet<String> {
    let listed = manager
        .wait_for("the configs to be listed", SETTLE_LIMIT, async |manager| {
            let request = ListConfigsRequest::default();
            manager.control_client().list_configs(request).await.map_err(|s| s.to_string())
        })
        .await
        .unwrap()
        .into_inner()
        .configs;
    let count = listed.len();
    let names: BTreeSet<_> =
        listed.into_iter().map(|config| config.spec.unwrap().annotations.unwrap().name).collect();
    assert_eq!(names.len(), count, "a config is there twice");
    names
}

/// The cluster object as operators see it.
pub async fn cluster_object(manager: &Skepd) -> Cluster {
    let request = ListClustersRequest::default();
    let response = manager.control_client().list_clusters(request).await.unwrap();
    response.into_inner().clusters.remove(0)
}

/// Changes the cluster, reading it again when somebody else did so in between.
pub async fn update_cluster(manager: &Skepd, change: impl Fn(&mut UpdateClusterRequest)) {
    manager
        .wait_for("the cluster to be updated", SETTLE_LIMIT, async |manager| {
            let cluster = cluster_object(manager).await;
            let mut request = UpdateClusterRequest {
                cluster_id: cluster.id,
                cluster_version: cluster.meta.and_then(|meta| meta.version),
                spec: cluster.spec,
                rotation: None,
            };
            change(&mut request);
            manager.control_client().update_cluster(request).await.map_err(|s| s.to_string())
        })
        .await
        .unwrap();
}

/// Changes the spec of a node.
pub async fn update_node(
    manager: &Skepd,
    node_id: &str,
    change: impl Fn(&mut NodeSpec),
) -> Result<(), Status> {
    let nodes = manager.nodes().await?;
    let node = nodes.into_iter().find(|node| node.id == node_id).expect("the node is listed");
    let mut spec = node.spec.unwrap();
    change(&mut spec);
    let request = UpdateNodeRequest {
        node_id: node_id.to_owned(),
        node_version: node.meta.and_then(|meta| meta.version),
        spec: Some(spec),
    };
    manager.control_client().update_node(request).await.map(drop)
}
