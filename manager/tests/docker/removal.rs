//! An engine that is removed while it is in a session is refused at once, by every manager.

use std::time::{Duration, Instant};

use skep_proto::swarmkit::RemoveNodeRequest;
use tonic::Code;

use crate::support::{MANAGERS, heartbeat, identity_of, node_of, swarm, wait_for_log};

/// How soon the engine must hear of it: its session ends with the removal, not with its next heartbeat.
const NOTICE_LIMIT: Duration = Duration::from_secs(4);

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_that_is_removed_is_refused_at_once() {
    let Some(swarm) = swarm(1).await else { return };
    let (_, follower) = swarm.leader_and_follower().await;
    let follower = &swarm.cluster.managers[follower];
    let engine = swarm.engine(0);
    let node = swarm.join(engine, follower).await;

    // With the engine's own certificate and key, every manager listens.
    let identity = identity_of(engine);
    assert_eq!(identity.identity().node_id.as_str(), node.id);
    for manager in &swarm.cluster.managers {
        let answer = heartbeat(&identity, manager).await;
        assert_eq!(answer.code(), Code::InvalidArgument, "{answer}");
        assert!(answer.message().contains("session invalid"), "{answer}");
    }

    let remove = RemoveNodeRequest { node_id: node.id.clone(), force: true };
    follower.control_client().remove_node(remove).await.unwrap();
    let removed = Instant::now();
    assert!(node_of(follower, engine).await.is_err());
    for manager in &swarm.cluster.managers {
        let answer = heartbeat(&identity, manager).await;
        assert_eq!(answer.code(), Code::PermissionDenied, "{answer}");
        assert!(answer.message().contains("was removed from swarm"), "{answer}");
    }

    let line = wait_for_log(engine, &["PermissionDenied", "was removed from swarm"]).await;
    println!("{:?} after the removal the engine logged: {line}", removed.elapsed());
    assert!(removed.elapsed() < NOTICE_LIMIT, "{:?}: {line}", removed.elapsed());
    let nodes = follower.nodes().await.unwrap();
    assert_eq!(nodes.len(), MANAGERS, "it has come back: {nodes:?}");
}
