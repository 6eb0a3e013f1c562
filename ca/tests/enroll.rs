//! Joining and renewing against a manager's services over real TLS.

#[path = "support/authority.rs"]
mod authority;
mod support;

use std::{sync::Arc, time::Duration};

use authority::Authority;
use skep_ca::{
    CertificateFolder, JoinToken, Kek, KeyFile, Role, RootCa, SecurityConfig,
    connect::ConnectError,
    enroll::{self, DownloadError, EnrollError, Remotes},
    renewal::{self, Renewals, take_root},
};
use skep_proto::swarmkit::node_spec::Availability;
use support::*;

fn remotes(addrs: &[std::net::SocketAddr]) -> Remotes {
    Remotes::new(addrs.iter().map(ToString::to_string).collect())
}

async fn join(
    managers: &Remotes,
    cluster: &Cluster,
    token: &JoinToken,
) -> Result<enroll::Enrolled, EnrollError> {
    enroll::join(managers, &cluster.root, token, Availability::Active, &cluster.clock).await
}

#[tokio::test]
async fn a_node_joins_with_a_token_and_becomes_what_the_token_says() {
    let cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    authority.moods.lock().unlock_key = b"0123456789abcdef0123456789abcdef".to_vec();
    let managers = remotes(&[addr]);
    for (token, role) in [(&authority.worker, Role::Worker), (&authority.manager, Role::Manager)] {
        let root =
            enroll::download_root(&managers, Some(token.root()), &cluster.clock).await.unwrap();
        assert_eq!(root.pem(), cluster.root.pem());
        let enrolled = join(&managers, &cluster, token).await.unwrap();
        let identity = enrolled.credentials.identity();
        assert_eq!((identity.role, identity.cluster_id), (role, cluster.id));
        // Only a manager's key is sealed, and its unlock key is known before it is written.
        let key = enrolled.kek.key.as_ref().map(|key| key.raw().expose().to_vec());
        match role {
            Role::Worker => assert_eq!(enrolled.kek, Kek::default()),
            Role::Manager => {
                assert_eq!(key.unwrap(), b"0123456789abcdef0123456789abcdef");
                assert_eq!(enrolled.kek.version, 42);
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_root_with_another_digest_is_not_trusted() {
    let cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    let other = RootCa::generate(cluster.clock.now()).unwrap();
    authority.moods.lock().served_root = other.pem().clone();
    let expected = authority.worker.root();
    let download = enroll::download_root(&remotes(&[addr]), Some(expected), &cluster.clock).await;
    let error = download.unwrap_err();
    assert!(error.to_string().starts_with("remote CA does not match fingerprint"), "{error}");
    // Without a token, the first use is trusted.
    let root = enroll::download_root(&remotes(&[addr]), None, &cluster.clock).await.unwrap();
    assert_eq!(root.digest(), other.digest());

    // White space changes the digest, and so the cluster.
    let spaced = [&cluster.root.pem()[..], b"\n"].concat();
    authority.moods.lock().served_root = spaced.into();
    let download = enroll::download_root(&remotes(&[addr]), Some(expected), &cluster.clock).await;
    assert!(matches!(download, Err(DownloadError::Fingerprint { .. })));
}

#[tokio::test]
async fn bad_tokens_and_unreachable_managers_are_told_apart() {
    let cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    let stranger = JoinToken::generate(cluster.root.digest(), false);
    let error = join(&remotes(&[addr]), &cluster, &stranger).await.unwrap_err();
    assert!(error.to_string().contains("A valid join token is necessary"), "{error}");

    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let both = remotes(&[closed, addr]);
    assert!(join(&both, &cluster, &authority.worker).await.is_ok());

    let tls = skep_ca::tls::unverified_client_config();
    let dial = skep_ca::connect::Dial::new(tls, skep_ca::PeerName::Manager);
    for bad in ["", "host", "host:", "host:x", "host:99999", "a b:1"] {
        assert!(matches!(dial.connect(bad).await, Err(ConnectError::Address { .. })), "{bad:?}");
    }
    let error = dial.connect(&closed.to_string()).await.unwrap_err();
    assert!(matches!(error, ConnectError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_manager_that_answers_slowly_or_not_yet_is_waited_for() {
    let cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    {
        let mut moods = authority.moods.lock();
        moods.not_ready = 1;
        moods.pending_polls = 1;
    }
    assert!(join(&remotes(&[addr]), &cluster, &authority.worker).await.is_ok());

    authority.moods.lock().fail = true;
    let error = join(&remotes(&[addr]), &cluster, &authority.worker).await.unwrap_err();
    assert!(matches!(&error, EnrollError::Failed(why) if why == "no ink"), "{error}");
}

#[tokio::test]
async fn a_certificate_for_another_request_is_not_taken() {
    let cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    authority.moods.lock().foreign_answers = 1;
    let enrolled = join(&remotes(&[addr]), &cluster, &authority.worker).await.unwrap();
    assert_eq!(authority.moods.lock().foreign_answers, 0);
    cluster.root.verify(enrolled.credentials.chain(), cluster.clock.now()).unwrap();
}

struct Running {
    security: SecurityConfig,
    key_file: KeyFile,
    renewals: Renewals,
    folder: CertificateFolder,
    _state: tempfile::TempDir,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn running(cluster: &Cluster, addr: std::net::SocketAddr) -> Running {
    let state = tempfile::tempdir().unwrap();
    let folder = CertificateFolder::below(state.path());
    let security = cluster.node(Role::Worker);
    let key_file = KeyFile::create(&folder, security.credentials(), Kek::default()).unwrap();
    folder.write_root(&security.root()).unwrap();
    let renewals = Renewals::default();
    let task = tokio::spawn(renewal::run(
        security.clone(),
        key_file.clone(),
        Arc::new(remotes(&[addr])),
        renewals.clone(),
    ));
    Running { security, key_file, renewals, folder, _state: state, task }
}

/// Waits for the next swap of the certificate.
async fn swapped(changes: &mut tokio::sync::watch::Receiver<u64>) {
    tokio::time::timeout(Duration::from_secs(30), changes.changed()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_between_half_and_four_fifths_of_its_life() {
    let cluster = Cluster::new();
    let (_authority, addr) = Authority::start(&cluster).await;
    let node = running(&cluster, addr);
    let mut changes = node.security.watch();
    let before = node.security.credentials();
    cluster.clock.advance(40 * DAY);
    tokio::task::yield_now().await;
    assert!(!changes.has_changed().unwrap());
    cluster.clock.advance(33 * DAY);
    swapped(&mut changes).await;
    let after = node.security.credentials();
    assert_eq!(after.identity(), before.identity());
    assert_ne!(after.key().pkcs8(), before.key().pkcs8());
    assert!(after.validity().1 >= before.validity().1 + 72 * DAY);
    assert_eq!(node.key_file.credentials().pem(), after.pem());
}

#[tokio::test]
async fn a_node_renews_until_it_has_the_role_it_was_granted() {
    let cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    let node = running(&cluster, addr);
    let mut changes = node.security.watch();
    // The role manager has not granted it yet: the first renewal is a worker's again.
    node.renewals.expect_role(Role::Manager);
    swapped(&mut changes).await;
    assert_eq!(node.security.identity().role, Role::Worker);
    authority.moods.lock().renewed_role = Role::Manager;
    authority.moods.lock().unlock_key = vec![7; 32];
    // Failures wait on the wall clock, five seconds at most for the first.
    let second = Duration::from_secs(1);
    while tokio::time::timeout(second, changes.changed()).await.is_err() {
        cluster.clock.advance(Duration::from_secs(5));
    }
    assert_eq!(node.security.identity().role, Role::Manager);
    // Its key did not touch the disk in clear.
    let sealed = std::fs::read_to_string(node.folder.key()).unwrap();
    assert!(sealed.starts_with("-----BEGIN ENCRYPTED PRIVATE KEY-----\nkek-version: 42\n"));
}

#[tokio::test]
async fn a_node_follows_a_root_rotation() {
    let mut cluster = Cluster::new();
    let (authority, addr) = Authority::start(&cluster).await;
    let node = running(&cluster, addr);
    let mut changes = node.security.watch();
    let (old, new) = (cluster.root.clone(), RootCa::generate(cluster.clock.now()).unwrap());

    // A root that does not cover our certificate is refused, and nothing changes.
    assert!(take_root(&node.security, &node.folder, new.pem()).is_err());
    assert!(!take_root(&node.security, &node.folder, old.pem()).unwrap());

    cluster.root = rotating(&old, &new, &cluster.clock);
    *authority.root.lock() = cluster.root.clone();
    node.renewals.renew_now();
    swapped(&mut changes).await;
    let info = node.security.tls_info();
    assert_eq!(info.cert_issuer_public_key, new.certificates()[0].public_key);
    assert!(take_root(&node.security, &node.folder, new.pem()).unwrap());
    let written = node.folder.read_root(cluster.clock.now()).unwrap().unwrap();
    assert_eq!(written.digest(), new.digest());
}
