//! Autolock on one manager: its key file follows the cluster's unlock key, and the raft log's key is changed when it
//! has lain on the disk in clear.

use std::sync::Arc;

use bytes::Bytes;
use skep_ca::{
    KeyFile, UnlockKey,
    key_file::{DataKeys, Kek},
};
use skep_proto::{ids::ClusterId, swarmkit::Cluster};
use skep_raft::{DataKey, Keyring, NodeHandle};
use skep_store::{Kind, Selector, Store, Tables};
use tracing::{error, info};
use zeroize::Zeroizing;

use super::{NodeError, chain};
use crate::leader::defaults::UNLOCK_KEY_SUBSYSTEM;

/// The ring of a node's raft log; its keys are made if there are none.
pub async fn keyring(key_file: &KeyFile) -> Result<Keyring, NodeError> {
    let file = key_file.clone();
    let keys = blocking(move || match file.data_keys() {
        Some(keys) => Ok(keys),
        None => {
            let keys = DataKeys::generate();
            file.set_data_keys(Some(keys.clone())).map(|()| keys)
        }
    })
    .await
    .map_err(|error| NodeError::Ended(error.to_string()))?
    .map_err(|error| NodeError::Identity(chain(&error)))?;
    ring(&keys).ok_or_else(|| {
        NodeError::Identity("the key file's data keys have an unexpected length".to_owned())
    })
}

/// The ring that a key file's data keys make.
fn ring(keys: &DataKeys) -> Option<Keyring> {
    let key = |secret: &skep_ca::Secret| {
        let bytes: [u8; 32] = secret.expose().try_into().ok()?;
        Some(DataKey::new(Zeroizing::new(bytes)))
    };
    let older = keys.older.iter().map(key).collect::<Option<Vec<_>>>()?;
    Some(Keyring { current: key(&keys.current)?, older })
}

/// The key-encryption key that the cluster object asks for.
pub fn wanted(cluster: &Cluster) -> Kek {
    let key = cluster.unlock_keys.iter().find(|key| key.subsystem == UNLOCK_KEY_SUBSYSTEM);
    let raw = key.map(|key| &key.key).filter(|key: &&Bytes| !key.is_empty());
    let version = cluster.meta.as_ref().and_then(|meta| meta.version.as_ref());
    Kek {
        key: raw.and_then(|raw| UnlockKey::from_raw(raw)),
        version: version.map_or(0, |version| version.index),
    }
}

/// Follows the cluster object for as long as it is polled.
pub async fn follow(store: &Store, raft: &NodeHandle, key_file: &KeyFile, cluster_id: ClusterId) {
    loop {
        let (view, mut watcher) = store.watch(Selector::kinds(&[Kind::Cluster]));
        apply(&view, raft, key_file, cluster_id).await;
        drop(view);
        while watcher.next().await.is_ok() {
            apply(&store.view(), raft, key_file, cluster_id).await;
        }
    }
}

async fn apply(tables: &Tables, raft: &NodeHandle, key_file: &KeyFile, cluster_id: ClusterId) {
    let Some(cluster) = tables.get::<Cluster>(&cluster_id) else { return };
    let wanted = wanted(cluster);
    let current = key_file.kek();
    let same =
        wanted.key.as_ref().map(|key| key.raw()) == current.key.as_ref().map(|key| key.raw());
    if !same {
        let file = key_file.clone();
        let sealed = wanted.key.is_some();
        match blocking(move || file.rotate_kek(wanted)).await {
            Ok(Ok(true)) => info!(sealed, "the node's key follows the cluster's unlock key"),
            Ok(Ok(false)) => {}
            Ok(Err(error)) => {
                error!(%error, "the node's key cannot be sealed anew; it keeps its old unlock key")
            }
            Err(error) => error!(%error, "sealing the node's key failed"),
        }
    }
    if key_file.data_keys().is_some_and(|keys| keys.needs_rotation) {
        rotate_data_keys(raft, key_file).await;
    }
}

/// Brings a new key for the raft log in, and lets the old one go once nothing on disk needs it.
async fn rotate_data_keys(raft: &NodeHandle, key_file: &KeyFile) {
    let Some(next) = key_file.data_keys().and_then(|keys| keys.rotated()) else {
        error!("the raft log has too many keys already; the next snapshot lets old ones go");
        return;
    };
    let Some(ring) = ring(&next) else {
        error!("the key file's data keys have an unexpected length");
        return;
    };
    // Durable before anything is sealed with it.
    let (file, keys) = (key_file.clone(), next.clone());
    match blocking(move || file.set_data_keys(Some(keys))).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => return error!(%error, "the new key of the raft log cannot be stored"),
        Err(error) => return error!(%error, "storing the new key of the raft log failed"),
    }
    let current = ring.current.id();
    if let Err(error) = raft.rotate_keys(ring).await {
        return error!(%error, "the raft log cannot be sealed with its new key");
    }
    let only_current =
        |status: &Arc<skep_raft::Status>| status.keys_in_use.iter().all(|key| *key == current);
    if raft.watch_status().wait_for(only_current).await.is_err() {
        // The node has ended; its next start finds both keys and goes on from there.
        return;
    }
    let only = DataKeys { older: Vec::new(), ..next };
    let file = key_file.clone();
    match blocking(move || file.set_data_keys(Some(only))).await {
        Ok(Ok(())) => info!("the raft log is sealed with a new key"),
        Ok(Err(error)) => error!(%error, "the old key of the raft log cannot be let go"),
        Err(error) => error!(%error, "letting go of the old key of the raft log failed"),
    }
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> R + Send + 'static,
) -> Result<R, tokio::task::JoinError> {
    tokio::task::spawn_blocking(work).await
}
