//! The CA service: what belongs to the cluster's certificates as a whole.

use skep_proto::swarmkit::{
    GetRootCaCertificateRequest, GetRootCaCertificateResponse, GetUnlockKeyRequest,
    GetUnlockKeyResponse, ca_server::Ca,
};
use tonic::{Request, Response, Status};

use super::{Authority, cluster};
use crate::leader::defaults::UNLOCK_KEY_SUBSYSTEM;

/// Serves the root and the unlock key. Cheap to clone.
#[derive(Clone)]
pub struct CaService {
    pub(super) authority: Authority,
}

#[tonic::async_trait]
impl Ca for CaService {
    /// The root as join tokens pin it: byte for byte as it is stored, and the old one until a rotation has ended.
    async fn get_root_ca_certificate(
        &self,
        _: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        let Authority { store, security, .. } = &self.authority;
        let view = store.view();
        let stored = cluster(&view, &self.authority.cluster_id())
            .and_then(|cluster| cluster.root_ca.as_ref())
            .map(|root| root.ca_cert.clone());
        let certificate = stored.unwrap_or_else(|| security.root().pem().clone());
        Ok(Response::new(GetRootCaCertificateResponse { certificate }))
    }

    /// The key that managers seal their keys with, empty when the cluster is not locked, and the version of the cluster
    /// that it belongs to. The door lets managers in only.
    async fn get_unlock_key(
        &self,
        _: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        let view = self.authority.store.view();
        let cluster_id = self.authority.cluster_id();
        let Some(cluster) = cluster(&view, &cluster_id) else {
            return Err(Status::unavailable(format!(
                "cluster {cluster_id} is not in the store of this manager yet; try again"
            )));
        };
        let key = cluster.unlock_keys.iter().find(|key| key.subsystem == UNLOCK_KEY_SUBSYSTEM);
        Ok(Response::new(GetUnlockKeyResponse {
            unlock_key: key.map(|key| key.key.clone()).unwrap_or_default(),
            version: cluster.meta.as_ref().and_then(|meta| meta.version),
        }))
    }
}
