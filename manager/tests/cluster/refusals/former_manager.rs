//! A manager that was demoted and has kept its old certificate is a worker.

use skep_ca::{
    CertificateFolder, Clock, KeyFile, PeerName, SecurityConfig, connect, key_file::Opened,
};
use skep_proto::swarmkit::{
    GetUnlockKeyRequest, ListSecretsRequest, NodeRole, WatchRequest, ca_client::CaClient,
    control_client::ControlClient, watch_client::WatchClient,
};
use skep_testkit::skepd_process::{SETTLE_LIMIT, Skepd};
use tonic::Code;

use super::scene::refusal;
use crate::support::{cluster, update_node};

const MANAGERS: usize = 3;

/// The identity that a manager has on its disk.
fn identity(manager: &Skepd) -> SecurityConfig {
    let folder = CertificateFolder::below(&manager.state_dir());
    let clock = Clock::system();
    let root = folder.read_root(clock.now()).unwrap().expect("a root");
    let Opened::Open(keys) = KeyFile::open(&folder).unwrap() else {
        panic!("the key is there, and in clear")
    };
    SecurityConfig::new(root, keys.credentials(), clock).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_certificate_of_a_manager_that_was_demoted_is_worth_a_workers() {
    let cluster = cluster(MANAGERS).await;
    let leader = cluster.leader().await.unwrap();
    let (keeper, other) = (&cluster.managers[leader], &cluster.managers[(leader + 1) % MANAGERS]);
    let demoted = &cluster.managers[(leader + 2) % MANAGERS];
    let former = identity(demoted);
    let node_id = former.identity().node_id.to_string();
    let dial = connect::Dial::new(former.client_config(), PeerName::Manager);
    let leading = dial.connect(&keeper.addr().to_string()).await.unwrap();
    let list = || ListSecretsRequest::default();
    ControlClient::new(leading.clone()).list_secrets(list()).await.unwrap();

    update_node(keeper, &node_id, |spec| spec.set_desired_role(NodeRole::Worker)).await.unwrap();
    for manager in [keeper, other] {
        manager
            .wait_for("the role to change", SETTLE_LIMIT, async |manager| {
                let nodes = manager.nodes().await.map_err(|status| status.to_string())?;
                let node = nodes.into_iter().find(|node| node.id == node_id);
                match node.map(|node| node.role()) {
                    Some(NodeRole::Worker) => Ok(()),
                    role => Err(format!("{role:?}")),
                }
            })
            .await
            .unwrap();
    }
    let text = format!("node {node_id} is not a manager any more");
    let denied =
        (Code::PermissionDenied, format!("Permission denied: unauthorized peer role: {text}"));
    let refused = ControlClient::new(leading.clone()).list_secrets(list()).await;
    assert_eq!(refusal(refused), denied);
    let refused = WatchClient::new(leading.clone()).watch(WatchRequest::default()).await;
    assert_eq!(refusal(refused.map(|stream| stream.map(drop))), denied);
    let refused = CaClient::new(leading).get_unlock_key(GetUnlockKeyRequest {}).await;
    assert_eq!(refusal(refused), denied);
    // The leader looks at whom another manager speaks for, too.
    let passing = dial.connect(&other.addr().to_string()).await.unwrap();
    let refused = CaClient::new(passing).get_unlock_key(GetUnlockKeyRequest {}).await;
    assert_eq!(refusal(refused), (Code::PermissionDenied, format!("Permission denied: {text}")));
}
