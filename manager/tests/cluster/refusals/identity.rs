//! Certificates: a worker gets its own again, as a worker.

use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair};
use skep_ca::{Identity, Role, certificate::Certificate};
use skep_proto::swarmkit::{
    GetUnlockKeyRequest, IssueNodeCertificateRequest, NodeCertificateStatusRequest, NodeRole,
    ca_client::CaClient, node_ca_client::NodeCaClient,
};
use tonic::{Code, Request, metadata::MetadataMap};

use super::scene::{Scene, refusal};

/// A request that names another node as its subject, and a manager at that.
fn presumptuous(node_id: &str, cluster_id: &str) -> String {
    let mut params = CertificateParams::new(vec!["swarm-manager".to_owned()]).unwrap();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, node_id);
    params.distinguished_name.push(DnType::OrganizationName, cluster_id);
    params.distinguished_name.push(DnType::OrganizationalUnitName, "swarm-manager");
    params.serialize_request(&KeyPair::generate().unwrap()).unwrap().pem().unwrap()
}

fn forged(metadata: &mut MetadataMap, node_id: &str, cluster_id: &str) {
    metadata.insert("forwarded_cert", "true".parse().unwrap());
    metadata.insert("forwarded_cert_cn", node_id.parse().unwrap());
    metadata.insert("forwarded_cert_org", cluster_id.parse().unwrap());
    metadata.insert("forwarded_cert_ou", "swarm-manager".parse().unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_gets_no_certificate_but_its_own() {
    let scene = Scene::new().await;
    let own = scene.security(0).identity();
    let (me, cluster_id) = (own.node_id.to_string(), own.cluster_id.to_string());
    let neighbour = scene.security(1).identity().node_id.to_string();
    let others = async || {
        let mut nodes = scene
            .control()
            .list_nodes(Request::new(Default::default()))
            .await
            .unwrap()
            .into_inner()
            .nodes;
        nodes.retain(|node| node.id != me);
        nodes.into_iter().map(|node| (node.id, node.role, node.certificate)).collect::<Vec<_>>()
    };
    let before = others().await;
    for (door, channel) in scene.doors(0).await {
        let mut client = NodeCaClient::new(channel.clone());
        let wanted = IssueNodeCertificateRequest {
            csr: presumptuous(&neighbour, &cluster_id).into(),
            role: NodeRole::Manager.into(),
            ..Default::default()
        };
        // Whoever lies about whom it speaks for is nobody.
        let mut request = Request::new(wanted.clone());
        forged(request.metadata_mut(), &neighbour, &cluster_id);
        let text = "A valid join token is necessary to join this cluster".to_owned();
        let refused = refusal(client.issue_node_certificate(request).await);
        assert_eq!(refused, (Code::InvalidArgument, text), "{door}");

        let issued = client.issue_node_certificate(wanted).await.unwrap().into_inner();
        assert_eq!(issued.node_id, me, "{door}");
        let request = NodeCertificateStatusRequest { node_id: me.clone() };
        let status = client.node_certificate_status(request).await.unwrap().into_inner();
        let chain = Certificate::from_pem(&status.certificate.unwrap().certificate).unwrap();
        let issued = Identity::from_certificate(&chain[0].der).unwrap();
        assert_eq!(issued, own, "{door}");
        assert_eq!(issued.role, Role::Worker, "{door}");

        let unlock = CaClient::new(channel).get_unlock_key(GetUnlockKeyRequest {}).await;
        assert_eq!(refusal(unlock).0, Code::PermissionDenied, "{door}");
    }
    assert_eq!(others().await, before);
}
