//! Certificates, read: the fields that chains, signers and rotations are decided by.

mod write;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use rustls_pki_types::CertificateDer;
use x509_parser::{
    extensions::ParsedExtension,
    prelude::{FromDer, X509Certificate},
    time::ASN1Time,
};

use crate::{
    pem::{PemBlock, PemError},
    signature::{self, SignatureError},
};

pub(crate) use write::{Leaf, cross_signed, leaf, round_to_minute, self_signed_root};

const LABEL: &str = "CERTIFICATE";
/// The most certificates in one bundle or chain; a cluster has one or two.
const CERTIFICATES_MAX: usize = 100;

/// Why bytes are no certificates.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    /// Not PEM.
    #[error("certificates are not PEM")]
    Pem(#[from] PemError),
    /// PEM of something else.
    #[error("PEM block {0:?} is not a certificate")]
    Label(String),
    /// Too many of them.
    #[error("{0} certificates in one bundle are too many; at most {CERTIFICATES_MAX} are read")]
    TooMany(usize),
    /// Not a certificate.
    #[error("certificate cannot be parsed: {0}")]
    Malformed(String),
}

/// A certificate with what this crate decides by. Names and keys are raw DER: they are compared and copied, never
/// re-encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate itself.
    pub der: CertificateDer<'static>,
    /// Subject name.
    pub subject: Bytes,
    /// Issuer name.
    pub issuer: Bytes,
    /// SubjectPublicKeyInfo.
    pub public_key: Bytes,
    /// Subject key identifier, if it has one.
    pub subject_key_id: Option<Bytes>,
    /// Not valid before.
    pub not_before: SystemTime,
    /// Not valid after.
    pub not_after: SystemTime,
    /// Basic constraints say that it is a CA.
    pub is_ca: bool,
}

impl Certificate {
    /// Reads one certificate.
    pub fn from_der(der: CertificateDer<'static>) -> Result<Certificate, CertificateError> {
        let parsed = parse(&der)?;
        let subject_key_id = parsed.extensions().iter().find_map(|e| match e.parsed_extension() {
            ParsedExtension::SubjectKeyIdentifier(id) => Some(Bytes::copy_from_slice(id.0)),
            _ => None,
        });
        let validity = parsed.validity();
        let (not_before, not_after) =
            (system_time(validity.not_before), system_time(validity.not_after));
        Ok(Certificate {
            subject: Bytes::copy_from_slice(parsed.subject().as_raw()),
            issuer: Bytes::copy_from_slice(parsed.issuer().as_raw()),
            public_key: Bytes::copy_from_slice(parsed.public_key().raw),
            subject_key_id,
            not_before,
            not_after,
            is_ca: parsed.is_ca(),
            der,
        })
    }

    /// Reads a bundle or chain of PEM certificates, in order; at least one.
    pub fn from_pem(pem: &[u8]) -> Result<Vec<Certificate>, CertificateError> {
        let blocks = PemBlock::decode_all(pem)?;
        if blocks.len() > CERTIFICATES_MAX {
            return Err(CertificateError::TooMany(blocks.len()));
        }
        let read = |block: &PemBlock| match block.label.as_str() {
            LABEL => Certificate::from_der(CertificateDer::from(block.contents.to_vec())),
            other => Err(CertificateError::Label(other.to_owned())),
        };
        blocks.iter().map(read).collect()
    }

    /// The certificate as PEM.
    pub fn to_pem(&self) -> Vec<u8> {
        PemBlock::new(LABEL, self.der.as_ref()).encode().to_vec()
    }

    /// Whether `now` is within its validity.
    pub fn is_valid_at(&self, now: SystemTime) -> bool {
        self.not_before <= now && now <= self.not_after
    }

    /// Verifies that `issuer` signed this certificate: the names agree and so does the signature.
    pub fn verify_signed_by(&self, issuer: &Certificate) -> Result<(), SignatureError> {
        if self.issuer != issuer.subject {
            return Err(SignatureError::Mismatch);
        }
        let (Ok(parsed), Ok(signer)) = (parse(&self.der), parse(&issuer.der)) else {
            return Err(SignatureError::Mismatch);
        };
        signature::verify(
            signer.public_key(),
            &parsed.signature_algorithm,
            parsed.tbs_certificate.as_ref(),
            &parsed.signature_value.data,
        )
    }

    /// Checks that key and signature are of accepted kinds.
    pub(crate) fn check_algorithms(&self) -> Result<(), SignatureError> {
        let parsed = parse(&self.der).map_err(|_| SignatureError::Algorithm)?;
        signature::check_algorithm(&parsed.signature_algorithm)?;
        signature::check_key(parsed.public_key())
    }
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    match X509Certificate::from_der(der) {
        Ok(([], parsed)) => Ok(parsed),
        Ok(_) => Err(CertificateError::Malformed("bytes after its end".to_owned())),
        Err(error) => Err(CertificateError::Malformed(error.to_string())),
    }
}

/// Times before 1970 count as 1970: nothing that is compared with them tells the difference.
fn system_time(time: ASN1Time) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(u64::try_from(time.timestamp()).unwrap_or(0))
}
