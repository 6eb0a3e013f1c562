//! The door's view of this node's [`SecurityConfig`]: TLS for the listeners, and connections to other managers.

use std::sync::Arc;

use skep_ca::{PeerName, SecurityConfig, connect};
use tonic::transport::Channel;

use crate::{
    identity::ServerTls,
    pool::{Dial, DialError},
};

impl ServerTls for SecurityConfig {
    fn server_config(&self) -> Option<Arc<rustls::ServerConfig>> {
        Some(SecurityConfig::server_config(self))
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
