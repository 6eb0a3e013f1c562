//! What becomes of the root when the cluster's CA settings change: the decision is `skep_ca::rotation`'s, here external
//! CAs are reached and the new root is cross-signed.

use async_trait::async_trait;
use bytes::Bytes;
use skep_ca::{
    Clock, NodeKey, RootCa, SecurityConfig,
    certificate::Certificate,
    external::ExternalCas,
    rotation::{MustReach, Step, Which, begin, decide, signs_locally},
};
use skep_proto::swarmkit::{self, CaConfig, Cluster};

use super::signers::with_source;
use crate::control::{CaChange, CaChangeError};

/// Decides about roots, with this manager's certificate as proof towards external CAs.
pub(super) struct Roots {
    pub(super) security: SecurityConfig,
    pub(super) clock: Clock,
}

#[async_trait]
impl CaChange for Roots {
    async fn change(
        &self,
        cluster: &Cluster,
        wanted: &CaConfig,
    ) -> Result<swarmkit::RootCa, CaChangeError> {
        let current = cluster.root_ca.clone().unwrap_or_default();
        let plan = decide(&current, wanted, self.clock.now())
            .map_err(|refusal| CaChangeError::Invalid(with_source(&refusal)))?;
        for reach in &plan.must_reach {
            self.reach(reach).await?;
        }
        let (certificate, key) = match plan.step {
            Step::Keep => return Ok(current),
            Step::Install(root) => return Ok(root),
            Step::Rotate { certificate, key } => (certificate, key),
            Step::Generate => {
                let root =
                    RootCa::generate(self.clock.now()).map_err(failed("generate a root CA"))?;
                let signer = root.signer().expect("a generated root signs");
                (root.pem().clone(), signer.key().to_pem().to_vec().into())
            }
        };
        let cross_signed = self.cross_sign(&current, &certificate, &key, &plan.must_reach).await?;
        Ok(begin(&current, certificate, key, cross_signed, wanted.force_rotate))
    }
}

impl Roots {
    async fn reach(&self, reach: &MustReach) -> Result<(), CaChangeError> {
        let external = self.external(reach)?;
        external.check_reachable().await.map_err(|error| {
            CaChangeError::Invalid(format!(
                "there must be at least one reachable external CA for the {} root CA certificate: {}",
                reach.which,
                with_source(&error)
            ))
        })
    }

    /// The new root, signed by the current one: by its key if that is here, else by its external CA.
    async fn cross_sign(
        &self,
        current: &swarmkit::RootCa,
        certificate: &Bytes,
        key: &Bytes,
        reached: &[MustReach],
    ) -> Result<Bytes, CaChangeError> {
        let mut certificates =
            Certificate::from_pem(certificate).map_err(failed("read the new root CA"))?;
        let new = certificates.swap_remove(0);
        let local = signs_locally(current).map_err(failed("use the current root CA's key"))?;
        if let Some(signer) = local {
            return signer.cross_sign(&new).map_err(failed("cross-sign the new root CA"));
        }
        let reached =
            reached.iter().find(|reach| reach.which == Which::Current).ok_or_else(|| {
                CaChangeError::Invalid("no external CA signs for the current root CA".to_owned())
            })?;
        let key = NodeKey::from_pem(key).map_err(failed("use the new root CA's key"))?;
        let signed = self.external(reached)?.cross_sign(&new, &key).await;
        signed.map_err(failed("have the new root CA cross-signed"))
    }

    fn external(&self, reach: &MustReach) -> Result<ExternalCas, CaChangeError> {
        let root = RootCa::from_pem(reach.root.clone(), self.clock.now())
            .map_err(|error| CaChangeError::Invalid(with_source(&error)))?;
        let urls = reach.candidates.iter().map(|ca| ca.url.clone()).collect();
        Ok(ExternalCas::new(urls, &root, &self.security))
    }
}

fn failed<E: std::error::Error>(action: &'static str) -> impl Fn(E) -> CaChangeError {
    move |error| CaChangeError::Failed(format!("cannot {action}: {}", with_source(&error)))
}
