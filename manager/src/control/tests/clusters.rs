//! The cluster: what is shown of it, and what an update does to its keys.

use skep_proto::{
    prost_types::Timestamp,
    swarmkit::{
        BlacklistedCertificate, EncryptionConfig, EncryptionKey, GetClusterRequest, JoinTokens,
        KeyRotation, ListClustersRequest, UpdateClusterRequest,
    },
};

use super::*;

fn update(h: &Harness, spec: ClusterSpec, rotation: KeyRotation) -> UpdateClusterRequest {
    UpdateClusterRequest {
        cluster_id: "c".into(),
        cluster_version: version_of(&*h.get::<Cluster>("c").unwrap()),
        spec: Some(spec),
        rotation: Some(rotation),
    }
}

fn spec() -> ClusterSpec {
    ClusterSpec { annotations: named("default"), ..Default::default() }
}

fn locked() -> ClusterSpec {
    ClusterSpec { encryption_config: Some(EncryptionConfig { auto_lock_managers: true }), ..spec() }
}

async fn with_cluster() -> Harness {
    let h = Harness::new();
    let mut cluster = cluster();
    cluster.root_ca.as_mut().unwrap().ca_key = "hunter2".into();
    cluster.root_ca.as_mut().unwrap().join_tokens =
        Some(JoinTokens { worker: "w".into(), manager: "m".into() });
    h.put(cluster).await;
    h
}

fn tokens(cluster: &Cluster) -> (String, String) {
    let tokens = cluster.root_ca.as_ref().unwrap().join_tokens.clone().unwrap();
    (tokens.worker.clone(), tokens.manager.clone())
}

#[tokio::test]
async fn a_cluster_is_shown_without_its_keys() {
    let h = with_cluster().await;
    let got = done!(h, get_cluster, GetClusterRequest { cluster_id: "c".into() }).cluster.unwrap();
    let listed = done!(h, list_clusters, ListClustersRequest::default()).clusters;
    let updated =
        done!(h, update_cluster, update(&h, locked(), KeyRotation::default())).cluster.unwrap();
    for cluster in [&got, &listed[0], &updated] {
        assert!(cluster.root_ca.as_ref().unwrap().ca_key.is_empty());
        assert!(cluster.unlock_keys.is_empty());
        assert_eq!(cluster.default_address_pool, ["10.0.0.0/8"]);
        assert_eq!(tokens(cluster).0, "w");
    }
    assert_eq!(h.get::<Cluster>("c").unwrap().root_ca.as_ref().unwrap().ca_key, "hunter2");
    assert_eq!(
        refused!(h, get_cluster, GetClusterRequest { cluster_id: "d".into() }),
        says(Code::NotFound, "cluster d not found")
    );
}

#[tokio::test]
async fn a_malformed_or_stale_update_changes_nothing() {
    let h = with_cluster().await;
    let good = || update(&h, spec(), KeyRotation::default());
    for (request, expected) in [
        (
            UpdateClusterRequest { cluster_id: String::new(), ..good() },
            says(Code::InvalidArgument, "the id of the cluster must be provided"),
        ),
        (
            UpdateClusterRequest { cluster_id: "d".into(), ..good() },
            says(Code::NotFound, "cluster d not found"),
        ),
        (
            UpdateClusterRequest { cluster_version: None, ..good() },
            says(
                Code::InvalidArgument,
                "the version of the cluster must be provided: the one that the change is based on",
            ),
        ),
        (UpdateClusterRequest { cluster_version: Some(Version { index: 77 }), ..good() }, stale()),
        (
            UpdateClusterRequest { spec: None, ..good() },
            says(Code::InvalidArgument, "the cluster's spec is missing"),
        ),
        (
            UpdateClusterRequest {
                spec: Some(ClusterSpec { annotations: named("mine"), ..spec() }),
                ..good()
            },
            says(
                Code::InvalidArgument,
                "modification of cluster name is not allowed: it is \"default\", not \"mine\"",
            ),
        ),
    ] {
        assert_eq!(refused!(h, update_cluster, request), expected);
    }
    assert!(h.ca.asked.lock().is_empty(), "no stale update asks the authority");
}

#[tokio::test]
async fn each_join_token_is_rotated_on_its_own() {
    let h = with_cluster().await;
    done!(
        h,
        update_cluster,
        update(&h, spec(), KeyRotation { worker_join_token: true, ..Default::default() })
    );
    let (worker, manager) = tokens(&h.get::<Cluster>("c").unwrap());
    let token: skep_ca::JoinToken = worker.parse().unwrap();
    assert_eq!((token.root(), manager.as_str()), (skep_ca::RootDigest::of(b"root"), "m"));
    done!(
        h,
        update_cluster,
        update(&h, spec(), KeyRotation { manager_join_token: true, ..Default::default() })
    );
    let (same, manager) = tokens(&h.get::<Cluster>("c").unwrap());
    assert_eq!(same, worker);
    assert!(manager.parse::<skep_ca::JoinToken>().is_ok());
}

#[tokio::test]
async fn a_cluster_is_locked_rekeyed_and_unlocked() {
    let h = with_cluster().await;
    let key = || {
        let cluster = h.get::<Cluster>("c").unwrap();
        let keys: Vec<EncryptionKey> = cluster.unlock_keys.clone();
        keys.into_iter().map(|key| (key.subsystem.clone(), key.key.clone())).collect::<Vec<_>>()
    };
    let rotate = KeyRotation { manager_unlock_key: true, ..Default::default() };
    done!(h, update_cluster, update(&h, spec(), rotate));
    assert_eq!(key(), [], "an unlocked cluster has no key to rotate");
    done!(h, update_cluster, update(&h, locked(), KeyRotation::default()));
    let first = key();
    assert_eq!((first.len(), first[0].0.as_str(), first[0].1.len()), (1, "swarm-manager", 32));
    done!(h, update_cluster, update(&h, locked(), KeyRotation::default()));
    assert_eq!(key(), first, "it stays");
    done!(h, update_cluster, update(&h, locked(), rotate));
    assert_eq!(key().len(), 1);
    assert_ne!(key(), first);
    done!(h, update_cluster, update(&h, spec(), KeyRotation::default()));
    assert_eq!(key(), []);
}

#[tokio::test]
async fn the_authority_decides_about_the_root() {
    let h = with_cluster().await;
    let config = CaConfig { force_rotate: 1, ..Default::default() };
    let rotating = || ClusterSpec { ca_config: Some(config.clone()), ..spec() };
    for (answer, expected) in [
        (
            CaChangeError::Invalid("no such root".into()),
            says(Code::InvalidArgument, "no such root"),
        ),
        (CaChangeError::Failed("no signer".into()), says(Code::Internal, "no signer")),
    ] {
        *h.ca.answer.lock() = Some(Err(answer));
        assert_eq!(
            refused!(h, update_cluster, update(&h, rotating(), KeyRotation::default())),
            expected
        );
    }
    let root = RootCa { ca_cert: "next".into(), last_forced_rotation: 1, ..Default::default() };
    *h.ca.answer.lock() = Some(Ok(root));
    done!(h, update_cluster, update(&h, rotating(), KeyRotation::default()));
    assert_eq!(h.get::<Cluster>("c").unwrap().root_ca.as_ref().unwrap().ca_cert, "next");
    assert_eq!(h.ca.asked.lock().last(), Some(&config));
}

#[tokio::test]
async fn an_update_clears_out_what_has_run_out() {
    let h = Harness::new();
    let expiry = Some(Timestamp { seconds: NOW - 8 * 24 * 60 * 60, nanos: 0 });
    let mut old = cluster();
    old.blacklisted_certificates = [
        ("gone".to_owned(), BlacklistedCertificate { expiry }),
        ("kept".to_owned(), BlacklistedCertificate::default()),
    ]
    .into();
    h.put(old).await;
    done!(h, update_cluster, update(&h, spec(), KeyRotation::default()));
    let kept = h.get::<Cluster>("c").unwrap();
    assert_eq!(kept.blacklisted_certificates.keys().collect::<Vec<_>>(), ["kept"]);
}
