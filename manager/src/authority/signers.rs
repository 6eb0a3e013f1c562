//! Who signs at present: external CAs for the wanted root if there are any, else the key in the cluster object.

use bytes::Bytes;
use skep_ca::{
    Clock, Csr, Identity, RootCa, SecurityConfig,
    certificate::Certificate,
    external::{ExternalCas, ExternalError},
    root::{IssueError, RootError},
};
use skep_proto::{
    prost_types,
    swarmkit::{CaConfig, Cluster},
};
use std::time::Duration;

/// Why a request is not signed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SignError {
    /// Another manager, or a later moment, may do better: the request stays.
    #[error("{0}")]
    Later(String),
    /// This request will never be signed.
    #[error("{0}")]
    Never(String),
}

/// What signs, for one state of the cluster object.
pub(super) struct Signers {
    /// What nodes trust, with the local signer if its key is here.
    root: RootCa,
    external: Option<ExternalCas>,
    /// What is appended to an external CA's certificates during a rotation.
    intermediates: Bytes,
    lifetime: Duration,
    clock: Clock,
}

impl Signers {
    pub(super) fn new(
        cluster: &Cluster,
        security: &SecurityConfig,
        clock: &Clock,
    ) -> Result<Signers, RootError> {
        let stored = cluster.root_ca.clone().unwrap_or_default();
        let config = cluster.spec.as_ref().and_then(|spec| spec.ca_config.clone());
        let config = config.unwrap_or_default();
        let root = RootCa::from_cluster(&stored, clock.now())?;
        let rotation = stored.root_rotation.as_ref();
        let wanted = rotation.map_or(&stored.ca_cert, |rotation| &rotation.ca_cert);
        let urls = urls_for(&config, wanted, &stored.ca_cert)?;
        let external = match urls.is_empty() {
            true => None,
            // An external CA may stand under the old root or the new.
            false => {
                let both = [&stored.ca_cert[..], b"\n", wanted].concat();
                let both = RootCa::from_pem(both.into(), clock.now())?;
                Some(ExternalCas::new(urls, &both, security))
            }
        };
        Ok(Signers {
            root,
            external,
            intermediates: rotation
                .map(|rotation| rotation.cross_signed_ca_cert.clone())
                .unwrap_or_default(),
            lifetime: duration(config.node_cert_expiry.as_ref()),
            clock: clock.clone(),
        })
    }

    /// Whether signing asks somebody else, and so waits.
    pub(super) fn asks_external(&self) -> bool {
        self.external.is_some()
    }

    /// Signs with the key in the cluster object. Takes a few hundred microseconds of CPU.
    pub(super) fn sign_locally(&self, csr: &Csr, identity: Identity) -> Result<Bytes, SignError> {
        self.root.issue(csr, identity, self.lifetime, self.clock.now()).map_err(|error| match error
        {
            // The key may come, or an external CA.
            IssueError::NoSigner => SignError::Later(error.to_string()),
            error => SignError::Never(with_source(&error)),
        })
    }

    /// Has an external CA sign. Safe to drop.
    pub(super) async fn sign_externally(
        &self,
        csr: &Csr,
        identity: Identity,
    ) -> Result<Bytes, SignError> {
        let Some(external) = &self.external else {
            return self.sign_locally(csr, identity);
        };
        let mut chain = match external.issue(csr, identity).await {
            Ok(chain) => chain.to_vec(),
            Err(error @ (ExternalError::Refused { .. } | ExternalError::Unusable { .. })) => {
                return Err(SignError::Never(with_source(&error)));
            }
            Err(error) => return Err(SignError::Later(with_source(&error))),
        };
        if !chain.ends_with(b"\n") {
            chain.push(b'\n');
        }
        chain.extend_from_slice(&self.intermediates);
        match self.root.verify_pem(&chain, self.clock.now()) {
            Ok(_) => Ok(chain.into()),
            Err(error) => Err(SignError::Never(with_source(&error))),
        }
    }
}

/// The external CAs that sign for the wanted root; those that name no root sign for the current one.
fn urls_for(config: &CaConfig, wanted: &[u8], current: &[u8]) -> Result<Vec<String>, RootError> {
    let wanted = Certificate::from_pem(wanted)?;
    let current = Certificate::from_pem(current)?;
    let signs_for_wanted = |ca_cert: &[u8]| match ca_cert.is_empty() {
        true => current == wanted,
        // One that cannot be read was refused when the settings were changed.
        false => Certificate::from_pem(ca_cert).is_ok_and(|certificates| certificates == wanted),
    };
    let matching = config.external_cas.iter().filter(|ca| signs_for_wanted(&ca.ca_cert));
    Ok(matching.map(|ca| ca.url.clone()).collect())
}

/// Nonsense counts as zero, which stands for the default.
fn duration(value: Option<&prost_types::Duration>) -> Duration {
    value.and_then(|value| Duration::try_from(*value).ok()).unwrap_or_default()
}

pub(super) fn with_source(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
