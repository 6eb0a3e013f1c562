//! The root is rotated under a cluster that goes on working.

use std::{cell::Cell, time::Duration};

use skep_proto::swarmkit::NodeRole;

use crate::support::{cluster, cluster_object, create, names, start, update_cluster};

/// Rounds are three seconds apart, and each node has to renew and to report.
const ROTATION_LIMIT: Duration = Duration::from_secs(90);

#[tokio::test]
async fn the_root_is_rotated_while_every_call_succeeds() {
    let cluster = cluster(3).await;
    let leader = &cluster.managers[cluster.leader().await.unwrap()];
    let worker = start("worker").await;
    let before = leader.keys().await.unwrap();
    worker.join(leader, &before.worker_join_token).await.unwrap();
    leader.wait_until_ready(4, 3).await.unwrap();
    let old_root = cluster_object(leader).await.root_ca.unwrap().ca_cert;

    update_cluster(leader, |request| {
        let spec = request.spec.as_mut().unwrap();
        spec.ca_config.get_or_insert_default().force_rotate += 1;
    })
    .await;

    // Calls through each manager, forwarded ones among them, until every node trusts the new root.
    let written = Cell::new(0);
    leader
        .wait_for("every node to trust the new root", ROTATION_LIMIT, async |leader| {
            for manager in &cluster.managers {
                create(manager, &format!("during-{}", written.get())).await.unwrap();
                written.set(written.get() + 1);
            }
            let root = cluster_object(leader).await.root_ca.unwrap();
            let lagging = leader.nodes().await.unwrap().into_iter().filter(|node| {
                let tls = node.description.as_ref().and_then(|d| d.tls_info.as_ref());
                tls.is_none_or(|tls| tls.trust_root != root.ca_cert)
            });
            match (root.ca_cert == old_root, lagging.count()) {
                (true, _) => Err("the old root is still in use".to_owned()),
                (false, 0) => Ok(()),
                (false, lagging) => Err(format!("{lagging} nodes still trust another root")),
            }
        })
        .await
        .unwrap();
    assert_eq!(names(leader).await.len(), written.get());

    let after = leader.keys().await.unwrap();
    assert_ne!(after.worker_join_token, before.worker_join_token);
    assert_ne!(after.manager_join_token, before.manager_join_token);
    let late = start("late").await;
    let refused = late.join(leader, &before.manager_join_token).await.unwrap_err();
    assert!(refused.to_string().contains("fingerprint"), "{refused:?}");
    late.join(leader, &after.manager_join_token).await.unwrap();
    let nodes = leader.wait_until_ready(5, 4).await.unwrap();
    assert_eq!(nodes.iter().filter(|node| node.role() == NodeRole::Manager).count(), 4);
}
