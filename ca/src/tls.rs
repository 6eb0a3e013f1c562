//! TLS that reloads itself: configurations are built once, and every handshake asks the [`SecurityConfig`] behind them
//! for the present certificate, key and roots. Connections that stand are not touched.
//!
//! No host name and no address is ever checked: a node is who its certificate says, and a manager answers under the
//! names that managers' certificates carry.

mod client;
mod server;

use std::{sync::Arc, time::SystemTime};

use arc_swap::ArcSwap;
use bytes::Bytes;
use rustls::{ClientConfig, ServerConfig, sign::CertifiedKey};
use rustls_pki_types::ServerName;
use skep_proto::swarmkit::NodeTlsInfo;
use tokio::sync::watch;

use crate::{
    Clock, Identity, NodeKey, RootCa,
    certificate::Certificate,
    identity::{CA, IdentityError, MANAGER},
    root::VerifyError,
};
pub(crate) use client::client_config_under;
pub use client::{anonymous_client_config, unverified_client_config};

/// HTTP/2, as gRPC peers insist.
const ALPN: &[u8] = b"h2";

/// The name under which a manager is dialled: both stand in every manager's certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerName {
    /// `swarm-manager`: every ordinary connection.
    Manager,
    /// `swarm-ca`: certificate requests without a client certificate, and the unlock key.
    Ca,
}

impl PeerName {
    /// The name as TLS takes it.
    pub fn server_name(self) -> ServerName<'static> {
        let name = match self {
            PeerName::Manager => MANAGER,
            PeerName::Ca => CA,
        };
        ServerName::try_from(name).expect("both names are valid DNS names")
    }
}

/// Why credentials or roots are not taken over. What was in use before stays in use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SecurityError {
    /// The certificate does not verify under the root.
    #[error("node certificate refused")]
    Verify(#[from] VerifyError),
    /// The certificate names nobody.
    #[error("node certificate names no node")]
    Identity(#[from] IdentityError),
    /// The key does not belong to the certificate.
    #[error("private key does not belong to the node certificate")]
    KeyMismatch,
}

/// A node's certificate chain with its key.
#[derive(Clone)]
pub struct Credentials {
    pem: Bytes,
    chain: Arc<[Certificate]>,
    identity: Identity,
    key: NodeKey,
    certified: Arc<CertifiedKey>,
}

impl Credentials {
    /// From a PEM chain, leaf first, and the leaf's key. The chain is verified by [`SecurityConfig`].
    pub fn new(chain_pem: Bytes, key: NodeKey) -> Result<Credentials, SecurityError> {
        let chain = Certificate::from_pem(&chain_pem)
            .map_err(|error| VerifyError::Untrusted(error.to_string()))?;
        if chain[0].public_key != key.public_key() {
            return Err(SecurityError::KeyMismatch);
        }
        let identity = Identity::from_certificate(&chain[0].der)?;
        let der = chain.iter().map(|certificate| certificate.der.clone()).collect();
        let certified = Arc::new(CertifiedKey::new(der, key.signing_key()));
        Ok(Credentials { pem: chain_pem, chain: chain.into(), identity, key, certified })
    }

    /// The chain as PEM, as it came.
    pub fn pem(&self) -> &Bytes {
        &self.pem
    }

    /// The chain, leaf first.
    pub fn chain(&self) -> &[Certificate] {
        &self.chain
    }

    /// Who the leaf says we are.
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// The key.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Start and end of the leaf's validity.
    pub fn validity(&self) -> (SystemTime, SystemTime) {
        (self.chain[0].not_before, self.chain[0].not_after)
    }
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Credentials({:?})", self.identity)
    }
}

/// A running node's identity and trust. Clones share them; a swap is seen by every handshake that begins after it.
#[derive(Clone)]
pub struct SecurityConfig {
    shared: Arc<Shared>,
    server: Arc<ServerConfig>,
    client: Arc<ClientConfig>,
}

struct Shared {
    present: ArcSwap<Present>,
    changed: watch::Sender<u64>,
    /// Serialises swaps, so that a certificate and a root that arrive together are checked against each other.
    swapping: parking_lot::Mutex<()>,
    clock: Clock,
}

#[derive(Clone)]
struct Present {
    credentials: Credentials,
    root: RootCa,
    server_verifier: Arc<rustls::client::WebPkiServerVerifier>,
    /// Found out once: it takes verifying a signature, and agents look at it all the time.
    tls_info: NodeTlsInfo,
}

/// The root bundle that a node trusts, and who issued its certificate.
fn tls_info(root: &RootCa, credentials: &Credentials) -> NodeTlsInfo {
    let issuer = root.issuer_of(credentials.chain());
    NodeTlsInfo {
        trust_root: root.pem().clone(),
        cert_issuer_subject: issuer.map(|c| c.subject.clone()).unwrap_or_default(),
        cert_issuer_public_key: issuer.map(|c| c.public_key.clone()).unwrap_or_default(),
    }
}

impl Shared {
    fn load(&self) -> Arc<Present> {
        self.present.load_full()
    }
}

impl SecurityConfig {
    /// Takes up an identity. An expired certificate is taken too, as long as it verified when it was valid: a node that
    /// slept through its renewal must be able to start and say so. Its handshakes fail until it is replaced.
    pub fn new(
        root: RootCa,
        credentials: Credentials,
        clock: Clock,
    ) -> Result<SecurityConfig, SecurityError> {
        let (_, not_after) = credentials.validity();
        root.verify(credentials.chain(), clock.now().min(not_after))?;
        let server_verifier = client::verifier(&root)?;
        let tls_info = tls_info(&root, &credentials);
        let present = Present { credentials, root, server_verifier, tls_info };
        let shared = Arc::new(Shared {
            present: ArcSwap::from_pointee(present),
            changed: watch::Sender::new(0),
            swapping: parking_lot::Mutex::new(()),
            clock,
        });
        let server = server::config(&shared);
        let client = client::config(&shared);
        Ok(SecurityConfig { shared, server, client })
    }

    /// Who this node is now.
    pub fn identity(&self) -> Identity {
        self.shared.load().credentials.identity
    }

    /// The present certificate and key.
    pub fn credentials(&self) -> Credentials {
        self.shared.load().credentials.clone()
    }

    /// The present root.
    pub fn root(&self) -> RootCa {
        self.shared.load().root.clone()
    }

    /// The clock that certificates are judged by.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// What this node reports of its TLS in its description: the root bundle it trusts, and who issued its certificate.
    pub fn tls_info(&self) -> NodeTlsInfo {
        self.shared.load().tls_info.clone()
    }

    /// Replaces certificate and key, if they verify under the present root.
    pub fn replace_credentials(&self, credentials: Credentials) -> Result<(), SecurityError> {
        self.swap(|present| present.credentials = credentials)
    }

    /// Replaces the root, if the present certificate verifies under the new one.
    pub fn replace_root(&self, root: RootCa) -> Result<(), SecurityError> {
        let server_verifier = client::verifier(&root)?;
        self.swap(|present| {
            present.root = root;
            present.server_verifier = server_verifier;
        })
    }

    fn swap(&self, change: impl FnOnce(&mut Present)) -> Result<(), SecurityError> {
        let _swapping = self.shared.swapping.lock();
        let mut next = Present::clone(&self.shared.load());
        change(&mut next);
        next.root.verify(next.credentials.chain(), self.shared.clock.now())?;
        next.tls_info = tls_info(&next.root, &next.credentials);
        self.shared.present.store(Arc::new(next));
        self.shared.changed.send_modify(|generation| *generation += 1);
        Ok(())
    }

    /// Changes whenever certificate or root have been replaced. The value counts the replacements.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.shared.changed.subscribe()
    }

    /// Resolves when certificate or root have been replaced since the call. Safe to drop.
    pub fn changed(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut changes = self.watch();
        changes.mark_unchanged();
        async move {
            // Once nobody holds the identity any more, nothing replaces it.
            if changes.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// For listeners, built once: TLS 1.2 and up, ALPN h2, our certificate whatever name is asked for, client
    /// certificates verified if given. No resumption: a resumed session would not be verified again after a rotation.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }

    /// For connections to managers, built once: presents our certificate, verifies theirs under the present root. The
    /// name to verify is given by whoever connects: see [`PeerName`].
    pub fn client_config(&self) -> Arc<ClientConfig> {
        Arc::clone(&self.client)
    }
}

impl std::fmt::Debug for SecurityConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let present = self.shared.load();
        write!(f, "SecurityConfig({:?}, {:?})", present.credentials.identity, present.root)
    }
}
