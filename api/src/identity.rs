//! What the door asks of the node: its own identity, its TLS, and who was removed from the cluster.

use std::sync::Arc;

/// This node's own identity, from its current certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnIdentity {
    /// The CN.
    pub node_id: Arc<str>,
    /// The O: every caller must carry the same.
    pub cluster_id: Arc<str>,
    /// The OUs.
    pub units: Arc<[String]>,
    /// `host:port` that this node is reached by: what it advertises, else what it listens on, else `127.0.0.1:0`.
    pub addr: Arc<str>,
}

/// Knows this node's identity, which changes when the node gets another certificate.
pub trait IdentitySource: Send + Sync + 'static {
    /// The identity now; `None` as long as the node has no certificate.
    fn identity(&self) -> Option<Arc<OwnIdentity>>;
}

/// A fixed identity, for a node that will never have another.
impl IdentitySource for Arc<OwnIdentity> {
    fn identity(&self) -> Option<Arc<OwnIdentity>> {
        Some(self.clone())
    }
}

/// Gives the TLS settings for the next handshake, so that certificates and roots are swapped in a running listener.
pub trait ServerTls: Send + Sync + 'static {
    /// The settings now: asks for a client certificate, does not require one, negotiates `h2`, resumes no session.
    /// `None` as long as the node has no certificate.
    fn server_config(&self) -> Option<Arc<rustls::ServerConfig>>;
}

/// Knows the nodes that were removed from the cluster while their certificates are still valid.
pub trait Blacklist: Send + Sync + 'static {
    /// Whether this node was removed. Called for every remote request: must not block.
    fn is_removed(&self, node_id: &str) -> bool;

    /// Whether this node is a worker now, whatever its certificate says: a manager that was demoted can keep the one that
    /// it had. Called for every remote request that only managers may make: must not block.
    fn is_demoted(&self, node_id: &str) -> bool;
}
