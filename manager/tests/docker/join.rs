//! An engine joins, shows with what it is, and leaves.

use std::fs;

use skep_ca::{CertificateFolder, JoinToken, token::RootDigest};
use skep_proto::swarmkit::{RemoveNodeRequest, node_spec, node_status};

use crate::support::{
    ENGINE_LIMIT, MANAGERS, cluster_object, docker, keys, node_of, state, swarm, swarm_info,
};

#[tokio::test(flavor = "multi_thread")]
async fn an_engine_joins_through_a_follower_and_leaves() {
    let Some(swarm) = swarm(1).await else { return };
    let (leader, follower) = swarm.leader_and_follower().await;
    let follower = &swarm.cluster.managers[follower];
    let engine = swarm.engine(0);
    let node = swarm.join(engine, follower).await;

    // The managers know what it is, and where.
    let description = node.description.clone().unwrap();
    assert_eq!(description.hostname, engine.name());
    let version = docker(engine, &["version", "--format", "{{.Server.Version}}"]).unwrap();
    let reported = description.engine.unwrap();
    assert_eq!(reported.engine_version, version.trim());
    assert!(reported.plugins.iter().any(|p| p.r#type == "Network" && p.name == "overlay"));
    let platform = description.platform.unwrap();
    assert_eq!(platform.os, "linux");
    assert!(["x86_64", "aarch64"].contains(&&*platform.architecture), "{platform:?}");
    assert!(description.resources.is_some_and(|r| r.nano_cpus > 0 && r.memory_bytes > 0));
    assert_eq!(node.status.unwrap().addr, engine.addr().to_string());
    assert_eq!(node.spec.unwrap().availability(), node_spec::Availability::Active);
    assert!(node.manager_status.is_none());

    // It trusts the root that the token promised, byte for byte.
    let token: JoinToken = keys(follower).await.worker_join_token.parse().unwrap();
    let root = fs::read(CertificateFolder::below(&engine.swarm_dir()).root()).unwrap();
    assert!(RootDigest::of(&root) == token.root(), "the digest of the engine's root differs");
    assert_eq!(description.tls_info.unwrap().trust_root, root);
    let cluster = cluster_object(follower).await.unwrap();
    assert_eq!(cluster.root_ca.unwrap().ca_cert, root);

    // The engine says the same of itself, and knows all managers.
    let info = swarm_info(engine);
    assert_eq!(info["LocalNodeState"], "active", "{info}");
    assert_eq!(info["NodeID"], *node.id, "{info}");
    assert_eq!(info["NodeAddr"], engine.addr().to_string(), "{info}");
    assert_eq!(info["ControlAvailable"], false, "{info}");
    let mut known: Vec<_> = info["RemoteManagers"].as_array().unwrap().iter().collect();
    known.sort_by_key(|manager| manager["Addr"].as_str());
    let known: Vec<_> = known.iter().map(|m| m["Addr"].as_str().unwrap().to_owned()).collect();
    let mut managers: Vec<_> =
        swarm.cluster.managers.iter().map(|m| m.addr().to_string()).collect();
    managers.sort();
    assert_eq!(known, managers, "{info}");

    // A node that is up is not removed by mistake.
    let remove = |force| RemoveNodeRequest { node_id: node.id.clone(), force };
    let refused = follower.control_client().remove_node(remove(false)).await.unwrap_err();
    assert!(refused.message().contains("is not down"), "{refused}");

    docker(engine, &["swarm", "leave"]).unwrap();
    assert_eq!(swarm_info(engine)["LocalNodeState"], "inactive");
    let leader = &swarm.cluster.managers[leader];
    leader
        .wait_for("the engine to be down", ENGINE_LIMIT, async |leader| {
            let node = node_of(leader, engine).await?;
            match state(&node) {
                node_status::State::Down => Ok(()),
                other => Err(format!("{other:?}")),
            }
        })
        .await
        .unwrap();
    follower.control_client().remove_node(remove(false)).await.unwrap();
    assert_eq!(leader.nodes().await.unwrap().len(), MANAGERS);

    // It may come back, as another node.
    let again = swarm.join(engine, leader).await;
    assert_ne!(again.id, node.id);
}
