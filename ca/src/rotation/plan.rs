//! What a change of `ClusterSpec.ca_config` means for the cluster's `RootCA`.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use skep_proto::swarmkit::{CaConfig, ExternalCa, RootCa as StoredRoot, RootRotation};

use crate::{
    NodeKey, RootCa,
    certificate::{Certificate, CertificateError},
    key::KeyError,
    root::{RootError, Signer},
};

/// A new root must be good for at least this long.
const VALIDITY_LEFT_MIN: Duration = Duration::from_secs(365 * 24 * 3600);

/// Why a change of the CA settings is refused. Nothing is changed then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// A key alone says nothing.
    #[error("a signing CA key was given without its certificate; give the certificate, too")]
    KeyWithoutCertificate,
    /// The certificate is no root.
    #[error("the signing CA certificate cannot be used: {0}")]
    Certificate(String),
    /// The key is no key, or another certificate's.
    #[error("the signing CA key cannot be used: {0}")]
    Key(String),
    /// More than one.
    #[error("the signing CA certificate must be a single certificate; {0} were given")]
    ManyCertificates(usize),
    /// Less than a year left.
    #[error(
        "the signing CA certificate expires too soon: it must be valid for at least another year"
    )]
    ExpiresTooSoon,
    /// A new certificate over the old key rotates nothing.
    #[error("the new root CA has the same key as the current one; rotate to a new key")]
    SameKey,
    /// No external CA signs for a root whose key is not in the cluster.
    #[error(
        "there is no external CA for the {0} root CA certificate, whose key is not in the cluster; name one"
    )]
    NoExternalCa(Which),
    /// Neither root's key is here, so that nobody could cross-sign.
    #[error(
        "rotating from one external root CA straight to another is not supported; rotate to one with a key in between"
    )]
    ExternalToExternal,
    /// An external CA's certificate is no certificate.
    #[error("the CA certificate of external CA {url} cannot be read")]
    ExternalCertificate {
        /// The external CA.
        url: String,
        /// Why not.
        source: CertificateError,
    },
    /// What the cluster holds cannot be read.
    #[error("the cluster's present root CA cannot be used: {0}")]
    Current(String),
}

/// The root that an external CA is to sign for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one in use.
    Current,
    /// The one that is being rotated to.
    Next,
    /// The one that is asked for.
    Desired,
}

impl std::fmt::Display for Which {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Which::Current => "current",
            Which::Next => "next",
            Which::Desired => "desired",
        })
    }
}

/// At least one of these external CAs must answer with a certificate under `root`, or the change is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct MustReach {
    /// For the refusal's text.
    pub which: Which,
    /// The root's PEM.
    pub root: Bytes,
    /// The candidates; at least one.
    pub candidates: Vec<ExternalCa>,
}

/// What a change leads to, once the external CAs it rests on are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// All of these must hold.
    pub must_reach: Vec<MustReach>,
    /// Then this.
    pub step: Step,
}

/// The change itself.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The cluster's `RootCA` stays as it is.
    Keep,
    /// This becomes the cluster's `RootCA`: a key was swapped, or a rotation called off.
    Install(StoredRoot),
    /// Generate a root, then start as with [`Step::Rotate`].
    Generate,
    /// Start rotating to this root: have it cross-signed by the current signer ([`signs_locally`]) or by the current
    /// root's external CA, then [`begin`].
    Rotate {
        /// PEM of the new root.
        certificate: Bytes,
        /// PEM of its key; empty when an external CA has it.
        key: Bytes,
    },
}

/// Decides about the settings in `config` for a cluster whose `RootCA` is `current`.
pub fn decide(current: &StoredRoot, config: &CaConfig, now: SystemTime) -> Result<Plan, Refusal> {
    if config.signing_ca_cert.is_empty() && !config.signing_ca_key.is_empty() {
        return Err(Refusal::KeyWithoutCertificate);
    }
    let current_certificates = certificates(&current.ca_cert)?;
    let external = External::new(config, &current_certificates)?;
    let has_key = |key: &Bytes| !key.is_empty();
    let desired = match config.signing_ca_cert.is_empty() {
        true => None,
        false => Some(desired(config, now)?),
    };
    let is_current = |certificate: &Certificate| current_certificates[..] == [certificate.clone()];

    let mut must_reach = Vec::new();
    if let Some(desired) = &desired
        && is_current(desired)
        && has_key(&config.signing_ca_key)
    {
        // The key of the present root arrives, or another form of it: from here on it signs, whoever did before.
        return Ok(Plan { must_reach, step: Step::Install(with_current_key(current, config)) });
    }
    if !has_key(&current.ca_key) {
        let reach =
            external.signing_for(&current_certificates, &current.ca_cert, Which::Current)?;
        must_reach.push(reach);
    }
    let Some(desired) = desired else {
        if current.last_forced_rotation != config.force_rotate {
            return Ok(Plan { must_reach, step: Step::Generate });
        }
        if let Some(rotation) = current.root_rotation.as_ref().filter(|r| !has_key(&r.ca_key)) {
            let next = certificates(&rotation.ca_cert)?;
            must_reach.push(external.signing_for(&next, &rotation.ca_cert, Which::Next)?);
        }
        return Ok(Plan { must_reach, step: Step::Keep });
    };

    let certificate = config.signing_ca_cert.clone();
    let single = std::slice::from_ref(&desired);
    if !has_key(&config.signing_ca_key) {
        must_reach.push(external.signing_for(single, &certificate, Which::Desired)?);
    }
    if is_current(&desired) {
        return Ok(Plan { must_reach, step: Step::Install(with_current_key(current, config)) });
    }
    if let Some(rotation) = &current.root_rotation
        && certificates(&rotation.ca_cert)? == single
    {
        let rotation = RootRotation { ca_key: config.signing_ca_key.clone(), ..rotation.clone() };
        let root = StoredRoot {
            root_rotation: Some(rotation),
            last_forced_rotation: config.force_rotate,
            ..current.clone()
        };
        return Ok(Plan { must_reach, step: Step::Install(root) });
    }
    if current_certificates.iter().any(|c| c.public_key == desired.public_key) {
        return Err(Refusal::SameKey);
    }
    if !has_key(&current.ca_key) && !has_key(&config.signing_ca_key) {
        return Err(Refusal::ExternalToExternal);
    }
    let step = Step::Rotate { certificate, key: config.signing_ca_key.clone() };
    Ok(Plan { must_reach, step })
}

/// The signer of the cluster's current root, if its key is in the cluster: not that of a rotation in progress, which
/// nodes would not trust alone.
pub fn signs_locally(current: &StoredRoot) -> Result<Option<Signer>, RootError> {
    if current.ca_key.is_empty() {
        return Ok(None);
    }
    Signer::from_pem(&current.ca_cert, &current.ca_key, Bytes::new()).map(Some)
}

/// The cluster's `RootCA` with a rotation to `certificate` begun; one in progress is replaced. `cross_signed` is the
/// new root signed by the current one. Join tokens and trust stay as they are until the end.
pub fn begin(
    current: &StoredRoot,
    certificate: Bytes,
    key: Bytes,
    cross_signed: Bytes,
    force_rotate: u64,
) -> StoredRoot {
    let rotation =
        RootRotation { ca_cert: certificate, ca_key: key, cross_signed_ca_cert: cross_signed };
    StoredRoot {
        root_rotation: Some(rotation),
        last_forced_rotation: force_rotate,
        ..current.clone()
    }
}

fn with_current_key(current: &StoredRoot, config: &CaConfig) -> StoredRoot {
    StoredRoot {
        ca_key: config.signing_ca_key.clone(),
        root_rotation: None,
        last_forced_rotation: config.force_rotate,
        ..current.clone()
    }
}

fn certificates(pem: &[u8]) -> Result<Vec<Certificate>, Refusal> {
    Certificate::from_pem(pem).map_err(|error| Refusal::Current(error.to_string()))
}

/// The root that is asked for, checked: one certificate, acceptable as a root, a year left, and its key if one is given.
fn desired(config: &CaConfig, now: SystemTime) -> Result<Certificate, Refusal> {
    let invalid = |error: RootError| Refusal::Certificate(describe(&error));
    let root = RootCa::from_pem(config.signing_ca_cert.clone(), now).map_err(invalid)?;
    let [certificate] = root.certificates() else {
        return Err(Refusal::ManyCertificates(root.certificates().len()));
    };
    if certificate.not_after < now + VALIDITY_LEFT_MIN {
        return Err(Refusal::ExpiresTooSoon);
    }
    if !config.signing_ca_key.is_empty() {
        let key = NodeKey::from_pem(&config.signing_ca_key)
            .map_err(|error: KeyError| Refusal::Key(error.to_string()))?;
        if certificate.public_key != key.public_key() {
            return Err(Refusal::Key(RootError::KeyMismatch.to_string()));
        }
    }
    Ok(certificate.clone())
}

fn describe(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}

/// External CAs with the certificates that they sign for; the current root's when they name none.
struct External<'a>(Vec<(Vec<Certificate>, &'a ExternalCa)>);

impl<'a> External<'a> {
    fn new(config: &'a CaConfig, current: &[Certificate]) -> Result<External<'a>, Refusal> {
        let signs_for = |ca: &ExternalCa| match ca.ca_cert.is_empty() {
            true => Ok(current.to_vec()),
            false => Certificate::from_pem(&ca.ca_cert),
        };
        let pair = |ca: &'a ExternalCa| match signs_for(ca) {
            Ok(certificates) => Ok((certificates, ca)),
            Err(source) => Err(Refusal::ExternalCertificate { url: ca.url.clone(), source }),
        };
        config.external_cas.iter().map(pair).collect::<Result<_, _>>().map(External)
    }

    fn signing_for(
        &self,
        wanted: &[Certificate],
        root: &Bytes,
        which: Which,
    ) -> Result<MustReach, Refusal> {
        let candidates: Vec<_> = self
            .0
            .iter()
            .filter(|(certificates, _)| certificates == wanted)
            .map(|(_, ca)| (*ca).clone())
            .collect();
        if candidates.is_empty() {
            return Err(Refusal::NoExternalCa(which));
        }
        Ok(MustReach { which, root: root.clone(), candidates })
    }
}
