//! What signs certificates: a CA certificate, its key, and the intermediates that lead from it to the trusted root.

use std::time::{Duration, SystemTime};

use bytes::Bytes;

use super::{RootCa, RootError, random_serial};
use crate::{
    Identity, NodeKey,
    certificate::{self, Certificate, CertificateError, Leaf},
    key::KeyError,
};

/// Certificates of nodes begin this long ago, for peers whose clock is behind.
const LEAF_BACKDATE: Duration = Duration::from_secs(3600);
/// The default lifetime of a node's certificate: 90 days.
pub const LEAF_LIFETIME_DEFAULT: Duration = Duration::from_secs(90 * 24 * 3600);
/// The shortest lifetime that a cluster may ask for; below it the default holds.
pub const LEAF_LIFETIME_MIN: Duration = Duration::from_secs(3600);
/// The longest: 100 years, so that no setting takes a date out of the calendar.
const LEAF_LIFETIME_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// A CA certificate with its key.
pub struct Signer {
    certificate: Certificate,
    key: NodeKey,
    /// PEM, appended to what is issued.
    intermediates: Bytes,
}

impl Signer {
    /// Key and certificate must be a pair.
    pub fn new(
        certificate: Certificate,
        key: NodeKey,
        intermediates: Bytes,
    ) -> Result<Signer, RootError> {
        if certificate.public_key != key.public_key() {
            return Err(RootError::KeyMismatch);
        }
        Ok(Signer { certificate, key, intermediates })
    }

    /// From PEM as the cluster object holds it. The bundle's first certificate is the one that signs.
    pub fn from_pem(
        certificate: &[u8],
        key: &[u8],
        intermediates: Bytes,
    ) -> Result<Signer, RootError> {
        let mut certificates = Certificate::from_pem(certificate)?;
        Signer::new(certificates.swap_remove(0), NodeKey::from_pem(key)?, intermediates)
    }

    /// The CA certificate that signs.
    pub fn certificate(&self) -> &Certificate {
        &self.certificate
    }

    /// The key that signs.
    pub fn key(&self) -> &NodeKey {
        &self.key
    }

    /// Signs `root` as an intermediate under this signer, so that who trusts this signer's root trusts what `root`'s
    /// key signs: PEM.
    pub fn cross_sign(&self, root: &Certificate) -> Result<Bytes, RootError> {
        let der = certificate::cross_signed(root, &self.certificate, &self.key)?;
        Ok(Certificate::from_der(der)?.to_pem().into())
    }

    pub(super) fn issue(
        &self,
        public_key: &[u8],
        identity: Identity,
        lifetime: Duration,
        now: SystemTime,
    ) -> Result<Bytes, KeyError> {
        let lifetime = if lifetime < LEAF_LIFETIME_MIN { LEAF_LIFETIME_DEFAULT } else { lifetime };
        let not_before = certificate::round_to_minute(now) - LEAF_BACKDATE;
        let leaf = Leaf {
            identity,
            public_key,
            serial: &random_serial(),
            not_before,
            not_after: not_before + lifetime.min(LEAF_LIFETIME_MAX) + LEAF_BACKDATE,
        };
        let der = certificate::leaf(&leaf, &self.certificate, &self.key)?;
        let mut chain = crate::pem::PemBlock::new("CERTIFICATE", der.as_ref()).encode().to_vec();
        chain.extend_from_slice(&self.intermediates);
        Ok(chain.into())
    }

    /// Whether this signer's certificate is one of the root's, or chains to it through the intermediates.
    pub(super) fn check_trusted_by(&self, root: &RootCa, now: SystemTime) -> Result<(), RootError> {
        let same = |c: &Certificate| {
            c.subject == self.certificate.subject && c.public_key == self.certificate.public_key
        };
        if root.certificates().iter().any(same) {
            return Ok(());
        }
        let untrusted = |why: String| RootError::SignerUntrusted(why);
        let intermediates = match Certificate::from_pem(&self.intermediates) {
            Ok(intermediates) => intermediates,
            Err(CertificateError::Pem(_)) if self.intermediates.is_empty() => Vec::new(),
            Err(error) => return Err(error.into()),
        };
        let mut at = intermediates
            .iter()
            .find(|c| same(c))
            .ok_or_else(|| untrusted("no intermediate certifies its key".to_owned()))?;
        // Each step takes one intermediate further; there are at most as many steps as intermediates.
        for _ in 0..=intermediates.len() {
            if !at.is_valid_at(now) {
                return Err(untrusted("an intermediate is not valid now".to_owned()));
            }
            if root.certificates().iter().any(|c| at.verify_signed_by(c).is_ok()) {
                return Ok(());
            }
            let next = intermediates.iter().find(|c| *c != at && at.verify_signed_by(c).is_ok());
            at = next.ok_or_else(|| untrusted("an intermediate's issuer is missing".to_owned()))?;
        }
        Err(untrusted("the intermediates sign each other in a circle".to_owned()))
    }
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Signer(redacted)")
    }
}
