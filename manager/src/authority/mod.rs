//! Stands in until the authority is there: signs nothing.
use crate::control::{CaChange, CaChangeError};
use skep_ca::{Clock, SecurityConfig};
use skep_proto::swarmkit::*;
use skep_store::Store;
use std::sync::Arc;
use tonic::{Request, Response, Status};
#[derive(Clone)]
pub struct Authority {
    _s: Store,
}
struct Ch;
#[async_trait::async_trait]
impl CaChange for Ch {
    async fn change(&self, cluster: &Cluster, _w: &CaConfig) -> Result<RootCa, CaChangeError> {
        Ok(cluster.root_ca.clone().unwrap_or_default())
    }
}
#[derive(Clone)]
pub struct Svc;
#[tonic::async_trait]
impl ca_server::Ca for Svc {
    async fn get_root_ca_certificate(
        &self,
        _: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        Err(Status::unknown(""))
    }
    async fn get_unlock_key(
        &self,
        _: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        Err(Status::unknown(""))
    }
}
#[tonic::async_trait]
impl node_ca_server::NodeCa for Svc {
    async fn issue_node_certificate(
        &self,
        _: Request<IssueNodeCertificateRequest>,
    ) -> Result<Response<IssueNodeCertificateResponse>, Status> {
        Err(Status::unknown(""))
    }
    async fn node_certificate_status(
        &self,
        _: Request<NodeCertificateStatusRequest>,
    ) -> Result<Response<NodeCertificateStatusResponse>, Status> {
        Err(Status::unknown(""))
    }
}
impl Authority {
    pub fn new(s: Store, _: SecurityConfig, _: Clock) -> Self {
        Self { _s: s }
    }
    pub async fn sign(&self) {
        std::future::pending().await
    }
    pub async fn rotate(&self) {
        std::future::pending().await
    }
    pub fn ca_change(&self) -> Arc<dyn CaChange> {
        Arc::new(Ch)
    }
    pub fn ca_service(&self) -> Svc {
        Svc
    }
    pub fn node_ca_service(&self) -> Svc {
        Svc
    }
}
