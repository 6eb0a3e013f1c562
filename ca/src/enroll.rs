//! How a node comes to a certificate: download the root that the join token pins, ask for a certificate, wait for it.
//! Renewal is the same request, proven by the present certificate instead of a token.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use rustls::ClientConfig;
use skep_proto::swarmkit::{
    GetRootCaCertificateRequest, GetUnlockKeyRequest, IssueNodeCertificateRequest,
    NodeCertificateStatusRequest, ca_client::CaClient, issuance_status::State,
    node_ca_client::NodeCaClient, node_spec::Availability,
};
use tonic::{Code, Status, transport::Channel};

use crate::{
    Clock, Credentials, Identity, JoinToken, Kek, NodeKey, PeerName, Role, RootCa, RootDigest,
    SecurityConfig, UnlockKey,
    connect::{ConnectError, Dial},
    key::KeyError,
    root::{RootError, VerifyError},
    tls::{self, SecurityError},
};

/// Attempts at a root download: managers that are just starting get ten seconds.
const DOWNLOAD_ATTEMPTS: usize = 5;
const DOWNLOAD_INTERVAL: Duration = Duration::from_secs(2);
/// Bound on one call. A status that has not changed by then is asked for again.
const CALL_TIMEOUT: Duration = Duration::from_secs(5);
/// Between polls that failed.
const POLL_BACKOFF_MIN: Duration = Duration::from_secs(1);
const POLL_BACKOFF_MAX: Duration = Duration::from_secs(30);
/// Attempts at one request before the caller's own back-off takes over.
const ISSUE_ATTEMPTS: usize = 5;

/// Where managers are found.
pub trait Managers: Send + Sync + 'static {
    /// A channel to some manager, dialled with this configuration and name; another manager each time if there are
    /// several. Unless `remote_only`, it may be this node's own control socket.
    fn channel(
        &self,
        tls: Arc<ClientConfig>,
        name: PeerName,
        remote_only: bool,
    ) -> BoxFuture<'_, Result<Channel, ConnectError>>;
}

/// Managers at fixed addresses (`HOST:PORT`), taken in turn.
#[derive(Debug)]
pub struct Remotes {
    addrs: Vec<String>,
    next: std::sync::atomic::AtomicUsize,
}

impl Remotes {
    /// At least one address is needed to ever get a channel.
    pub fn new(addrs: Vec<String>) -> Remotes {
        Remotes { addrs, next: 0.into() }
    }
}

impl Managers for Remotes {
    fn channel(
        &self,
        tls: Arc<ClientConfig>,
        name: PeerName,
        _: bool,
    ) -> BoxFuture<'_, Result<Channel, ConnectError>> {
        let turn = self.next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let addr = self.addrs.get(turn % self.addrs.len().max(1));
        Box::pin(async move {
            let addr = addr.ok_or(ConnectError::Address { addr: String::new() })?;
            Dial::new(tls, name).connect(addr).await
        })
    }
}

/// Why there is no root.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// No manager could be reached.
    #[error("cannot download the root CA")]
    Connect(#[from] ConnectError),
    /// A manager refused.
    #[error("cannot download the root CA: {}", .0.message())]
    Call(#[source] Box<Status>),
    /// Not the cluster that the token is for, or somebody in between.
    #[error(
        "remote CA does not match fingerprint: the join token expects {expected}, the manager serves {found}. \
         Check that address and token belong to the same cluster, and that the token has not been rotated away"
    )]
    Fingerprint {
        /// What the token pins.
        expected: RootDigest,
        /// What came.
        found: RootDigest,
    },
    /// The right bytes, and no root.
    #[error("the cluster's root CA cannot be used")]
    Root(#[from] RootError),
}

/// Downloads the root, without verifying the manager; its bytes must have the digest that the join token carries.
/// Without one, whatever comes is trusted. Five attempts, two seconds apart. Safe to drop.
pub async fn download_root(
    managers: &dyn Managers,
    expected: Option<RootDigest>,
    clock: &Clock,
) -> Result<RootCa, DownloadError> {
    let mut attempt = 1;
    loop {
        let error = match download_once(managers, expected, clock).await {
            Ok(root) => return Ok(root),
            // Asking again does not change what a cluster is.
            Err(error @ (DownloadError::Root(_) | DownloadError::Fingerprint { .. })) => {
                return Err(error);
            }
            Err(error) => error,
        };
        if attempt == DOWNLOAD_ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(DOWNLOAD_INTERVAL).await;
    }
}

async fn download_once(
    managers: &dyn Managers,
    expected: Option<RootDigest>,
    clock: &Clock,
) -> Result<RootCa, DownloadError> {
    let tls = tls::unverified_client_config();
    let channel = managers.channel(tls, PeerName::Manager, true).await?;
    let call = async {
        CaClient::new(channel).get_root_ca_certificate(GetRootCaCertificateRequest {}).await
    };
    let pem = timed(call).await.map_err(|s| DownloadError::Call(Box::new(s)))?.certificate;
    let found = RootDigest::of(&pem);
    match expected {
        Some(expected) if expected != found => Err(DownloadError::Fingerprint { expected, found }),
        _ => Ok(RootCa::from_pem(pem, clock.now())?),
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum EnrollError {
    /// No key could be made.
    #[error("cannot make a key for the node")]
    Key(#[from] KeyError),
    /// No manager could be reached.
    #[error("cannot reach a manager for a certificate")]
    Connect(#[from] ConnectError),
    /// A manager refused; its reason is in the text.
    #[error("certificate request refused: {}", .0.message())]
    Refused(#[source] Box<Status>),
    /// The CA could not sign.
    #[error("the cluster's CA could not issue a certificate: {0}")]
    Failed(String),
    /// The node is gone from the cluster.
    #[error("node {0} was removed from the cluster while it waited for its certificate")]
    Removed(String),
    /// What was issued does not verify.
    #[error("the issued certificate cannot be used")]
    Verify(#[from] VerifyError),
    /// What was issued is not for us.
    #[error("the issued certificate cannot be used")]
    Security(#[from] SecurityError),
    /// The unlock key could not be had.
    #[error("cannot get the unlock key that the node's key is to be sealed with: {}", .0.message())]
    UnlockKey(#[source] Box<Status>),
}

/// A new certificate with its key, and what the key is to be sealed with on disk.
#[derive(Clone, Debug)]
pub struct Enrolled {
    /// Verified under the root that was asked with.
    pub credentials: Credentials,
    /// Always empty for workers.
    pub kek: Kek,
}

/// Asks for a first certificate with a join token. Returns when it is issued, which may take as long as the CA takes:
/// drop the future to give up. A node object that was made for it stays pending in the cluster then.
pub async fn join(
    managers: &dyn Managers,
    root: &RootCa,
    token: &JoinToken,
    availability: Availability,
    clock: &Clock,
) -> Result<Enrolled, EnrollError> {
    let request = IssueNodeCertificateRequest {
        token: token.expose().to_owned(),
        availability: availability.into(),
        ..Default::default()
    };
    let tls = tls::anonymous_client_config(root, clock);
    obtain(managers, &Dialling { tls, name: PeerName::Ca, remote_only: true }, root, request, clock)
        .await
}

/// Asks for a certificate in place of the present one, with a new key. Changes nothing here: the caller writes it to
/// disk and swaps it in. Safe to drop.
pub async fn renew(
    managers: &dyn Managers,
    security: &SecurityConfig,
    remote_only: bool,
) -> Result<Enrolled, EnrollError> {
    let dialling = Dialling { tls: security.client_config(), name: PeerName::Manager, remote_only };
    let request = IssueNodeCertificateRequest::default();
    obtain(managers, &dialling, &security.root(), request, security.clock()).await
}

struct Dialling {
    tls: Arc<ClientConfig>,
    name: PeerName,
    remote_only: bool,
}

async fn obtain(
    managers: &dyn Managers,
    dialling: &Dialling,
    root: &RootCa,
    mut request: IssueNodeCertificateRequest,
    clock: &Clock,
) -> Result<Enrolled, EnrollError> {
    let key = NodeKey::generate()?;
    let csr = key.request()?;
    request.csr = csr.pem().clone();
    let (node_id, channel) = issue(managers, dialling, request).await?;
    let chain = wait_for(managers, dialling, channel, &node_id, csr.pem()).await?;
    root.verify_pem(&chain, clock.now())?;
    let credentials = Credentials::new(chain, key)?;
    let kek = unlock_key(managers, root, &credentials, clock).await?;
    Ok(Enrolled { credentials, kek })
}

/// Sends the request. A manager that cannot be reached or is about to stop leads to another one; a refusal is final.
async fn issue(
    managers: &dyn Managers,
    dialling: &Dialling,
    request: IssueNodeCertificateRequest,
) -> Result<(String, Channel), EnrollError> {
    let mut attempt = 1;
    loop {
        let remote_only = dialling.remote_only || attempt > 1;
        let tls = Arc::clone(&dialling.tls);
        let error = match managers.channel(tls, dialling.name, remote_only).await {
            Ok(channel) => {
                let mut client = NodeCaClient::new(channel.clone());
                match timed(client.issue_node_certificate(request.clone())).await {
                    Ok(response) => return Ok((response.node_id, channel)),
                    Err(status) if is_final(&status) => {
                        return Err(EnrollError::Refused(Box::new(status)));
                    }
                    Err(status) => EnrollError::Refused(Box::new(status)),
                }
            }
            Err(error) => error.into(),
        };
        if attempt == ISSUE_ATTEMPTS {
            return Err(error);
        }
        attempt += 1;
        tokio::time::sleep(POLL_BACKOFF_MIN).await;
    }
}

/// Polls until the certificate for exactly our request is issued. The answer to another request than ours is not ours,
/// whatever it says.
async fn wait_for(
    managers: &dyn Managers,
    dialling: &Dialling,
    mut channel: Channel,
    node_id: &str,
    csr: &Bytes,
) -> Result<Bytes, EnrollError> {
    let mut backoff = POLL_BACKOFF_MIN;
    loop {
        let request = NodeCertificateStatusRequest { node_id: node_id.to_owned() };
        let mut client = NodeCaClient::new(channel.clone());
        match timed(client.node_certificate_status(request)).await {
            Ok(response) => {
                let certificate = response.certificate.unwrap_or_default();
                let status = response.status.unwrap_or_default();
                let ours = certificate.csr == *csr;
                match State::try_from(status.state) {
                    Ok(State::Issued | State::Rotate) if ours => return Ok(certificate.certificate),
                    Ok(State::Failed) if ours => return Err(EnrollError::Failed(status.err)),
                    _ => {}
                }
            }
            Err(status) if status.code() == Code::NotFound => {
                return Err(EnrollError::Removed(node_id.to_owned()));
            }
            Err(status) if status.code() == Code::DeadlineExceeded => continue,
            Err(_) => {
                let tls = Arc::clone(&dialling.tls);
                if let Ok(another) = managers.channel(tls, dialling.name, true).await {
                    channel = another;
                }
            }
        }
        tokio::time::sleep(backoff).await;
        backoff = (backoff * 2).min(POLL_BACKOFF_MAX);
    }
}

/// The cluster's unlock key, for a node that has just become a manager: asked for before its key is written, so that
/// the key never lies in clear on the disk of a locked cluster. Workers' keys are not sealed.
async fn unlock_key(
    managers: &dyn Managers,
    root: &RootCa,
    credentials: &Credentials,
    clock: &Clock,
) -> Result<Kek, EnrollError> {
    let Identity { role, .. } = credentials.identity();
    if role == Role::Worker {
        return Ok(Kek::default());
    }
    let tls = tls::client_config_under(root, credentials, clock);
    let mut attempt = 1;
    loop {
        let asked = async {
            let channel = managers
                .channel(Arc::clone(&tls), PeerName::Ca, true)
                .await
                .map_err(|error| Status::unavailable(error.to_string()))?;
            timed(CaClient::new(channel).get_unlock_key(GetUnlockKeyRequest {})).await
        };
        match asked.await {
            Ok(response) => {
                let version = response.version.map_or(0, |version| version.index);
                return Ok(Kek { key: UnlockKey::from_raw(&response.unlock_key), version });
            }
            // A manager too old to know of unlock keys has none.
            Err(status) if status.code() == Code::Unimplemented => return Ok(Kek::default()),
            Err(status) if attempt == ISSUE_ATTEMPTS => {
                return Err(EnrollError::UnlockKey(Box::new(status)));
            }
            Err(_) => attempt += 1,
        }
        tokio::time::sleep(POLL_BACKOFF_MIN).await;
    }
}

/// Whether asking another manager, or again, is of no use.
fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
    )
}

async fn timed<T>(
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => answer.map(tonic::Response::into_inner),
        Err(_) => Err(Status::deadline_exceeded("no answer within five seconds")),
    }
}
