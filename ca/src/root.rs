//! The cluster's root: what nodes trust, and on managers the key that signs.

mod signer;

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use rustls::{
    RootCertStore,
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use rustls_pki_types::UnixTime;
use skep_proto::swarmkit;

use crate::{
    Csr, Identity, NodeKey, RootDigest,
    certificate::{self, Certificate, CertificateError},
    key::{CsrError, KeyError},
    provider,
    signature::SignatureError,
};
pub use signer::{LEAF_LIFETIME_DEFAULT, LEAF_LIFETIME_MIN, Signer};

/// How long a generated root is valid: 20 years, as SwarmKit's.
pub const ROOT_LIFETIME: Duration = Duration::from_secs(630_720_000);
/// A generated root begins this long ago, for peers whose clock is behind.
const ROOT_BACKDATE: Duration = Duration::from_secs(5 * 60);
/// Bytes of a serial number: 20 is the most that RFC 5280 permits.
const SERIAL_LEN: usize = 20;

/// Why bytes are no root for a cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RootError {
    /// Not certificates.
    #[error("root CA bundle cannot be read")]
    Certificate(#[from] CertificateError),
    /// A certificate that may not sign others.
    #[error("certificate {0} of the root CA bundle is not a CA certificate")]
    NotCa(usize),
    /// Expired or not yet valid.
    #[error(
        "certificate {0} of the root CA bundle is not valid now; check its dates and this machine's clock"
    )]
    NotValidNow(usize),
    /// A signature or key of a kind that is not accepted, or a self-signature that does not hold.
    #[error("certificate {0} of the root CA bundle is not acceptable")]
    Signature(usize, #[source] SignatureError),
    /// The TLS library takes none of it as a trust anchor.
    #[error("root CA bundle cannot be trusted: {0}")]
    TrustAnchor(String),
    /// The signing key cannot be used.
    #[error("signing key of the root CA cannot be used")]
    Key(#[from] KeyError),
    /// Key and certificate are not a pair.
    #[error("signing key does not belong to the root CA certificate")]
    KeyMismatch,
    /// Certificates signed by this key would not be trusted by nodes.
    #[error("signing certificate does not chain to the root CA: {0}")]
    SignerUntrusted(String),
}

/// Why no certificate was issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IssueError {
    /// This root has no key here: an external CA signs, or this is no manager.
    #[error("no signing key for the root CA on this node")]
    NoSigner,
    /// The request is no good.
    #[error("certificate request refused")]
    Csr(#[from] CsrError),
    /// Signing failed.
    #[error("certificate could not be signed")]
    Key(#[from] KeyError),
    /// What was signed does not verify under the root.
    #[error("issued certificate does not verify under the root CA: {0}")]
    Untrusted(String),
}

/// Why a certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum VerifyError {
    /// No certificate in the chain.
    #[error("certificate chain is empty")]
    Empty,
    /// Not signed by this root, expired, or not for nodes.
    #[error("certificate does not verify under the root CA: {0}")]
    Untrusted(String),
}

/// A cluster's root CA. The bundle's bytes are kept and served as they came: join tokens carry their digest.
#[derive(Clone)]
pub struct RootCa {
    pem: Bytes,
    digest: RootDigest,
    certificates: Arc<[Certificate]>,
    trust: Arc<RootCertStore>,
    verifier: Arc<dyn ClientCertVerifier>,
    signer: Option<Arc<Signer>>,
}

impl RootCa {
    /// A new root: CN `swarm-ca`, ECDSA on P-256, 20 years, with its signer.
    pub fn generate(now: SystemTime) -> Result<RootCa, RootError> {
        let key = NodeKey::generate()?;
        let not_before = certificate::round_to_minute(now) - ROOT_BACKDATE;
        let der = certificate::self_signed_root(
            &key,
            &random_serial(),
            not_before,
            not_before + ROOT_LIFETIME,
        )?;
        let certificate = Certificate::from_der(der)?;
        let root = RootCa::from_pem(certificate.to_pem().into(), now)?;
        let signer = Signer::new(certificate, key, Bytes::new())?;
        root.with_signer(signer, now)
    }

    /// A root from its bundle as stored or downloaded. Each certificate must be a CA, valid now, with a key and a
    /// signature of accepted kinds (RSA of 2048 bits, or ECDSA on P-256, P-384, P-521; SHA-256 and up).
    pub fn from_pem(pem: Bytes, now: SystemTime) -> Result<RootCa, RootError> {
        let certificates = Certificate::from_pem(&pem)?;
        let mut trust = RootCertStore::empty();
        for (at, certificate) in certificates.iter().enumerate() {
            if !certificate.is_ca {
                return Err(RootError::NotCa(at));
            }
            if !certificate.is_valid_at(now) {
                return Err(RootError::NotValidNow(at));
            }
            let mut checked = certificate.check_algorithms();
            if certificate.issuer == certificate.subject {
                checked = checked.and_then(|()| certificate.verify_signed_by(certificate));
            }
            checked.map_err(|error| RootError::Signature(at, error))?;
            trust
                .add(certificate.der.clone())
                .map_err(|error| RootError::TrustAnchor(error.to_string()))?;
        }
        let trust = Arc::new(trust);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&trust), provider())
            .clear_root_hint_subjects()
            .allow_unauthenticated()
            .build()
            .map_err(|error| RootError::TrustAnchor(error.to_string()))?;
        let digest = RootDigest::of(&pem);
        Ok(RootCa { pem, digest, certificates: certificates.into(), trust, verifier, signer: None })
    }

    /// The root as the cluster object holds it, with its signer when the key is there. While a rotation is going on
    /// that is the new root's key, with the cross-signed certificate appended to what it signs.
    pub fn from_cluster(root: &swarmkit::RootCa, now: SystemTime) -> Result<RootCa, RootError> {
        let trusted = RootCa::from_pem(root.ca_cert.clone(), now)?;
        let (certificate, key, intermediates) = match &root.root_rotation {
            Some(next) => (&next.ca_cert, &next.ca_key, next.cross_signed_ca_cert.clone()),
            None => (&root.ca_cert, &root.ca_key, Bytes::new()),
        };
        if key.is_empty() {
            return Ok(trusted);
        }
        trusted.with_signer(Signer::from_pem(certificate, key, intermediates)?, now)
    }

    /// The same root, able to sign. What the signer signs must be trusted by who trusts this root.
    pub fn with_signer(mut self, signer: Signer, now: SystemTime) -> Result<RootCa, RootError> {
        signer.check_trusted_by(&self, now)?;
        self.signer = Some(Arc::new(signer));
        Ok(self)
    }

    /// The same root without its key, as nodes that do not sign keep it.
    pub fn without_signer(mut self) -> RootCa {
        self.signer = None;
        self
    }

    /// The bundle, byte for byte as it came.
    pub fn pem(&self) -> &Bytes {
        &self.pem
    }

    /// Digest of the bundle's bytes.
    pub fn digest(&self) -> RootDigest {
        self.digest
    }

    /// The bundle's certificates; at least one.
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// What signs, if it is here.
    pub fn signer(&self) -> Option<&Signer> {
        self.signer.as_deref()
    }

    /// Issues a certificate for the request's key: a PEM chain of the leaf and the signer's intermediates. It is valid
    /// from an hour ago, for peers whose clock is behind, until `lifetime` from now.
    pub fn issue(
        &self,
        csr: &Csr,
        identity: Identity,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Bytes, IssueError> {
        let signer = self.signer.as_ref().ok_or(IssueError::NoSigner)?;
        let chain = signer.issue(&csr.public_key()?, identity, lifetime, now)?;
        self.verify_pem(&chain, now).map_err(|error| IssueError::Untrusted(error.to_string()))?;
        Ok(chain)
    }

    /// Verifies a PEM chain, leaf first, and gives its certificates.
    pub fn verify_pem(
        &self,
        chain: &[u8],
        now: SystemTime,
    ) -> Result<Vec<Certificate>, VerifyError> {
        let chain = Certificate::from_pem(chain)
            .map_err(|error| VerifyError::Untrusted(error.to_string()))?;
        self.verify(&chain, now)?;
        Ok(chain)
    }

    /// Verifies a chain, leaf first: signed by this root through the chain's intermediates, and valid now.
    pub fn verify(&self, chain: &[Certificate], now: SystemTime) -> Result<(), VerifyError> {
        let (leaf, intermediates) = chain.split_first().ok_or(VerifyError::Empty)?;
        let intermediates: Vec<_> = intermediates.iter().map(|c| c.der.clone()).collect();
        let since_epoch = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        self.verifier
            .verify_client_cert(&leaf.der, &intermediates, UnixTime::since_unix_epoch(since_epoch))
            .map(|_| ())
            .map_err(|error| VerifyError::Untrusted(error.to_string()))
    }

    /// The certificate that signed `chain`'s leaf: one of its intermediates, else one of this root's.
    pub fn issuer_of<'a>(&'a self, chain: &'a [Certificate]) -> Option<&'a Certificate> {
        let (leaf, intermediates) = chain.split_first()?;
        intermediates
            .iter()
            .chain(self.certificates.iter())
            .find(|candidate| leaf.verify_signed_by(candidate).is_ok())
    }

    pub(crate) fn trust(&self) -> Arc<RootCertStore> {
        Arc::clone(&self.trust)
    }

    pub(crate) fn verifier(&self) -> &Arc<dyn ClientCertVerifier> {
        &self.verifier
    }
}

impl std::fmt::Debug for RootCa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let signs = if self.signer.is_some() { ", signs" } else { "" };
        write!(f, "RootCa({}{signs})", self.digest)
    }
}

/// 20 random bytes, positive.
fn random_serial() -> [u8; SERIAL_LEN] {
    let mut serial = [0; SERIAL_LEN];
    aws_lc_rs::rand::fill(&mut serial).expect("the system's random source works");
    serial[0] &= 0x7f;
    serial
}
