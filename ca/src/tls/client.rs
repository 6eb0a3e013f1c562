//! The connecting side: with our certificate, without one, and without verification for the very first contact.

use std::{fmt, sync::Arc};

use rustls::{
    ClientConfig, DigitallySignedStruct, Error, SignatureScheme,
    client::{
        ResolvesClientCert, Resumption, WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{verify_tls12_signature, verify_tls13_signature},
    sign::{CertifiedKey, SingleCertAndKey},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{ALPN, Credentials, Shared};
use crate::{Clock, RootCa, provider, root::VerifyError};

/// Verifies a manager's chain and name under `root`.
pub(super) fn verifier(root: &RootCa) -> Result<Arc<WebPkiServerVerifier>, VerifyError> {
    WebPkiServerVerifier::builder_with_provider(root.trust(), provider())
        .build()
        .map_err(|error| VerifyError::Untrusted(error.to_string()))
}

pub(super) fn config(shared: &Arc<Shared>) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(shared.clock.clone()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(PresentRoots(Arc::clone(shared))));
    finish(builder.with_client_cert_resolver(Arc::new(PresentCertificate(Arc::clone(shared)))))
}

/// For a node that has the root but no certificate yet: verifies, presents nothing.
pub fn anonymous_client_config(root: &RootCa, clock: &Clock) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_root_certificates(root.trust());
    finish(builder.with_no_client_auth())
}

/// Verifies under `root`, whatever the node itself trusts, and presents these credentials.
pub(crate) fn client_config_under(
    root: &RootCa,
    credentials: &Credentials,
    clock: &Clock,
) -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .with_root_certificates(root.trust());
    let own = SingleCertAndKey::from(Arc::clone(&credentials.certified));
    finish(builder.with_client_cert_resolver(Arc::new(own)))
}

/// Verifies nothing and presents nothing: for the download of a root that a join token pins, and for the control
/// socket, where the file's mode is what protects.
pub fn unverified_client_config() -> Arc<ClientConfig> {
    let builder = ClientConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .expect("the provider supports TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Anybody));
    finish(builder.with_no_client_auth())
}

fn finish(mut config: ClientConfig) -> Arc<ClientConfig> {
    config.alpn_protocols = vec![ALPN.to_vec()];
    // A resumed session would skip verification after a root rotation.
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

/// Our certificate, whatever roots the server hints at.
struct PresentCertificate(Arc<Shared>);

impl ResolvesClientCert for PresentCertificate {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.load().credentials.certified))
    }

    fn has_certs(&self) -> bool {
        true
    }
}

impl fmt::Debug for PresentCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentCertificate")
    }
}

/// Managers are verified under the roots of the moment.
struct PresentRoots(Arc<Shared>);

impl ServerCertVerifier for PresentRoots {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let present = self.0.load();
        let verifier = &present.server_verifier;
        verifier.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Anybody.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Anybody.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        Anybody.supported_verify_schemes()
    }
}

impl fmt::Debug for PresentRoots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PresentRoots")
    }
}

/// Takes any certificate, but still wants proof that the server holds its key.
#[derive(Debug)]
struct Anybody;

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &provider().signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}
