//! The cluster object: shown without its secrets, and changed with its keys and root.

use skep_ca::{JoinToken, RootDigest, UnlockKey};
use skep_proto::swarmkit::{
    Cluster, EncryptionKey, GetClusterRequest, GetClusterResponse, JoinTokens, KeyRotation,
    ListClustersRequest, ListClustersResponse, UpdateClusterRequest, UpdateClusterResponse,
};
use skep_store::StoreError;

use super::{
    CaChangeError, ControlService, at_version,
    errors::ControlError,
    filters::{common_filter, own_labels},
    node::purge_blacklist,
    redact, validate, wanted,
};

/// The subsystem of the key that opens the managers' disks: the role that it is for.
const UNLOCK_KEY_SUBSYSTEM: &str = "swarm-manager";

/// One cluster: there is one.
pub(super) async fn get(
    control: &ControlService,
    request: GetClusterRequest,
) -> Result<GetClusterResponse, ControlError> {
    let view = control.read().await?;
    let cluster = redact::cluster(wanted(&view, &request.cluster_id)?);
    Ok(GetClusterResponse { cluster: Some(cluster) })
}

/// The clusters that pass the filters: one or none.
pub(super) async fn list(
    control: &ControlService,
    request: ListClustersRequest,
) -> Result<ListClustersResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let view = control.read().await?;
    let clusters = filter.list::<Cluster>(&view, own_labels, |_| true);
    Ok(ListClustersResponse { clusters: clusters.iter().map(redact::cluster).collect() })
}

/// Replaces the cluster's spec, starts what follows from it (a root rotation, locking, unlocking) and makes the keys anew
/// that `rotation` names.
pub(super) async fn update(
    control: &ControlService,
    request: UpdateClusterRequest,
) -> Result<UpdateClusterResponse, ControlError> {
    let spec = validate::cluster_spec(&request.spec)?;
    let rotation = request.rotation.unwrap_or_default();
    let version = request.cluster_version;
    let root_ca = {
        let view = control.read().await?;
        let based_on: Cluster = at_version(&view, &request.cluster_id, version)?;
        let current = wanted::<Cluster>(&view, &request.cluster_id)?;
        // The new root is decided on what the client has seen; the store asks the same again when it is written.
        let index = |cluster: &Cluster| {
            cluster.meta.and_then(|meta| meta.version).map_or(0, |version| version.index)
        };
        if index(current) != index(&based_on) {
            return Err(ControlError::Store(StoreError::OutOfSequence {
                kind: skep_store::Kind::Cluster,
                id: current.id.clone(),
                stored: index(current),
                given: index(&based_on),
            }));
        }
        let wanted_ca = spec.ca_config.clone().unwrap_or_default();
        control.ca.change(current, &wanted_ca).await?
    };
    let cluster = control
        .write(|tx| {
            let mut cluster: Cluster = at_version(tx, &request.cluster_id, version)?;
            cluster.spec = Some(spec.clone());
            cluster.root_ca = Some(root_ca);
            purge_blacklist(&mut cluster, tx.now());
            rotate_join_tokens(&mut cluster, &rotation);
            lock_or_unlock(&mut cluster, rotation.manager_unlock_key);
            Ok(tx.update(cluster)?)
        })
        .await?;
    Ok(UpdateClusterResponse { cluster: Some(redact::cluster(&cluster)) })
}

impl From<CaChangeError> for ControlError {
    fn from(error: CaChangeError) -> ControlError {
        match error {
            CaChangeError::Invalid(text) => ControlError::argument(text),
            CaChangeError::Failed(text) => ControlError::Internal(text),
        }
    }
}

/// The root stays; who has the old token can no longer join.
fn rotate_join_tokens(cluster: &mut Cluster, rotation: &KeyRotation) {
    let Some(root_ca) = &mut cluster.root_ca else { return };
    let root = RootDigest::of(&root_ca.ca_cert);
    let new_token = || JoinToken::generate(root, cluster.fips).expose().to_owned();
    let tokens = root_ca.join_tokens.get_or_insert_with(JoinTokens::default);
    if rotation.worker_join_token {
        tokens.worker = new_token();
    }
    if rotation.manager_join_token {
        tokens.manager = new_token();
    }
}

/// A locked cluster has one unlock key, made when it becomes locked or on demand; an unlocked one has none.
fn lock_or_unlock(cluster: &mut Cluster, rotate: bool) {
    let locked = cluster
        .spec
        .as_ref()
        .and_then(|spec| spec.encryption_config.as_ref())
        .is_some_and(|config| config.auto_lock_managers);
    let keys = &mut cluster.unlock_keys;
    if !locked || rotate {
        keys.retain(|key| key.subsystem != UNLOCK_KEY_SUBSYSTEM);
    }
    if locked && !keys.iter().any(|key| key.subsystem == UNLOCK_KEY_SUBSYSTEM) {
        keys.push(EncryptionKey {
            subsystem: UNLOCK_KEY_SUBSYSTEM.into(),
            key: UnlockKey::generate().raw().expose().to_vec().into(),
            ..Default::default()
        });
    }
}
