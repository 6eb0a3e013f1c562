//! The door's view of this node's [`SecurityConfig`]: TLS for the listeners, the node's own identity, and connections to
//! other managers.

use std::sync::Arc;

use arc_swap::ArcSwap;
use skep_ca::{Identity, PeerName, SecurityConfig, connect};
use tonic::transport::Channel;

use crate::{
    identity::{IdentitySource, OwnIdentity, ServerTls},
    pool::{Dial, DialError},
};

impl ServerTls for SecurityConfig {
    fn server_config(&self) -> Option<Arc<rustls::ServerConfig>> {
        Some(SecurityConfig::server_config(self))
    }
}

/// The identity of a node that has a certificate, and the address that it is reached by.
pub struct NodeIdentity {
    security: SecurityConfig,
    addr: Arc<str>,
    /// Made anew only when the certificate says something else: it is asked for with every request.
    known: ArcSwap<(Identity, Arc<OwnIdentity>)>,
}

impl NodeIdentity {
    /// `addr`: what the node advertises, else what it listens on, else `127.0.0.1:0`.
    pub fn new(security: SecurityConfig, addr: impl Into<Arc<str>>) -> Self {
        let addr = addr.into();
        let identity = security.identity();
        let known = ArcSwap::from_pointee((identity, own(identity, &addr)));
        Self { security, addr, known }
    }
}

fn own(identity: Identity, addr: &Arc<str>) -> Arc<OwnIdentity> {
    Arc::new(OwnIdentity {
        node_id: identity.node_id.as_str().into(),
        cluster_id: identity.cluster_id.as_str().into(),
        units: [identity.role.organizational_unit().to_owned()].into(),
        addr: addr.clone(),
    })
}

impl IdentitySource for NodeIdentity {
    fn identity(&self) -> Option<Arc<OwnIdentity>> {
        let now = self.security.identity();
        let known = self.known.load();
        if known.0 == now {
            return Some(known.1.clone());
        }
        let own = own(now, &self.addr);
        self.known.store(Arc::new((now, own.clone())));
        Some(own)
    }
}

/// Calls other managers with this node's certificate, and takes nobody for a manager but who proves it.
impl Dial for SecurityConfig {
    fn dial(&self, addr: &str) -> Result<Channel, DialError> {
        connect::Dial::new(self.client_config(), PeerName::Manager)
            .connect_lazy(addr)
            .map_err(|_| DialError::InvalidAddress { addr: addr.to_owned() })
    }
}
