//! Autolock: a restarted manager waits for the unlock key, and the disk holds no secret in clear.

use std::{fs, path::Path};

use skep_proto::{
    skep::{DaemonState, InitRequest, UnlockRequest},
    swarmkit::{Annotations, CreateSecretRequest, KeyRotation, SecretSpec},
};
use skep_testkit::skepd_process::{SETTLE_LIMIT, Skepd};
use tonic::Code;

use crate::support::{create_surely, start, update_cluster};

async fn unlock(manager: &Skepd, key: &str) -> Result<(), tonic::Status> {
    let request = UnlockRequest { unlock_key: key.to_owned() };
    manager.daemon_client().unlock(request).await.map(drop)
}

async fn restart_locked(manager: &mut Skepd) {
    manager.kill();
    manager.restart().await.unwrap();
    manager
        .wait_for("the manager to say that it is locked", SETTLE_LIMIT, async |manager| {
            let status = manager.status().await.map_err(|s| s.to_string())?;
            if status.state() == DaemonState::Locked { Ok(()) } else { Err(format!("{status:?}")) }
        })
        .await
        .unwrap();
}

#[tokio::test]
async fn a_locked_manager_waits_for_its_key_and_says_so() {
    let mut manager = start("manager").await;
    let settings = InitRequest { autolock: true, ..Default::default() };
    let key = manager.init_with(settings).await.unwrap().unlock_key;
    assert!(key.starts_with("SWMKEY-1-"), "the unlock key is shown once");
    create_surely(&manager, "before").await;

    restart_locked(&mut manager).await;
    let status = manager.nodes().await.unwrap_err();
    assert!(status.message().contains("skep swarm unlock"), "{status}");
    let wrong = format!("SWMKEY-1-{}", "A".repeat(43));
    let status = unlock(&manager, &wrong).await.unwrap_err();
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    unlock(&manager, &key).await.unwrap();
    create_surely(&manager, "after").await;
}

#[tokio::test]
async fn a_rotated_unlock_key_takes_the_place_of_the_old_one() {
    let mut manager = start("manager").await;
    let settings = InitRequest { autolock: true, ..Default::default() };
    let old = manager.init_with(settings).await.unwrap().unlock_key;
    update_cluster(&manager, |request| {
        request.rotation = Some(KeyRotation { manager_unlock_key: true, ..Default::default() });
    })
    .await;
    let new = manager.keys().await.unwrap().unlock_key;
    assert_ne!(old, new);
    wait_for_log(&manager, "follows the cluster's unlock key").await;
    restart_locked(&mut manager).await;
    unlock(&manager, &old).await.unwrap_err();
    unlock(&manager, &new).await.unwrap();
    create_surely(&manager, "after").await;
}

#[tokio::test]
async fn a_cluster_that_is_locked_later_leaves_nothing_open_behind() {
    let mut manager = start("manager").await;
    manager.init().await.unwrap();
    create_surely(&manager, "before").await;
    let autolock = |on: bool| {
        move |request: &mut skep_proto::swarmkit::UpdateClusterRequest| {
            let spec = request.spec.get_or_insert_default();
            spec.encryption_config.get_or_insert_default().auto_lock_managers = on;
        }
    };
    update_cluster(&manager, autolock(true)).await;
    // The raft log's key lay on the disk in clear, so it is replaced.
    wait_for_log(&manager, "sealed with a new key").await;
    let key = manager.keys().await.unwrap().unlock_key;
    restart_locked(&mut manager).await;
    unlock(&manager, &key).await.unwrap();
    create_surely(&manager, "after").await;

    update_cluster(&manager, autolock(false)).await;
    manager
        .wait_for("the unlock key to be gone", SETTLE_LIMIT, async |manager| {
            let pem = fs::read_to_string(manager.state_dir().join("certificates/swarm-node.key"));
            let pem = pem.map_err(|error| error.to_string())?;
            if pem.contains("ENCRYPTED") { Err("the key is sealed".to_owned()) } else { Ok(()) }
        })
        .await
        .unwrap();
    manager.kill();
    manager.restart().await.unwrap();
    create_surely(&manager, "unlocked").await;
}

async fn wait_for_log(manager: &Skepd, text: &str) {
    manager
        .wait_for(text, SETTLE_LIMIT, async |manager| {
            let log = fs::read_to_string(manager.log_path()).map_err(|error| error.to_string())?;
            if log.contains(text) { Ok(()) } else { Err("it is not in the log".to_owned()) }
        })
        .await
        .unwrap();
}

/// Every file below a folder that contains these bytes.
fn files_with(folder: &Path, needle: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files_with(&path, needle));
        } else if fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle) {
            found.push(path.display().to_string());
        }
    }
    found
}

#[tokio::test]
async fn the_disk_holds_no_secret_in_clear() {
    const PAYLOAD: &str = "the-payload-that-nobody-may-find";
    let mut manager = start("manager").await;
    let settings = InitRequest { autolock: true, snapshot_interval: 50, ..Default::default() };
    let keys = manager.init_with(settings).await.unwrap();
    let spec = SecretSpec {
        annotations: Some(Annotations { name: "secret".into(), ..Default::default() }),
        data: PAYLOAD.into(),
        ..Default::default()
    };
    let request = CreateSecretRequest { spec: Some(spec) };
    manager.control_client().create_secret(request).await.unwrap();
    // Enough for a snapshot, so that both the log and a snapshot hold it.
    for number in 0..120 {
        create_surely(&manager, &format!("config-{number}")).await;
    }
    manager.stop().await.unwrap();
    let folder = manager.state_dir();
    assert!(fs::read_dir(folder.join("raft")).unwrap().count() > 1, "there is a raft log");
    let secret_of = |token: &str| token.rsplit('-').next().unwrap().to_owned();
    let needles = [
        PAYLOAD.to_owned(),
        secret_of(&keys.worker_join_token),
        secret_of(&keys.manager_join_token),
        secret_of(&keys.unlock_key),
        "BEGIN PRIVATE KEY".to_owned(),
        "BEGIN EC PRIVATE KEY".to_owned(),
    ];
    for needle in needles {
        assert_eq!(files_with(&folder, needle.as_bytes()), Vec::<String>::new(), "{needle}");
    }
}
