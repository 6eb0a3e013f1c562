//! The subject of a peer's certificate. TLS has verified the certificate before anything here reads it.

use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::caller::{Caller, CallerKind};

/// Why a certificate names nobody.
#[derive(Debug, thiserror::Error)]
pub enum SubjectError {
    /// It cannot be read, although TLS accepted it.
    #[error("the peer's certificate cannot be read: {0}")]
    Unreadable(String),
    /// It has no common name, so it names no node.
    #[error("the peer's certificate has no common name")]
    Nameless,
}

/// The caller that a verified certificate names.
pub fn caller(
    certificate: &CertificateDer<'_>,
    remote_addr: impl Into<Arc<str>>,
) -> Result<Caller, SubjectError> {
    let (_, parsed) = X509Certificate::from_der(certificate)
        .map_err(|error| SubjectError::Unreadable(error.to_string()))?;
    let subject = parsed.subject();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value.as_str().unwrap_or_default().to_owned()
    };
    let node_id = subject.iter_common_name().map(text).next().unwrap_or_default();
    if node_id.is_empty() {
        return Err(SubjectError::Nameless);
    }
    Ok(Caller {
        node_id: node_id.into(),
        cluster_id: subject.iter_organization().map(text).next().unwrap_or_default().into(),
        units: subject.iter_organizational_unit().map(text).collect(),
        remote_addr: remote_addr.into(),
        kind: CallerKind::Certificate,
    })
}
