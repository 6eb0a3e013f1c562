//! The cluster's certificate authority: root download, certificate issue and status, the unlock key, and on the leader
//! the loop that signs what is pending and the loop that carries a root rotation through.
//!
//! A request for a certificate is a write: it leaves the CSR in the node's object, the signing loop of the leader
//! answers it there, and who waits for the answer watches the object. So it survives a change of leadership.

mod ca_change;
mod ca_service;
mod node_ca_service;
mod request;
pub mod rotation;
pub mod signer;
mod signers;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use skep_ca::{Clock, SecurityConfig};
use skep_proto::{ids::ClusterId, swarmkit::Cluster};
use skep_store::{Store, Tables};
use tokio::sync::watch;

pub use self::{ca_service::CaService, node_ca_service::NodeCaService};
use crate::control::CaChange;

/// The authority of one manager: its services answer on every manager, its loops run on the leader.
#[derive(Clone)]
pub struct Authority {
    store: Store,
    security: SecurityConfig,
    clock: Clock,
    /// Whether the signing loop runs, so that what is asked for will be answered.
    signing: Arc<watch::Sender<bool>>,
}

impl Authority {
    /// For the manager with this store and identity. The cluster is the one that the identity is of.
    pub fn new(store: Store, security: SecurityConfig, clock: Clock) -> Authority {
        Authority { store, security, clock, signing: Arc::new(watch::Sender::new(false)) }
    }

    /// Signs what is pending for as long as this manager leads. Never returns; safe to drop: the next leader goes on.
    pub async fn sign(&self) {
        signer::run(self.store.clone(), self.security.clone(), self.clock.clone(), &self.signing)
            .await;
    }

    /// Carries root rotations through for as long as this manager leads. Never returns; safe to drop: the next leader
    /// goes on.
    pub async fn rotate(&self) {
        rotation::run(self.store.clone(), self.cluster_id()).await;
    }

    /// What becomes of the root when the cluster's CA settings change.
    pub fn ca_change(&self) -> Arc<dyn CaChange> {
        Arc::new(ca_change::Roots { security: self.security.clone(), clock: self.clock.clone() })
    }

    /// Root download and unlock key.
    pub fn ca_service(&self) -> CaService {
        CaService { authority: self.clone() }
    }

    /// Certificate issue and status.
    pub fn node_ca_service(&self) -> NodeCaService {
        NodeCaService { authority: self.clone() }
    }

    fn cluster_id(&self) -> ClusterId {
        self.security.identity().cluster_id
    }
}

/// The cluster object. It is missing only on a manager that has just joined and has not caught up.
fn cluster<'a>(tables: &'a Tables, id: &ClusterId) -> Option<&'a Arc<Cluster>> {
    tables.get::<Cluster>(id)
}
