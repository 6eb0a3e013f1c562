//! The one place that names the cryptography in use: TLS, signing and sealing all go through it.

use std::sync::{Arc, OnceLock};

use rustls::crypto::CryptoProvider;

/// The process's provider (aws-lc-rs), made the default of rustls on first use so that libraries agree with us.
pub fn provider() -> Arc<CryptoProvider> {
    static PROVIDER: OnceLock<Arc<CryptoProvider>> = OnceLock::new();
    let own = PROVIDER.get_or_init(|| {
        let own = rustls::crypto::aws_lc_rs::default_provider();
        // An earlier default stays: it can only have been set by the embedding program, which then wants it.
        let _ = own.clone().install_default();
        Arc::new(own)
    });
    Arc::clone(own)
}
