//! The root CA is rotated under a running cluster with an engine in it.

use std::{
    fs,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    time::{Duration, Instant},
};

use skep_ca::CertificateFolder;
use skep_proto::swarmkit::{
    Annotations, ConfigSpec, CreateConfigRequest, UpdateClusterRequest, node_status::State,
};
use skep_testkit::skepd_process::Skepd;
use tonic::Request;

use crate::support::{
    ENGINE_LIMIT, cluster_object, join, keys, node_of, state, swarm, wait_until_ready,
};

/// Rounds are 3 s apart, and an engine renews a few seconds after it is asked to.
const ROTATION_LIMIT: Duration = Duration::from_secs(90);

/// Creates configs until it is told to stop; no call may fail.
async fn write(manager: &Skepd, stop: &AtomicBool, written: &AtomicUsize) {
    let mut client = manager.control_client();
    while !stop.load(Relaxed) {
        let name = format!("{}-{}", manager.name(), written.fetch_add(1, Relaxed));
        let annotations = Some(Annotations { name, ..Default::default() });
        let spec = ConfigSpec { annotations, data: "x".into(), ..Default::default() };
        let mut request = Request::new(CreateConfigRequest { spec: Some(spec) });
        request.set_timeout(Duration::from_secs(10));
        let began = Instant::now();
        if let Err(status) = client.create_config(request).await {
            panic!("a call to {} failed after {:?}: {status}", manager.name(), began.elapsed());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_rotated_and_no_call_fails() {
    let Some(swarm) = swarm(2).await else { return };
    let (_, follower) = swarm.leader_and_follower().await;
    let follower = &swarm.cluster.managers[follower];
    let (engine, newcomer) = (swarm.engine(0), swarm.engine(1));
    swarm.join(engine, follower).await;
    let old_token = keys(follower).await.worker_join_token;
    let (stop, written) = (AtomicBool::new(false), AtomicUsize::new(0));
    let [first, second, third] = &swarm.cluster.managers[..] else { panic!("three managers") };
    let writers = async {
        tokio::join!(
            write(first, &stop, &written),
            write(second, &stop, &written),
            write(third, &stop, &written),
        );
    };
    let rotation = async {
        let before = cluster_object(follower).await.unwrap();
        let mut spec = before.spec.clone().unwrap();
        spec.ca_config.get_or_insert_default().force_rotate += 1;
        let request = UpdateClusterRequest {
            cluster_id: before.id.clone(),
            cluster_version: before.meta.and_then(|meta| meta.version),
            spec: Some(spec),
            rotation: None,
        };
        follower.control_client().update_cluster(request).await.unwrap();
        let began = Instant::now();
        let old_root = before.root_ca.unwrap();
        let root = follower
            .wait_for("the rotation to end", ROTATION_LIMIT, async |manager| {
                let cluster = cluster_object(manager).await.map_err(|s| s.to_string())?;
                let root = cluster.root_ca.unwrap();
                if root.root_rotation.is_none() && root.ca_cert != old_root.ca_cert {
                    return Ok(root);
                }
                let nodes = manager.nodes().await.map_err(|s| s.to_string())?;
                let seen = |node: &skep_proto::swarmkit::Node| {
                    let name = node.description.as_ref().map(|d| d.hostname.clone());
                    let certificate = node.certificate.as_ref().and_then(|c| c.status.clone());
                    format!("{name:?} {:?} {certificate:?}", state(node))
                };
                Err(nodes.iter().map(seen).collect::<Vec<_>>().join(", "))
            })
            .await
            .unwrap();
        println!("rotated after {:?}", began.elapsed());
        let (new, old) = (root.join_tokens.unwrap(), old_root.join_tokens.unwrap());
        assert_ne!(new.worker, old.worker);
        assert_ne!(new.manager, old.manager);
        // Every node trusts the new root in the end, the engine among them, and says so.
        follower
            .wait_for("all nodes to trust the new root", ENGINE_LIMIT, async |manager| {
                let nodes = manager.nodes().await.map_err(|s| s.to_string())?;
                for node in &nodes {
                    let description = node.description.as_ref().ok_or("no description")?;
                    let tls = description.tls_info.as_ref().ok_or("no TLS info")?;
                    if tls.trust_root != root.ca_cert || state(node) != State::Ready {
                        return Err(format!("{}: {:?}", description.hostname, state(node)));
                    }
                }
                Ok(())
            })
            .await
            .unwrap();
        println!("trusted by all after {:?}", began.elapsed());
        let file = fs::read(CertificateFolder::below(&engine.swarm_dir()).root()).unwrap();
        assert_eq!(file, root.ca_cert);
        stop.store(true, Relaxed);
        new.worker
    };
    let ((), new_token) = tokio::join!(writers, rotation);
    println!("{} configs were created meanwhile", written.load(Relaxed));

    let refused = join(newcomer, follower, &old_token).unwrap_err();
    assert!(refused.to_string().contains("fingerprint"), "{refused}");
    assert!(node_of(follower, newcomer).await.is_err());
    join(newcomer, follower, &new_token).unwrap();
    wait_until_ready(follower, newcomer).await;
    wait_until_ready(follower, engine).await;
}
