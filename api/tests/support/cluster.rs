//! A cluster's CA, and the certificates that it gave out.

use std::time::{Duration, SystemTime};

use skep_ca::{
    Clock, Credentials, Identity, NodeKey, PeerName, Role, RootCa, SecurityConfig, connect, tls,
};
use tonic::transport::Channel;

const DAY: Duration = Duration::from_secs(24 * 3600);
/// The root is older than every certificate, the expired ones too.
const ROOT_AGE: Duration = Duration::from_secs(400 * 24 * 3600);

pub struct Cluster {
    root: RootCa,
    pub id: String,
}

impl Cluster {
    pub fn new(id: &str) -> Self {
        let root = RootCa::generate(SystemTime::now() - ROOT_AGE).expect("a root");
        Self { root, id: id.to_owned() }
    }

    /// A node with a valid certificate.
    pub fn node(&self, node_id: &str, role: Role) -> SecurityConfig {
        self.issue(node_id, &self.id, role, SystemTime::now())
    }

    /// A node whose certificate ran out.
    pub fn expired(&self, node_id: &str, role: Role) -> SecurityConfig {
        self.issue(node_id, &self.id, role, SystemTime::now() - 200 * DAY)
    }

    /// A certificate by this cluster's CA that names another cluster.
    pub fn of_other_organization(&self, node_id: &str, role: Role) -> SecurityConfig {
        self.issue(node_id, "other-cluster", role, SystemTime::now())
    }

    /// A channel to a manager by someone who has the root but no certificate.
    pub fn without_certificate(&self, addr: &str) -> Channel {
        let config = tls::anonymous_client_config(&self.root, &Clock::system());
        connect::Dial::new(config, PeerName::Manager).connect_lazy(addr).expect("an address")
    }

    fn issue(&self, node: &str, cluster: &str, role: Role, now: SystemTime) -> SecurityConfig {
        let key = NodeKey::generate().expect("a key");
        let identity = Identity {
            node_id: node.parse().expect("an id"),
            role,
            cluster_id: cluster.parse().expect("an id"),
        };
        let csr = key.request().expect("a request");
        let chain = self.root.issue(&csr, identity, 90 * DAY, now).expect("a certificate");
        let credentials = Credentials::new(chain, key).expect("a pair");
        SecurityConfig::new(self.root.clone(), credentials, Clock::system()).expect("verified")
    }
}

/// A channel by this node to a manager that it does not verify, so that the manager's own check is what is tested.
pub fn channel(node: &SecurityConfig, addr: &str) -> Channel {
    connect::Dial::new(node.client_config(), PeerName::Manager)
        .connect_lazy(addr)
        .expect("an address")
}
