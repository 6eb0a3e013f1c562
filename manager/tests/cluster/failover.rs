//! The leader goes, by kill -9 or by SIGTERM, while a client writes.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering::Relaxed},
};

use skep_testkit::skepd_process::{SETTLE_LIMIT, SkepdCluster};

use crate::support::{cluster, create, create_surely, names};

/// Writes through a manager that lives on while the leader ends by `end`; every acknowledged write must be there once.
async fn leader_ends(mut cluster: SkepdCluster, end: impl AsyncFnOnce(&mut SkepdCluster, usize)) {
    let leader = cluster.leader().await.unwrap();
    let survivor = (leader + 1) % cluster.managers.len();
    let channel = cluster.managers[survivor].control_client();
    let stop = Arc::new(AtomicBool::new(false));
    let writer = tokio::spawn({
        let stop = Arc::clone(&stop);
        async move {
            let mut acknowledged = Vec::new();
            let mut number = 0;
            while !stop.load(Relaxed) {
                let name = format!("write-{number}");
                number += 1;
                let spec = skep_proto::swarmkit::ConfigSpec {
                    annotations: Some(skep_proto::swarmkit::Annotations {
                        name: name.clone(),
                        ..Default::default()
                    }),
                    data: "x".into(),
                    ..Default::default()
                };
                let request = skep_proto::swarmkit::CreateConfigRequest { spec: Some(spec) };
                if channel.clone().create_config(request).await.is_ok() {
                    acknowledged.push(name);
                }
            }
            acknowledged
        }
    });
    create_surely(&cluster.managers[survivor], "before").await;
    end(&mut cluster, leader).await;
    create_surely(&cluster.managers[survivor], "after").await;
    stop.store(true, Relaxed);
    let acknowledged = writer.await.unwrap();
    let stored = names(&cluster.managers[survivor]).await;
    for name in &acknowledged {
        assert!(stored.contains(name), "{name} was acknowledged and is lost");
    }
    assert!(stored.contains("before") && stored.contains("after"));
}

#[tokio::test]
async fn nothing_acknowledged_is_lost_when_the_leader_is_killed() {
    leader_ends(cluster(3).await, async |cluster, leader| {
        cluster.managers[leader].kill();
    })
    .await;
}

#[tokio::test]
async fn a_leader_that_is_asked_to_stop_hands_over_first() {
    leader_ends(cluster(3).await, async |cluster, leader| {
        let status = cluster.managers[leader].stop().await.unwrap();
        assert!(status.success(), "{status}");
        let log = cluster.managers[leader].log();
        assert!(log.contains("leadership is handed over"), "{log}");
    })
    .await;
}

#[tokio::test]
async fn an_operator_hands_leadership_to_a_manager_of_his_choice() {
    let cluster = cluster(3).await;
    let leader = cluster.leader().await.unwrap();
    let chosen = (leader + 1) % 3;
    let target = cluster.managers[chosen].name().to_owned();
    let request = skep_proto::skep::TransferLeadershipRequest { target };
    // Asked of a third manager, which passes it on.
    let asked = &cluster.managers[(leader + 2) % 3];
    asked.raft_client().transfer_leadership(request).await.unwrap();
    asked
        .wait_for("the chosen manager to lead", SETTLE_LIMIT, async |_| {
            match cluster.managers[chosen].status().await {
                Ok(status) if status.is_leader => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    // The third manager may not know yet; its write is refused then, and tried again.
    create_surely(asked, "after-the-transfer").await;
}

#[tokio::test]
async fn without_a_quorum_writes_are_refused_with_a_reason_and_go_on_after() {
    let mut cluster = cluster(3).await;
    let leader = cluster.leader().await.unwrap();
    let (other, kept) = ((leader + 1) % 3, (leader + 2) % 3);
    create(&cluster.managers[kept], "before").await.unwrap();
    cluster.managers[leader].kill();
    cluster.managers[other].kill();
    let kept_manager = &cluster.managers[kept];
    kept_manager
        .wait_for("the reason for no writes", SETTLE_LIMIT, async |manager| {
            let mut request =
                tonic::Request::new(skep_proto::swarmkit::ListNodesRequest::default());
            request.set_timeout(std::time::Duration::from_secs(30));
            match manager.control_client().list_nodes(request).await {
                Err(status) if status.message().contains("The swarm does not have a leader") => {
                    Ok(())
                }
                other => Err(format!("{:?}", other.map(drop))),
            }
        })
        .await
        .unwrap();
    cluster.managers[other].restart().await.unwrap();
    create_surely(&cluster.managers[kept], "after").await;
    assert_eq!(names(&cluster.managers[kept]).await.len(), 2);
}
