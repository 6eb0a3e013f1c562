//! The services and loops of the authority over a store that leads alone.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use skep_api::{Caller, CallerKind};
use skep_ca::{
    Clock, Credentials, Csr, Identity, JoinToken, NodeKey, Role, RootCa, SecurityConfig,
    certificate::Certificate,
};
use skep_proto::{
    ids::{ClusterId, NodeId},
    prost_types,
    swarmkit::{
        self, CaConfig, Cluster, ClusterSpec, EncryptionKey, GetRootCaCertificateRequest,
        GetUnlockKeyRequest, IssueNodeCertificateRequest, IssueNodeCertificateResponse, JoinTokens,
        Node, NodeCertificateStatusRequest, NodeDescription, NodeRole, NodeSpec, NodeTlsInfo,
        ca_server::Ca as _, issuance_status::State, node_ca_server::NodeCa as _, node_spec,
    },
};
use skep_store::{
    Kind, Selector, Store, Tables,
    solo::{Solo, lead_alone},
};
use tokio::task::JoinHandle;
use tonic::{Code, Request, Status};

use super::{
    Authority,
    request::{self, Refused, Wanted, needs_signature, wanted},
    signer::RETRY_INTERVAL,
};
use crate::control::CaChangeError;

/// Enough for anything here; only a failing test waits for it.
const PATIENCE: Duration = Duration::from_secs(30);
const HOUR: Duration = Duration::from_secs(3600);
/// Nodes that ask at a time.
const SIDE_BY_SIDE: usize = 20;

struct Bench {
    store: Store,
    clock: Clock,
    root: RootCa,
    cluster_id: ClusterId,
    own: NodeId,
    authority: Authority,
    _solo: Solo,
}

impl Bench {
    async fn new() -> Bench {
        let clock = Clock::still(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
        let root = RootCa::generate(clock.now()).unwrap();
        let mut rng = rand::rng();
        let (cluster_id, own) = (ClusterId::random(&mut rng), NodeId::random(&mut rng));
        let identity = Identity { node_id: own, role: Role::Manager, cluster_id };
        let key = NodeKey::generate().unwrap();
        let csr = key.request().unwrap();
        let chain = root.issue(&csr, identity, HOUR * 24, clock.now()).unwrap();
        let credentials = Credentials::new(chain, key).unwrap();
        let security = SecurityConfig::new(root.clone(), credentials, clock.clone()).unwrap();

        let store = Store::system();
        let solo = lead_alone(&store);
        let token = || JoinToken::generate(root.digest(), false).expose().to_owned();
        let cluster = Cluster {
            id: cluster_id.to_string(),
            spec: Some(ClusterSpec {
                annotations: Some(swarmkit::Annotations {
                    name: "default".into(),
                    ..Default::default()
                }),
                ca_config: Some(CaConfig {
                    node_cert_expiry: prost_types::Duration::try_from(HOUR * 48).ok(),
                    ..Default::default()
                }),
                ..Default::default()
            }),
            root_ca: Some(swarmkit::RootCa {
                ca_key: root.signer().unwrap().key().to_pem().to_vec().into(),
                ca_cert: root.pem().clone(),
                ca_cert_hash: root.digest().to_string(),
                join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
                ..Default::default()
            }),
            vxlanudp_port: 4789,
            ..Default::default()
        };
        let node = Node {
            id: own.to_string(),
            role: NodeRole::Manager.into(),
            spec: Some(accepted()),
            ..Default::default()
        };
        let created = store.update(|tx| tx.create(cluster).and_then(|_| tx.create(node)));
        created.await.unwrap();
        let authority = Authority::new(store.clone(), security, clock.clone());
        Bench { store, clock, root, cluster_id, own, authority, _solo: solo }
    }

    fn cluster(&self) -> Cluster {
        Cluster::clone(self.store.view().get::<Cluster>(&self.cluster_id).unwrap())
    }

    fn node(&self, id: &str) -> Option<Node> {
        self.store.view().get_text::<Node>(id).map(|node| Node::clone(node))
    }

    fn tokens(&self) -> JoinTokens {
        self.cluster().root_ca.unwrap().join_tokens.unwrap()
    }

    fn signing(&self) -> Running {
        let authority = self.authority.clone();
        Running(tokio::spawn(async move { authority.sign().await }))
    }

    fn rotating(&self) -> Running {
        let authority = self.authority.clone();
        Running(tokio::spawn(async move { authority.rotate().await }))
    }

    async fn issue(
        &self,
        caller: Caller,
        token: &str,
        csr: &Csr,
    ) -> Result<IssueNodeCertificateResponse, Status> {
        let mut request = Request::new(IssueNodeCertificateRequest {
            csr: csr.pem().clone(),
            token: token.to_owned(),
            availability: node_spec::Availability::Drain.into(),
            // The fossil: asks for more than the token gives.
            role: NodeRole::Manager.into(),
        });
        request.extensions_mut().insert(caller);
        let service = self.authority.node_ca_service();
        service.issue_node_certificate(request).await.map(tonic::Response::into_inner)
    }

    async fn status(&self, node_id: &str) -> Result<swarmkit::Certificate, Status> {
        let request = Request::new(NodeCertificateStatusRequest { node_id: node_id.to_owned() });
        let service = self.authority.node_ca_service();
        let asked = tokio::time::timeout(PATIENCE, service.node_certificate_status(request));
        let response = asked.await.expect("an answer in time")?.into_inner();
        let certificate = response.certificate.unwrap();
        assert_eq!(response.status, certificate.status);
        Ok(certificate)
    }

    /// Waits until the committed store satisfies the condition.
    async fn until(&self, condition: impl Fn(&Tables) -> bool) {
        let (view, mut watcher) = self.store.watch(Selector::kinds(&[Kind::Node, Kind::Cluster]));
        if condition(&view) {
            return;
        }
        let waiting = async {
            while !condition(&self.store.view()) {
                watcher.next().await.unwrap();
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("the condition holds in time");
    }
}

/// A loop that ends with the test.
struct Running(JoinHandle<()>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn accepted() -> NodeSpec {
    NodeSpec { membership: node_spec::Membership::Accepted.into(), ..Default::default() }
}

fn anonymous() -> Caller {
    Caller::anonymous("10.0.0.7:4242")
}

fn certified(node_id: &str) -> Caller {
    Caller { node_id: node_id.into(), kind: CallerKind::Certificate, ..anonymous() }
}

fn request() -> (NodeKey, Csr) {
    let key = NodeKey::generate().unwrap();
    let csr = key.request().unwrap();
    (key, csr)
}

fn identity(certificate: &swarmkit::Certificate) -> Identity {
    let chain = Certificate::from_pem(&certificate.certificate).unwrap();
    Identity::from_certificate(&chain[0].der).unwrap()
}

#[tokio::test]
async fn a_token_decides_what_a_node_becomes() {
    let bench = Bench::new().await;
    let _signing = bench.signing();
    let tokens = bench.tokens();
    for (token, role) in [(&tokens.worker, Role::Worker), (&tokens.manager, Role::Manager)] {
        let (key, csr) = request();
        let issued = bench.issue(anonymous(), token, &csr).await.unwrap();
        assert_eq!(issued.node_membership(), node_spec::Membership::Accepted);
        let certificate = bench.status(&issued.node_id).await.unwrap();
        assert_eq!(certificate.status.as_ref().unwrap().state(), State::Issued);
        assert_eq!(certificate.csr, csr.pem());
        let found = identity(&certificate);
        assert_eq!(found.node_id.as_str(), issued.node_id);
        assert_eq!((found.role, found.cluster_id), (role, bench.cluster_id));
        let chain = bench.root.verify_pem(&certificate.certificate, bench.clock.now()).unwrap();
        assert_eq!(chain[0].public_key, key.public_key());
        let life = chain[0].not_after.duration_since(bench.clock.now()).unwrap();
        assert!(life.abs_diff(48 * HOUR) <= Duration::from_secs(30), "{life:?}");

        let node = bench.node(&issued.node_id).unwrap();
        let spec = node.spec.as_ref().unwrap();
        assert_eq!(node.role(), NodeRole::from(role));
        assert_eq!(spec.desired_role(), NodeRole::from(role));
        assert_eq!(spec.availability(), node_spec::Availability::Drain);
        assert_eq!(node.vxlanudp_port, 4789);
    }
}

#[tokio::test]
async fn a_wrong_token_leaves_nothing_behind() {
    let bench = Bench::new().await;
    let _signing = bench.signing();
    let (_, csr) = request();
    let stranger = JoinToken::generate(bench.root.digest(), false);
    let worker = bench.tokens().worker;
    for token in ["", stranger.expose(), &worker[..worker.len() - 1], &worker.to_uppercase()] {
        let refused = bench.issue(anonymous(), token, &csr).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
        assert_eq!(refused.message(), "A valid join token is necessary to join this cluster");
    }
    for csr in [&b""[..], b"CSR"] {
        let csr = Csr::from_pem(Bytes::from_static(csr));
        let refused = bench.issue(anonymous(), &worker, &csr).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument);
    }
    assert_eq!(bench.store.view().count::<Node>(), 1);

    // A token that was rotated away.
    let rotated = bench.store.update(|tx| {
        tx.modify::<Cluster>(&bench.cluster_id, |cluster| {
            let tokens = cluster.root_ca.as_mut().unwrap().join_tokens.as_mut().unwrap();
            tokens.worker = JoinToken::generate(bench.root.digest(), false).expose().to_owned();
        })
    });
    rotated.await.unwrap();
    assert!(bench.issue(anonymous(), &worker, &csr).await.is_err());
}

#[tokio::test]
async fn a_certificate_renews_with_the_role_that_the_node_has_now() {
    let bench = Bench::new().await;
    let _signing = bench.signing();
    let (_, csr) = request();
    let worker = bench.tokens().worker;
    let node_id = bench.issue(anonymous(), &worker, &csr).await.unwrap().node_id;
    bench.status(&node_id).await.unwrap();
    let promoted = bench.store.update(|tx| {
        tx.modify::<Node>(&node_id.parse().unwrap(), |node| node.role = NodeRole::Manager.into())
    });
    promoted.await.unwrap();
    // A token beside the certificate does not count, and neither does the caller's present role.
    let (_, csr) = request();
    let issued = bench.issue(certified(&node_id), "x", &csr).await.unwrap();
    assert_eq!(issued.node_id, node_id);
    let certificate = bench.status(&node_id).await.unwrap();
    assert_eq!(certificate.csr, csr.pem());
    assert_eq!(identity(&certificate).role, Role::Manager);

    // By the control socket the manager renews for itself.
    let local = Caller { kind: CallerKind::Local, ..certified(bench.own.as_str()) };
    let issued = bench.issue(local, "", &csr).await.unwrap();
    assert_eq!(issued.node_id, bench.own.as_str());
    assert_eq!(bench.store.view().count::<Node>(), 2);

    let gone = bench.issue(certified("gone"), "", &csr).await.unwrap_err();
    assert_eq!(gone.code(), Code::NotFound);
    assert_eq!(gone.message(), "node gone not found when attempting to renew certificate");
}

#[tokio::test]
async fn what_was_asked_before_the_loop_runs_is_signed_when_it_does() {
    let bench = Bench::new().await;
    let mut ids = Vec::new();
    for _ in 0..250 {
        let (id, (_, csr)) = (NodeId::random(&mut rand::rng()), request());
        let node = request::joining(
            id,
            NodeRole::Worker,
            node_spec::Availability::Active,
            csr.pem().clone(),
            &bench.cluster(),
        );
        bench.store.update(|tx| tx.create(node)).await.unwrap();
        ids.push(id);
    }
    let _signing = bench.signing();
    for id in ids {
        let certificate = bench.status(id.as_str()).await.unwrap();
        assert_eq!(identity(&certificate).node_id, id);
    }
}

#[tokio::test]
async fn what_is_asked_for_while_another_request_is_signed_is_not_left_lying() {
    let bench = Bench::new().await;
    let _signing = bench.signing();
    let token = bench.tokens().worker;
    let began = Instant::now();
    let one = async |place| {
        let (_, csr) = request();
        // One after the other, a few turns of the runtime apart: signing takes many turns.
        for _ in 0..place * 4 {
            tokio::task::yield_now().await;
        }
        let node_id = bench.issue(anonymous(), &token, &csr).await.unwrap().node_id;
        let certificate = bench.status(&node_id).await.unwrap();
        assert_eq!(certificate.status.unwrap().state(), State::Issued);
    };
    futures::future::join_all((0..SIDE_BY_SIDE).map(one)).await;
    // Signing takes milliseconds; what was left lying would be taken up with the next retry.
    assert!(began.elapsed() < RETRY_INTERVAL / 2, "{:?}", began.elapsed());
}

#[tokio::test]
async fn only_a_node_that_is_accepted_gets_its_first_certificate() {
    let (_, csr) = request();
    let node = |state: State, membership: node_spec::Membership| Node {
        spec: Some(NodeSpec { membership: membership.into(), ..Default::default() }),
        certificate: Some(request::entry("x", 0, csr.pem().clone(), state)),
        ..Default::default()
    };
    use node_spec::Membership::{Accepted, Pending};
    for (state, membership, expected) in [
        (State::Pending, Accepted, true),
        (State::Pending, Pending, false),
        (State::Renew, Accepted, true),
        (State::Renew, Pending, true),
        (State::Issued, Accepted, false),
        (State::Failed, Accepted, false),
        (State::Rotate, Accepted, false),
        (State::Unknown, Accepted, false),
    ] {
        assert_eq!(needs_signature(&node(state, membership)), expected, "{state:?} {membership:?}");
    }
}

#[tokio::test]
async fn callers_are_judged_by_what_they_have_proven() {
    let bench = Bench::new().await;
    let cluster = bench.cluster();
    let (_, csr) = request();
    let ask = |caller: &Caller, token: &str| {
        let request = IssueNodeCertificateRequest {
            csr: csr.pem().clone(),
            token: token.to_owned(),
            ..Default::default()
        };
        wanted(caller, &request, &cluster)
    };
    let tokens = bench.tokens();
    let renewal = Ok(Wanted::Renewal { node_id: "n".into() });
    let forwarded = Caller { kind: CallerKind::Forwarded { by: "m".into() }, ..certified("n") };
    assert_eq!(ask(&certified("n"), ""), renewal);
    assert_eq!(ask(&forwarded, &tokens.manager), renewal);
    let first = |role| Ok(Wanted::First { role, availability: node_spec::Availability::Active });
    assert_eq!(ask(&anonymous(), &tokens.worker), first(NodeRole::Worker));
    assert_eq!(ask(&anonymous(), &tokens.manager), first(NodeRole::Manager));
    assert_eq!(ask(&anonymous(), ""), Err(Refused::Token));
    let mut bare = cluster.clone();
    bare.root_ca.as_mut().unwrap().join_tokens = None;
    let request = IssueNodeCertificateRequest { csr: csr.pem().clone(), ..Default::default() };
    assert_eq!(wanted(&anonymous(), &request, &bare), Err(Refused::Token));
    let odd = IssueNodeCertificateRequest {
        availability: 17,
        token: tokens.worker.clone(),
        ..request.clone()
    };
    assert_eq!(wanted(&anonymous(), &odd, &cluster), Err(Refused::Availability(17)));
}

#[tokio::test(start_paused = true)]
async fn a_manager_that_does_not_sign_says_so() {
    let bench = Bench::new().await;
    let (_, csr) = request();
    let worker = bench.tokens().worker;
    let starting = bench.issue(anonymous(), &worker, &csr).await.unwrap_err();
    assert_eq!(
        (starting.code(), starting.message()),
        (Code::Aborted, "CA signer is still starting")
    );
    bench.store.follow();
    let stopped = bench.issue(anonymous(), &worker, &csr).await.unwrap_err();
    assert_eq!((stopped.code(), stopped.message()), (Code::Aborted, "CA signer is stopped"));
    assert_eq!(bench.status("nobody").await.unwrap_err().code(), Code::Aborted);
}

#[tokio::test]
async fn waiting_for_a_node_ends_when_it_is_removed_or_the_signer_stops() {
    let bench = Bench::new().await;
    let signing = bench.signing();
    assert_eq!(bench.status("nobody").await.unwrap_err().code(), Code::NotFound);
    assert_eq!(bench.status("not an id").await.unwrap_err().code(), Code::NotFound);
    // Nobody accepts these, so that they stay pending.
    for end in ["removed", "stopped"] {
        let (id, (_, csr)) = (NodeId::random(&mut rand::rng()), request());
        let node = Node {
            spec: Some(NodeSpec::default()),
            ..request::joining(
                id,
                NodeRole::Worker,
                node_spec::Availability::Active,
                csr.pem().clone(),
                &bench.cluster(),
            )
        };
        bench.store.update(|tx| tx.create(node)).await.unwrap();
        let waiting = bench.status(id.as_str());
        tokio::pin!(waiting);
        let early = tokio::time::timeout(Duration::from_millis(50), &mut waiting).await;
        assert!(early.is_err(), "it is pending");
        if end == "removed" {
            bench.store.update(|tx| tx.remove::<Node>(&id)).await.unwrap();
            assert_eq!(waiting.await.unwrap_err().code(), Code::NotFound);
        } else {
            signing.0.abort();
            assert_eq!(waiting.await.unwrap_err().message(), "CA signer is stopped");
        }
    }
}

#[tokio::test]
async fn the_root_is_served_verbatim_and_the_unlock_key_with_its_version() {
    let bench = Bench::new().await;
    let service = bench.authority.ca_service();
    let root = service.get_root_ca_certificate(Request::new(GetRootCaCertificateRequest {}));
    assert_eq!(root.await.unwrap().into_inner().certificate, bench.root.pem());

    let ask = || service.get_unlock_key(Request::new(GetUnlockKeyRequest {}));
    let unlocked = ask().await.unwrap().into_inner();
    assert!(unlocked.unlock_key.is_empty());
    let locked = bench.store.update(|tx| {
        tx.modify::<Cluster>(&bench.cluster_id, |cluster| {
            let key = |subsystem: &str, key: &'static [u8]| EncryptionKey {
                subsystem: subsystem.into(),
                key: Bytes::from_static(key),
                ..Default::default()
            };
            cluster.unlock_keys = vec![key("other", b"no"), key("swarm-manager", b"yes")];
        })
    });
    let version = locked.await.unwrap().meta.unwrap().version;
    let answer = ask().await.unwrap().into_inner();
    assert_eq!(answer.unlock_key, &b"yes"[..]);
    assert_eq!(answer.version, version);
    assert!(version.unwrap().index > unlocked.version.unwrap().index);
}

#[tokio::test]
async fn a_request_that_cannot_be_signed_fails_with_the_reason() {
    let bench = Bench::new().await;
    let _signing = bench.signing();
    // Not by the service, which would have refused it: as a peer manager may have written it.
    let broken = bench.store.update(|tx| {
        tx.modify::<Node>(&bench.own, |node| {
            let csr = Bytes::from_static(b"not a request");
            node.certificate = Some(request::entry("x", 1, csr, State::Renew));
        })
    });
    broken.await.unwrap();
    let certificate = bench.status(bench.own.as_str()).await.unwrap();
    let status = certificate.status.unwrap();
    assert_eq!(status.state(), State::Failed);
    assert!(!status.err.is_empty());
}

/// Plays the nodes: who is asked to renew does, and reports what it got.
async fn play_nodes(bench: &Bench, trust: RootCa) {
    let (_view, mut watcher) = bench.store.watch(Selector::kinds(&[Kind::Node]));
    loop {
        let view = bench.store.view();
        let asked: Vec<String> = view
            .all::<Node>()
            .filter(|node| request::state(node) == State::Rotate)
            .map(|node| node.id.clone())
            .collect();
        drop(view);
        for node_id in asked {
            let (_, csr) = request();
            bench.issue(certified(&node_id), "", &csr).await.unwrap();
            let certificate = bench.status(&node_id).await.unwrap();
            report(bench, &node_id, &trust, &certificate.certificate).await;
        }
        watcher.next().await.unwrap();
    }
}

/// What a node's session reports of its TLS.
async fn report(bench: &Bench, node_id: &str, trust: &RootCa, chain: &[u8]) {
    let chain = trust.verify_pem(chain, bench.clock.now()).unwrap();
    let issuer = trust.issuer_of(&chain).unwrap().clone();
    let reported = bench.store.update(|tx| {
        tx.modify::<Node>(&node_id.parse().unwrap(), |node| {
            let description = node.description.get_or_insert_with(NodeDescription::default);
            description.tls_info = Some(NodeTlsInfo {
                trust_root: trust.pem().clone(),
                cert_issuer_subject: issuer.subject,
                cert_issuer_public_key: issuer.public_key,
            });
        })
    });
    reported.await.unwrap();
}

#[tokio::test]
async fn a_forced_rotation_ends_with_a_new_root_and_new_tokens() {
    let bench = Bench::new().await;
    let (_signing, _rotating) = (bench.signing(), bench.rotating());
    let before = bench.cluster();
    let worker = bench.tokens().worker;
    for _ in 0..3 {
        let (_, csr) = request();
        let node_id = bench.issue(anonymous(), &worker, &csr).await.unwrap().node_id;
        let certificate = bench.status(&node_id).await.unwrap();
        report(&bench, &node_id, &bench.root, &certificate.certificate).await;
    }

    let config = CaConfig { force_rotate: 1, ..before.spec.clone().unwrap().ca_config.unwrap() };
    let begun = bench.authority.ca_change().change(&before, &config).await.unwrap();
    assert_eq!(begun.ca_cert, before.root_ca.as_ref().unwrap().ca_cert);
    assert_eq!(begun.join_tokens, before.root_ca.as_ref().unwrap().join_tokens);
    let next =
        RootCa::from_pem(begun.root_rotation.as_ref().unwrap().ca_cert.clone(), bench.clock.now())
            .unwrap();
    let set = bench.store.update(|tx| {
        tx.modify::<Cluster>(&bench.cluster_id, |cluster| {
            cluster.root_ca = Some(begun);
            cluster.spec.as_mut().unwrap().ca_config = Some(config);
        })
    });
    set.await.unwrap();

    let cluster_id = bench.cluster_id;
    let finished = bench.until(|tables| {
        let cluster = tables.get::<Cluster>(&cluster_id).unwrap();
        cluster.root_ca.as_ref().unwrap().root_rotation.is_none()
    });
    tokio::select! {
        () = finished => {}
        () = play_nodes(&bench, bench.root.clone()) => unreachable!("nodes never stop"),
    }

    let after = bench.cluster().root_ca.unwrap();
    assert_eq!(&after.ca_cert, next.pem());
    assert_eq!(after.ca_cert_hash, next.digest().to_string());
    assert_eq!(after.last_forced_rotation, 1);
    assert_ne!(bench.tokens(), before.root_ca.unwrap().join_tokens.unwrap());
    assert_eq!(bench.tokens().worker.parse::<JoinToken>().unwrap().root(), next.digest());
    for node in bench.store.view().all::<Node>() {
        let chain = &node.certificate.as_ref().unwrap().certificate;
        next.verify_pem(chain, bench.clock.now()).unwrap();
    }
    // Who joins now is signed by the new root alone.
    let (_, csr) = request();
    let node_id = bench.issue(anonymous(), &bench.tokens().worker, &csr).await.unwrap().node_id;
    let certificate = bench.status(&node_id).await.unwrap();
    assert_eq!(next.verify_pem(&certificate.certificate, bench.clock.now()).unwrap().len(), 1);
    assert!(bench.root.verify_pem(&certificate.certificate, bench.clock.now()).is_err());
}

#[tokio::test]
async fn a_change_that_cannot_be_followed_is_refused_with_the_reason() {
    let bench = Bench::new().await;
    let cluster = bench.cluster();
    let change = |config: CaConfig| {
        let roots = bench.authority.ca_change();
        let cluster = cluster.clone();
        async move { roots.change(&cluster, &config).await }
    };
    let kept = change(CaConfig::default()).await.unwrap();
    assert_eq!(Some(kept), cluster.root_ca);

    let key = Bytes::from_static(b"key");
    let lone = CaConfig { signing_ca_key: key, ..Default::default() };
    assert!(matches!(change(lone).await, Err(CaChangeError::Invalid(_))));

    // To a root whose key an external CA has, which nobody answers for.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let next = RootCa::generate(bench.clock.now()).unwrap();
    let external = CaConfig {
        signing_ca_cert: next.pem().clone(),
        external_cas: vec![swarmkit::ExternalCa {
            url: format!("https://{closed}/sign"),
            ca_cert: next.pem().clone(),
            ..Default::default()
        }],
        ..Default::default()
    };
    let Err(CaChangeError::Invalid(why)) = change(external).await else { panic!("accepted") };
    assert!(why.contains("at least one reachable external CA for the desired root"), "{why}");

    let own = CaConfig {
        signing_ca_cert: next.pem().clone(),
        signing_ca_key: next.signer().unwrap().key().to_pem().to_vec().into(),
        ..Default::default()
    };
    let begun = change(own).await.unwrap();
    let rotation = begun.root_rotation.unwrap();
    assert_eq!(&rotation.ca_cert, next.pem());
    let cross = &Certificate::from_pem(&rotation.cross_signed_ca_cert).unwrap()[0];
    assert!(cross.verify_signed_by(&bench.root.certificates()[0]).is_ok());
}

#[test]
fn the_services_can_be_shared() {
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Authority>();
    shared::<super::CaService>();
    shared::<super::NodeCaService>();
    shared::<Arc<dyn crate::control::CaChange>>();
}
