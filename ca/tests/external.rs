//! The CFSSL protocol against a server that speaks it, or does not.

mod support;

use std::{net::SocketAddr, sync::Arc};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use rustls_pki_types::PrivatePkcs8KeyDer;
use serde_json::{Value, json};
use skep_ca::{
    Csr, Identity, NodeKey, Role, RootCa,
    external::{ExternalCas, ExternalError},
    provider,
};
use support::*;
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

type Answer = Box<dyn Fn(&Value) -> (StatusCode, Vec<u8>) + Send + Sync>;

/// A CFSSL server under the cluster's root, for callers with a certificate under it.
struct Cfssl {
    addr: SocketAddr,
    requests: Arc<Mutex<Vec<Value>>>,
}

impl Cfssl {
    async fn start(cluster: &Cluster, answer: Answer) -> Cfssl {
        let config = server_config(cluster);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (answer, seen) = (Arc::new(answer), Arc::clone(&requests));
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let acceptor = TlsAcceptor::from(Arc::clone(&config));
                let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                tokio::spawn(async move {
                    let Ok(tls) = acceptor.accept(tcp).await else { return };
                    let service = service_fn(move |request: Request<Incoming>| {
                        let (answer, seen) = (Arc::clone(&answer), Arc::clone(&seen));
                        async move {
                            assert_eq!(request.uri().path(), "/api/v1/cfssl/sign");
                            let body = request.into_body().collect().await.unwrap().to_bytes();
                            let request: Value = serde_json::from_slice(&body).unwrap();
                            let (status, body) = answer(&request);
                            seen.lock().push(request);
                            let mut response = Response::new(Full::new(Bytes::from(body)));
                            *response.status_mut() = status;
                            Ok::<_, std::convert::Infallible>(response)
                        }
                    });
                    let http = hyper::server::conn::http1::Builder::new();
                    let _ = http.serve_connection(TokioIo::new(tls), service).await;
                });
            }
        });
        Cfssl { addr, requests }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/api/v1/cfssl/sign", self.addr.port())
    }
}

/// HTTPS for `localhost` with a certificate under the cluster's root, and client certificates required.
fn server_config(cluster: &Cluster) -> Arc<rustls::ServerConfig> {
    let ca = &cluster.root.certificates()[0];
    let ca_key = cluster.root.signer().unwrap().key().to_pem();
    let ca_key = rcgen::KeyPair::from_pem(std::str::from_utf8(&ca_key).unwrap()).unwrap();
    let issuer = rcgen::Issuer::from_ca_cert_der(&ca.der, ca_key).unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    let parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = parameters.signed_by(&key, &issuer).unwrap();
    let mut roots = rustls::RootCertStore::empty();
    roots.add(ca.der.clone()).unwrap();
    let clients =
        rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider());
    let config =
        rustls::ServerConfig::builder_with_details(provider(), Arc::new(cluster.clock.clone()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivatePkcs8KeyDer::from(key.serialize_der()).into(),
            );
    Arc::new(config.unwrap())
}

fn signed(pem: &[u8]) -> (StatusCode, Vec<u8>) {
    let certificate = std::str::from_utf8(pem).unwrap();
    let reply = json!({
        "success": true, "result": { "certificate": certificate }, "errors": [], "messages": [],
    });
    (StatusCode::OK, reply.to_string().into_bytes())
}

fn client(urls: Vec<String>, cluster: &Cluster) -> ExternalCas {
    ExternalCas::new(urls, &cluster.root, &cluster.node(Role::Manager))
}

/// Signs as the request says, with the cluster's own key.
fn signing(cluster: &Cluster) -> Answer {
    let (root, clock) = (cluster.root.clone(), cluster.clock.clone());
    Box::new(move |request| {
        let name = &request["subject"]["names"][0];
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let identity = Identity {
            node_id: text(&request["subject"]["CN"]).parse().unwrap(),
            role: Role::from_organizational_unit(&text(&name["OU"])).unwrap(),
            cluster_id: text(&name["O"]).parse().unwrap(),
        };
        let csr = Csr::from_pem(text(&request["certificate_request"]).into());
        signed(&root.issue(&csr, identity, DAY, clock.now()).unwrap())
    })
}

#[tokio::test]
async fn an_external_ca_signs_what_it_is_asked() {
    let cluster = Cluster::new();
    let server = Cfssl::start(&cluster, signing(&cluster)).await;
    let external = client(vec![server.url()], &cluster);
    external.check_reachable().await.unwrap();
    for role in [Role::Worker, Role::Manager] {
        let identity = cluster.identity(role);
        let csr = NodeKey::generate().unwrap().request().unwrap();
        let chain = external.issue(&csr, identity).await.unwrap();
        let chain = cluster.root.verify_pem(&chain, cluster.clock.now()).unwrap();
        assert_eq!(Identity::from_certificate(&chain[0].der), Ok(identity));
        let request = server.requests.lock().pop().unwrap();
        let node_id = identity.node_id.as_str();
        let mut hosts = vec![role.organizational_unit(), node_id];
        hosts.extend((role == Role::Manager).then_some("swarm-ca"));
        assert_eq!(
            request,
            json!({
                "hosts": hosts,
                "certificate_request": std::str::from_utf8(csr.pem()).unwrap(),
                "subject": {
                    "CN": node_id,
                    "names": [{ "O": cluster.id.as_str(), "OU": role.organizational_unit() }],
                },
            })
        );
    }
}

#[tokio::test]
async fn the_current_roots_external_ca_signs_the_next_root() {
    let cluster = Cluster::new();
    let next = RootCa::generate(cluster.clock.now()).unwrap();
    let cross = cluster.root.signer().unwrap().cross_sign(&next.certificates()[0]).unwrap();
    let answer = cross.clone();
    let server = Cfssl::start(&cluster, Box::new(move |_| signed(&answer))).await;
    let external = client(vec![server.url()], &cluster);
    let key = next.signer().unwrap().key();
    assert_eq!(external.cross_sign(&next.certificates()[0], key).await.unwrap(), cross);
    let request = server.requests.lock().pop().unwrap();
    assert_eq!(request["profile"], "CA");
    assert_eq!(request["subject"]["CN"], "swarm-ca");

    // A certificate for another root is not taken.
    let other = RootCa::generate(cluster.clock.now()).unwrap();
    let key = other.signer().unwrap().key();
    let error = external.cross_sign(&other.certificates()[0], key).await.unwrap_err();
    assert!(matches!(error, ExternalError::Unusable { .. }), "{error}");
}

#[tokio::test]
async fn what_an_external_ca_may_answer_wrongly() {
    let cluster = Cluster::new();
    let (csr, wanted) =
        (NodeKey::generate().unwrap().request().unwrap(), cluster.identity(Role::Worker));
    let foreign = Cluster { clock: cluster.clock.clone(), ..Cluster::new() };
    let issue = |root: &RootCa, csr: &Csr, identity: Identity| {
        signed(&root.issue(csr, identity, DAY, cluster.clock.now()).unwrap())
    };
    let other_key = NodeKey::generate().unwrap().request().unwrap();
    let manager = Identity { role: Role::Manager, ..wanted };
    let refusal = json!({
        "success": false, "result": null, "errors": [{ "code": 5100, "message": "no policy" }],
    });
    let text = |text: &str| (StatusCode::OK, text.as_bytes().to_vec());
    for (answer, expected) in [
        ((StatusCode::BAD_REQUEST, refusal.to_string().into_bytes()), "no policy"),
        ((StatusCode::INTERNAL_SERVER_ERROR, Vec::new()), "500"),
        (text("<html>"), "no CFSSL reply"),
        (text("{}"), "without a reason"),
        (text(r#"{"success":true,"result":{}}"#), "without a reason"),
        (signed(b"not PEM"), "not PEM"),
        (signed(csr.pem()), "not a certificate"),
        (issue(&cluster.root, &other_key, wanted), "another key"),
        (issue(&cluster.root, &csr, manager), "Manager"),
        (issue(&foreign.root, &csr, wanted), "does not verify"),
        ((StatusCode::OK, vec![b' '; (256 << 10) + 1]), "length limit exceeded"),
    ] {
        let server = Cfssl::start(&cluster, Box::new(move |_| answer.clone())).await;
        let error = client(vec![server.url()], &cluster).issue(&csr, wanted).await.unwrap_err();
        assert!(error.to_string().contains(expected), "{expected}: {error}");
    }
}

#[tokio::test]
async fn external_cas_are_tried_in_turn_and_must_be_under_the_root() {
    let cluster = Cluster::new();
    let (csr, identity) =
        (NodeKey::generate().unwrap().request().unwrap(), cluster.identity(Role::Worker));
    let foreign = Cluster { clock: cluster.clock.clone(), ..Cluster::new() };
    let stranger = Cfssl::start(&foreign, signing(&cluster)).await;
    let server = Cfssl::start(&cluster, signing(&cluster)).await;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let urls = vec![format!("https://{closed}/sign"), stranger.url(), server.url()];
    client(urls.clone(), &cluster).issue(&csr, identity).await.unwrap();
    assert_eq!(server.requests.lock().len(), 1);

    for url in &urls[..2] {
        let external = client(vec![url.clone()], &cluster);
        let error = external.issue(&csr, identity).await.unwrap_err();
        assert!(matches!(error, ExternalError::Connect { .. }), "{error}");
        assert!(external.check_reachable().await.is_err());
    }
    for url in ["", "localhost", "http://localhost/sign", "https:///sign", "ftp://x/"] {
        let error = client(vec![url.to_owned()], &cluster).issue(&csr, identity).await;
        assert!(matches!(error, Err(ExternalError::Url { .. })), "{url:?}");
    }
    let none = client(Vec::new(), &cluster).issue(&csr, identity).await.unwrap_err();
    assert_eq!(none.to_string(), "no external CA URLs");
}
