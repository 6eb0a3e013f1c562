//! Real handshakes on loopback: who is let in, as whom, and what changes when certificates and roots are swapped.

mod support;

use std::sync::Arc;

use rustls_pki_types::ServerName;
use skep_ca::{
    Clock, PeerName, Role, RootCa, SecurityConfig, provider,
    tls::{anonymous_client_config, unverified_client_config},
};
use support::*;

#[tokio::test]
async fn a_client_is_who_its_certificate_says() {
    let cluster = Cluster::new();
    let manager = cluster.node(Role::Manager);
    let addr = listen(manager.server_config()).await;
    for role in [Role::Worker, Role::Manager] {
        let client = cluster.node(role);
        let expected = format!("{role} {}", client.identity().node_id);
        for name in [PeerName::Manager, PeerName::Ca] {
            let answer = call(addr, client.client_config(), name.server_name()).await;
            assert_eq!(answer.as_deref(), Ok(expected.as_str()));
        }
    }
}

#[tokio::test]
async fn a_client_without_a_certificate_is_anonymous_whatever_name_it_asks_for() {
    let cluster = Cluster::new();
    let addr = listen(cluster.node(Role::Manager).server_config()).await;
    let anonymous = anonymous_client_config(&cluster.root, &cluster.clock);
    let answer = call(addr, anonymous, PeerName::Ca.server_name()).await;
    assert_eq!(answer.as_deref(), Ok("anonymous"));
    for name in ["swarm-manager", "example.com", "127.0.0.1", "::1"] {
        let name = ServerName::try_from(name).unwrap();
        let answer = call(addr, unverified_client_config(), name).await;
        assert_eq!(answer.as_deref(), Ok("anonymous"));
    }
}

#[tokio::test]
async fn foreign_and_expired_clients_fail_the_handshake() {
    let cluster = Cluster::new();
    let manager = cluster.node(Role::Manager);
    let addr = listen(manager.server_config()).await;

    // The foreigner trusts this server, so that only its own certificate can be what fails.
    let foreign =
        Cluster { root: RootCa::generate(cluster.clock.now()).unwrap(), ..Cluster::new() };
    let stranger = foreign.credentials(Role::Manager);
    let config = client_presenting(&cluster, &stranger);
    let error = call(addr, config, PeerName::Manager.server_name()).await.unwrap_err();
    // All roots are called swarm-ca: it is the signature that does not match.
    assert!(error.contains("DecryptError"), "{error}");

    let client = cluster.node(Role::Worker);
    assert!(call_manager(addr, &client).await.is_ok());
    cluster.clock.advance(91 * DAY);
    manager.replace_credentials(cluster.credentials(Role::Manager)).unwrap();
    let error = call_manager(addr, &client).await.unwrap_err();
    assert!(error.contains("CertificateExpired"), "{error}");
}

#[tokio::test]
async fn a_server_must_be_a_manager_of_this_cluster() {
    let cluster = Cluster::new();
    let client = cluster.node(Role::Worker);

    let worker = listen(cluster.node(Role::Worker).server_config()).await;
    let error = call_manager(worker, &client).await.unwrap_err();
    assert!(error.contains("not valid for name"), "{error}");

    let foreign = listen(Cluster::new().node(Role::Manager).server_config()).await;
    let error = call_manager(foreign, &client).await.unwrap_err();
    assert!(error.contains("invalid peer certificate"), "{error}");
}

#[tokio::test]
async fn tls_1_2_is_spoken_and_verified_too() {
    let cluster = Cluster::new();
    let addr = listen(cluster.node(Role::Manager).server_config()).await;
    let worker = cluster.credentials(Role::Worker);
    let config = client_with_versions(&cluster, &worker, &[&rustls::version::TLS12]);
    let answer = call(addr, config, PeerName::Manager.server_name()).await;
    assert_eq!(answer, Ok(format!("swarm-worker {}", worker.identity().node_id)));

    let stranger = Cluster::new().credentials(Role::Worker);
    let config = client_with_versions(&cluster, &stranger, &[&rustls::version::TLS12]);
    assert!(call(addr, config, PeerName::Manager.server_name()).await.is_err());
}

#[tokio::test]
async fn sessions_are_not_resumed() {
    let cluster = Cluster::new();
    let addr = listen(cluster.node(Role::Manager).server_config()).await;
    let worker = cluster.credentials(Role::Worker);
    for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
        let mut config = Arc::unwrap_or_clone(client_with_versions(&cluster, &worker, &[version]));
        // A client that would resume if it could.
        config.resumption = rustls::client::Resumption::in_memory_sessions(8);
        let config = Arc::new(config);
        for _ in 0..3 {
            let tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
            let connector = tokio_rustls::TlsConnector::from(Arc::clone(&config));
            let mut tls = connector.connect(PeerName::Manager.server_name(), tcp).await.unwrap();
            let mut answer = String::new();
            tokio::io::AsyncReadExt::read_to_string(&mut tls, &mut answer).await.unwrap();
            assert_eq!(tls.get_ref().1.handshake_kind(), Some(rustls::HandshakeKind::Full));
        }
    }
}

#[tokio::test]
async fn a_running_listener_goes_through_a_whole_root_rotation() {
    let mut cluster = Cluster::new();
    let (manager, client) = (cluster.node(Role::Manager), cluster.node(Role::Worker));
    let addr = listen(manager.server_config()).await;
    assert!(call_manager(addr, &client).await.is_ok());
    let mut changes = manager.watch();

    // New certificates come from the new key, with the cross-signed root; the trust is still the old.
    let old = cluster.root.clone();
    let new = RootCa::generate(cluster.clock.now()).unwrap();
    cluster.root = rotating(&old, &new, &cluster.clock);
    manager.replace_credentials(cluster.credentials(Role::Manager)).unwrap();
    assert!(changes.has_changed().unwrap());
    changes.mark_unchanged();
    assert!(call_manager(addr, &client).await.is_ok());
    let info = manager.tls_info();
    assert_eq!(&info.trust_root, old.pem());
    assert_eq!(info.cert_issuer_public_key, new.certificates()[0].public_key);
    client.replace_credentials(cluster.credentials(Role::Worker)).unwrap();
    assert!(call_manager(addr, &client).await.is_ok());

    // The trust moves, one side after the other.
    manager.replace_root(new.clone()).unwrap();
    assert!(changes.has_changed().unwrap());
    assert!(call_manager(addr, &client).await.is_ok());
    client.replace_root(new.clone()).unwrap();
    assert!(call_manager(addr, &client).await.is_ok());

    // Who slept through it all is out.
    cluster.root = old;
    let late = cluster.node(Role::Worker);
    assert!(call_manager(addr, &late).await.is_err());
}

#[tokio::test]
async fn what_does_not_fit_is_not_taken_over() {
    let cluster = Cluster::new();
    let manager = cluster.node(Role::Manager);
    let before = manager.identity();
    let foreign = Cluster { clock: cluster.clock.clone(), ..Cluster::new() };
    assert!(manager.replace_credentials(foreign.credentials(Role::Manager)).is_err());
    assert!(manager.replace_root(foreign.root.clone()).is_err());
    assert_eq!(manager.identity(), before);
    assert_eq!(manager.root().digest(), cluster.root.digest());
    let mixed = skep_ca::Credentials::new(
        manager.credentials().pem().clone(),
        skep_ca::NodeKey::generate().unwrap(),
    );
    assert!(mixed.is_err());
}

#[tokio::test]
async fn who_waits_for_a_change_hears_of_the_next_one() {
    use futures::FutureExt as _;
    let cluster = Cluster::new();
    let manager = cluster.node(Role::Manager);
    manager.replace_credentials(cluster.credentials(Role::Manager)).unwrap();
    let mut changed = std::pin::pin!(manager.changed());
    assert!((&mut changed).now_or_never().is_none(), "what was before does not count");
    manager.replace_credentials(cluster.credentials(Role::Manager)).unwrap();
    assert!(changed.now_or_never().is_some());
    let last = manager.changed();
    drop(manager);
    assert!(last.now_or_never().is_none(), "nobody is left to change it");
}

#[tokio::test]
async fn an_expired_certificate_can_be_taken_up_but_not_used() {
    let cluster = Cluster::new();
    let addr = listen(cluster.node(Role::Manager).server_config()).await;
    let credentials = cluster.credentials(Role::Worker);
    cluster.clock.advance(91 * DAY);
    let late =
        SecurityConfig::new(cluster.root.clone(), credentials, cluster.clock.clone()).unwrap();
    assert!(call_manager(addr, &late).await.is_err());
}

fn client_presenting(
    cluster: &Cluster,
    credentials: &skep_ca::Credentials,
) -> Arc<rustls::ClientConfig> {
    client_with_versions(cluster, credentials, rustls::ALL_VERSIONS)
}

/// Trusts the cluster's root and presents whatever it is given.
fn client_with_versions(
    cluster: &Cluster,
    credentials: &skep_ca::Credentials,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Arc<rustls::ClientConfig> {
    let mut roots = rustls::RootCertStore::empty();
    for root in cluster.root.certificates() {
        roots.add(root.der.clone()).unwrap();
    }
    let clock: Clock = cluster.clock.clone();
    let chain = credentials.chain().iter().map(|c| c.der.clone()).collect();
    let key = credentials.key().pkcs8().expose().to_vec();
    let mut config = rustls::ClientConfig::builder_with_details(provider(), Arc::new(clock))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_client_auth_cert(chain, rustls_pki_types::PrivatePkcs8KeyDer::from(key).into())
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    Arc::new(config)
}
