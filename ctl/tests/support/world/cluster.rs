//! The methods of the cluster object.

use skep_proto::swarmkit::*;
use tonic::Status;

use super::{World, samples::tokens};

pub fn list_clusters(
    world: &mut World,
    _: ListClustersRequest,
) -> Result<ListClustersResponse, Status> {
    if world.rotation_looks > 0 {
        world.rotation_looks -= 1;
        if world.rotation_looks == 0 {
            let ca = world.cluster.root_ca.as_mut().unwrap();
            ca.root_rotation = None;
            ca.ca_cert = "ROOT TWO\n".into();
        }
    }
    Ok(ListClustersResponse { clusters: vec![world.cluster.clone()] })
}

pub fn update_cluster(
    world: &mut World,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, Status> {
    let mut meta = world.cluster.meta.take();
    let checked = world.check_version(&mut meta, request.cluster_version);
    world.cluster.meta = meta;
    checked?;
    let spec = request.spec.unwrap_or_default();
    let old = world.cluster.spec.replace(spec.clone()).unwrap_or_default();
    let rotation = request.rotation.unwrap_or_default();
    let ca = world.cluster.root_ca.as_mut().unwrap();
    if rotation.worker_join_token {
        world.keys.worker_join_token.push_str("-new");
    }
    if rotation.manager_join_token {
        world.keys.manager_join_token.push_str("-new");
    }
    let locks = spec.encryption_config.unwrap_or_default().auto_lock_managers;
    let locked = old.encryption_config.unwrap_or_default().auto_lock_managers;
    if rotation.manager_unlock_key || locks && !locked {
        world.keys.unlock_key.push_str("SWMKEY-1-new");
    }
    ca.join_tokens = Some(tokens(&world.keys));
    let turns = |spec: &ClusterSpec| spec.ca_config.as_ref().map_or(0, |c| c.force_rotate);
    if turns(&spec) != turns(&old) {
        ca.root_rotation = Some(RootRotation::default());
    }
    Ok(UpdateClusterResponse { cluster: Some(world.cluster.clone()) })
}
