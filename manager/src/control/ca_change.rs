//! The boundary to the certificate authority: what becomes of the root when the cluster's CA config changes.

use async_trait::async_trait;
use skep_proto::swarmkit::{CaConfig, Cluster, RootCa};

/// Why a CA config is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CaChangeError {
    /// The config cannot be followed; the text says what is wrong with it.
    #[error("{0}")]
    Invalid(String),
    /// The change could not be made, though nothing is wrong with the config.
    #[error("{0}")]
    Failed(String),
}

/// Decides about roots.
#[async_trait]
pub trait CaChange: Send + Sync + 'static {
    /// The root that the cluster should have when its CA config becomes `wanted`: the present one when nothing changes,
    /// the present one with a rotation to a new root, or without the rotation that was going on. Writes nothing. It may
    /// ask external CAs, so it runs before the transaction; what it returns is written only if the cluster is still the
    /// one that it was given.
    async fn change(&self, cluster: &Cluster, wanted: &CaConfig) -> Result<RootCa, CaChangeError>;
}
