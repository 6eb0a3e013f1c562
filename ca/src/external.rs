//! External CAs: the CFSSL protocol, JSON over HTTPS, with the manager's own certificate as proof.

use std::{io, sync::Arc, time::Duration};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::{Deserialize, Serialize};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, client::TlsStream};

use crate::{
    Clock, Credentials, Csr, Identity, NodeKey, Role, RootCa, SecurityConfig,
    certificate::{Certificate, CertificateError},
    identity::CA,
    key::KeyError,
};

/// Bound on one request: connection, handshake and answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
/// The longest answer that is read: a certificate and its chain take a few KiB.
const REPLY_LEN_MAX: usize = 256 << 10;
/// The profile under which an external CA signs other CAs.
const CROSS_SIGN_PROFILE: &str = "CA";

/// Why an external CA gave no certificate.
#[derive(Debug, thiserror::Error)]
pub enum ExternalError {
    /// Not `https://HOST[:PORT]/PATH`.
    #[error("{url:?} is not the address of an external CA: expected https://HOST[:PORT]/PATH")]
    Url {
        /// What was given.
        url: String,
    },
    /// No connection, or no proof of being under the root.
    #[error("cannot reach external CA {url}")]
    Connect {
        /// The external CA.
        url: String,
        /// Why not.
        source: io::Error,
    },
    /// The exchange broke off.
    #[error("external CA {url} did not answer properly: {reason}")]
    Exchange {
        /// The external CA.
        url: String,
        /// What went wrong.
        reason: String,
    },
    /// It answered no.
    #[error("external CA {url} refused to sign: {reason}")]
    Refused {
        /// The external CA.
        url: String,
        /// Its words.
        reason: String,
    },
    /// It signed something else.
    #[error("external CA {url} issued a certificate that cannot be used: {reason}")]
    Unusable {
        /// The external CA.
        url: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Our own key or certificate does not serve.
    #[error("cannot prepare a request to an external CA")]
    Key(#[from] KeyError),
    /// No external CA signs for this root.
    #[error("no external CA URLs")]
    NoUrls,
}

/// A client of the external CAs that sign for one root.
#[derive(Clone)]
pub struct ExternalCas {
    urls: Vec<String>,
    tls: Arc<ClientConfig>,
    root: RootCa,
    clock: Clock,
}

#[derive(Serialize)]
struct SignRequest<'a> {
    hosts: Vec<&'a str>,
    certificate_request: &'a str,
    subject: Subject<'a>,
    #[serde(skip_serializing_if = "str::is_empty")]
    profile: &'a str,
}

#[derive(Serialize)]
struct Subject<'a> {
    #[serde(rename = "CN")]
    common_name: &'a str,
    names: Vec<Name<'a>>,
}

#[derive(Serialize)]
struct Name<'a> {
    #[serde(rename = "O")]
    organization: &'a str,
    #[serde(rename = "OU")]
    organizational_unit: &'a str,
}

#[derive(Deserialize)]
struct Reply {
    #[serde(default)]
    success: bool,
    result: Option<Signed>,
    #[serde(default)]
    errors: Vec<Message>,
}

#[derive(Deserialize)]
struct Signed {
    #[serde(default)]
    certificate: String,
}

#[derive(Deserialize)]
struct Message {
    #[serde(default)]
    message: String,
}

impl ExternalCas {
    /// The external CAs at `urls`, which must prove themselves under `root`; we prove ourselves with the present node
    /// certificate.
    pub fn new(urls: Vec<String>, root: &RootCa, security: &SecurityConfig) -> ExternalCas {
        let clock = security.clock().clone();
        let tls = client_config(root, &security.credentials(), &clock);
        ExternalCas { urls, tls, root: root.clone(), clock }
    }

    /// Has a node's certificate signed by the first of the external CAs that does: a PEM chain that verifies under the
    /// root. Safe to drop.
    pub async fn issue(&self, csr: &Csr, identity: Identity) -> Result<Bytes, ExternalError> {
        let public_key = csr.public_key().map_err(|error| ExternalError::Refused {
            url: String::new(),
            reason: error.to_string(),
        })?;
        let unit = identity.role.organizational_unit();
        let mut hosts = vec![unit, identity.node_id.as_str()];
        hosts.extend((identity.role == Role::Manager).then_some(CA));
        let request = SignRequest {
            hosts,
            certificate_request: &String::from_utf8_lossy(csr.pem()),
            subject: Subject {
                common_name: identity.node_id.as_str(),
                names: vec![Name {
                    organization: identity.cluster_id.as_str(),
                    organizational_unit: unit,
                }],
            },
            profile: "",
        };
        let check = |chain: &[Certificate]| {
            if chain[0].public_key != public_key {
                return Err("it is for another key".to_owned());
            }
            match Identity::from_certificate(&chain[0].der) {
                Ok(found) if found == identity => {}
                Ok(found) => return Err(format!("it is for {found:?}")),
                Err(error) => return Err(error.to_string()),
            }
            self.root.verify(chain, self.clock.now()).map_err(|error| error.to_string())
        };
        self.first_that_signs(&request, check).await
    }

    /// Has a new root signed by the external CA of the current one: PEM. `key` is the new root's. Safe to drop.
    pub async fn cross_sign(
        &self,
        root: &Certificate,
        key: &NodeKey,
    ) -> Result<Bytes, ExternalError> {
        let csr = key.request()?;
        let name = crate::identity::common_name(&root.der).unwrap_or_default();
        let request = SignRequest {
            hosts: Vec::new(),
            certificate_request: &String::from_utf8_lossy(csr.pem()),
            subject: Subject { common_name: &name, names: Vec::new() },
            profile: CROSS_SIGN_PROFILE,
        };
        let check = |chain: &[Certificate]| {
            let certified = &chain[0];
            if certified.public_key != root.public_key || certified.subject != root.subject {
                return Err("it is not for the new root".to_owned());
            }
            if !certified.is_ca {
                return Err("it is no CA certificate".to_owned());
            }
            if !self.root.certificates().iter().any(|c| certified.verify_signed_by(c).is_ok()) {
                return Err("it is not signed by the current root".to_owned());
            }
            Ok(())
        };
        self.first_that_signs(&request, check).await
    }

    /// Whether one of the external CAs can be reached and is under the root; the last one's failure if none is.
    pub async fn check_reachable(&self) -> Result<(), ExternalError> {
        let mut last = ExternalError::NoUrls;
        for url in &self.urls {
            match self.connect(url).await {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn first_that_signs(
        &self,
        request: &SignRequest<'_>,
        check: impl Fn(&[Certificate]) -> Result<(), String>,
    ) -> Result<Bytes, ExternalError> {
        let body = Bytes::from(serde_json::to_vec(request).expect("strings serialize"));
        let mut last = ExternalError::NoUrls;
        for url in &self.urls {
            let signed = self.post(url, body.clone()).await.and_then(|pem| {
                let chain =
                    Certificate::from_pem(&pem).map_err(|e: CertificateError| e.to_string());
                let checked = chain.and_then(|chain| check(&chain));
                match checked {
                    Ok(()) => Ok(pem),
                    Err(reason) => Err(ExternalError::Unusable { url: url.clone(), reason }),
                }
            });
            match signed {
                Ok(pem) => return Ok(pem),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn post(&self, url: &str, body: Bytes) -> Result<Bytes, ExternalError> {
        let exchange = async {
            let (stream, uri) = self.connect(url).await?;
            self.exchange(url, stream, &uri, body).await
        };
        match tokio::time::timeout(REQUEST_TIMEOUT, exchange).await {
            Ok(answer) => answer,
            Err(_) => Err(broken(url, "no answer within five seconds")),
        }
    }

    async fn exchange(
        &self,
        url: &str,
        stream: TlsStream<TcpStream>,
        uri: &Uri,
        body: Bytes,
    ) -> Result<Bytes, ExternalError> {
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| broken(url, &error.to_string()))?;
        let request = Request::builder()
            .method(Method::POST)
            .uri(uri.path_and_query().map_or("/", |path| path.as_str()))
            .header(header::HOST, uri.authority().map_or("", |authority| authority.as_str()))
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|error| broken(url, &error.to_string()))?;
        let asked = async {
            let response = sender
                .send_request(request)
                .await
                .map_err(|error| broken(url, &error.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), REPLY_LEN_MAX).collect().await;
            let body = body.map_err(|error| broken(url, &error.to_string()))?.to_bytes();
            read_reply(url, status, &body)
        };
        // The connection must be driven beside the request, and is dropped with it.
        tokio::pin!(asked);
        tokio::select! {
            answer = &mut asked => answer,
            ended = connection => match ended {
                Ok(()) => asked.await,
                Err(error) => Err(broken(url, &error.to_string())),
            },
        }
    }

    async fn connect(&self, url: &str) -> Result<(TlsStream<TcpStream>, Uri), ExternalError> {
        let invalid = || ExternalError::Url { url: url.to_owned() };
        let uri: Uri = url.parse().map_err(|_| invalid())?;
        let host = uri.host().ok_or_else(invalid)?.trim_matches(['[', ']']).to_owned();
        if uri.scheme_str() != Some("https") {
            return Err(invalid());
        }
        let port = uri.port_u16().unwrap_or(443);
        let name = ServerName::try_from(host.clone()).map_err(|_| invalid())?;
        let connecting = async {
            let tcp = TcpStream::connect((host.as_str(), port)).await?;
            TlsConnector::from(Arc::clone(&self.tls)).connect(name, tcp).await
        };
        let connected = tokio::time::timeout(REQUEST_TIMEOUT, connecting).await;
        let connected = connected
            .unwrap_or_else(|_| Err(io::Error::new(io::ErrorKind::TimedOut, "connect timed out")));
        match connected {
            Ok(stream) => Ok((stream, uri)),
            Err(source) => Err(ExternalError::Connect { url: url.to_owned(), source }),
        }
    }
}

/// Our client configuration under `root`, for HTTP/1.1.
fn client_config(root: &RootCa, credentials: &Credentials, clock: &Clock) -> Arc<ClientConfig> {
    let mut config = (*crate::tls::client_config_under(root, credentials, clock)).clone();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Arc::new(config)
}

fn read_reply(url: &str, status: StatusCode, body: &[u8]) -> Result<Bytes, ExternalError> {
    // CFSSL tells its reason in the body, whatever the status.
    let Ok(reply) = serde_json::from_slice::<Reply>(body) else {
        return Err(broken(url, &format!("HTTP status {status}, and no CFSSL reply")));
    };
    match reply.result.filter(|_| reply.success && status.is_success()) {
        Some(signed) if !signed.certificate.is_empty() => Ok(signed.certificate.into()),
        _ => {
            let words: Vec<_> = reply.errors.into_iter().map(|error| error.message).collect();
            let reason = match words.is_empty() {
                true => format!("HTTP status {status}, without a reason"),
                false => words.join("; "),
            };
            Err(ExternalError::Refused { url: url.to_owned(), reason })
        }
    }
}

fn broken(url: &str, reason: &str) -> ExternalError {
    ExternalError::Exchange { url: url.to_owned(), reason: reason.to_owned() }
}
