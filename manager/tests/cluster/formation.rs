//! A cluster is formed by one init and joins with a token.

use skep_proto::{
    skep::{GetRaftStatusRequest, GetRaftStatusResponse},
    swarmkit::NodeRole,
};
use skep_testkit::skepd_process::{SETTLE_LIMIT, Skepd};

use crate::support::{cluster, create, create_surely, names, start, update_cluster};

async fn raft_status(manager: &Skepd) -> GetRaftStatusResponse {
    manager.raft_client().get_raft_status(GetRaftStatusRequest {}).await.unwrap().into_inner()
}

#[tokio::test]
async fn three_daemons_form_a_cluster_and_every_one_of_them_serves_it() {
    let cluster = cluster(3).await;
    for manager in &cluster.managers {
        let nodes = manager.wait_until_ready(3, 3).await.unwrap();
        let leaders = nodes.iter().filter(|n| n.manager_status.as_ref().is_some_and(|m| m.leader));
        assert_eq!(leaders.count(), 1);
        for node in nodes {
            let tls = node.description.unwrap().tls_info.unwrap();
            assert!(!tls.trust_root.is_empty() && !tls.cert_issuer_public_key.is_empty());
        }
        create(manager, manager.name()).await.unwrap();
    }
    for manager in &cluster.managers {
        // A read sees every write that was acknowledged before it, on whichever manager.
        assert_eq!(names(manager).await.len(), 3);
    }
}

#[tokio::test]
async fn the_raft_group_is_what_its_members_say_it_is() {
    let cluster = cluster(3).await;
    let leader = cluster.leader().await.unwrap();
    let mut ids = Vec::new();
    for (place, manager) in cluster.managers.iter().enumerate() {
        let status = raft_status(manager).await;
        assert_eq!(status.members.len(), 3);
        assert_eq!(status.serving_writes, place == leader);
        assert!(!status.swarmkit_compatible, "a group of our own ticks fast");
        ids.push(status.leader_raft_id);
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "all know the same leader");
}

#[tokio::test]
async fn a_worker_joins_with_the_workers_token_and_is_promoted() {
    let cluster = cluster(1).await;
    let first = &cluster.managers[0];
    let worker = start("worker").await;
    let token = first.keys().await.unwrap().worker_join_token;
    let joined = worker.join(first, &token).await.unwrap();
    assert_eq!(joined.role, "swarm-worker");
    first.wait_until_ready(2, 1).await.unwrap();

    crate::support::update_node(first, &joined.node_id, |spec| {
        spec.set_desired_role(NodeRole::Manager);
    })
    .await
    .unwrap();
    first.wait_until_ready(2, 2).await.unwrap();
    create_surely(&worker, "written-by-the-new-manager").await;
}

#[tokio::test]
async fn a_group_that_is_opened_to_stock_managers_keeps_nothing_that_they_cannot_read() {
    let cluster = cluster(3).await;
    let manager = &cluster.managers[0];
    create(manager, "written-before").await.unwrap();
    let before = raft_status(manager).await.commit_index;
    update_cluster(manager, |request| {
        let spec = request.spec.get_or_insert_default();
        spec.annotations.get_or_insert_default().labels.remove("skep.raft.timing");
    })
    .await;
    for manager in &cluster.managers {
        manager
            .wait_for("the log to be dropped for a snapshot", SETTLE_LIMIT, async |manager| {
                let status = raft_status(manager).await;
                let done = status.swarmkit_compatible
                    && status.snapshot_index > before
                    && status.first_index > before;
                if done { Ok(()) } else { Err(format!("{status:?}")) }
            })
            .await
            .unwrap();
    }
    create_surely(manager, "written-after").await;
}
