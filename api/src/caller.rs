//! Who is calling: what the door learns from the connection and the metadata, and what every service behind it reads
//! from the request's extensions.
//!
//! A `Caller` in the extensions of a request that reached a service is proven; services need no check of their own
//! beyond what the method's meaning asks for (a worker may speak for itself only).

use std::{net::IpAddr, sync::Arc};

/// The OU of a worker's certificate.
pub const WORKER_UNIT: &str = "swarm-worker";
/// The OU of a manager's certificate.
pub const MANAGER_UNIT: &str = "swarm-manager";

/// How the identity of a caller was proven.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallerKind {
    /// It was not: no certificate, or one that does not count here. Reaches methods that are open to everybody only.
    Anonymous,
    /// By the certificate of the connection that the request came on.
    Certificate,
    /// By the word of another manager of this cluster, which had the caller's certificate before it.
    Forwarded {
        /// The node id of that manager.
        by: Arc<str>,
    },
    /// By the permissions of the control socket: the request counts as this node's own.
    Local,
}

/// The identity of a caller. Cheap to clone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The CN of the certificate; empty for an anonymous caller.
    pub node_id: Arc<str>,
    /// The O of the certificate; empty for an anonymous caller.
    pub cluster_id: Arc<str>,
    /// The OUs of the certificate, in its order. What they allow is asked through [`Caller::is_manager`] and
    /// [`Caller::is_worker`].
    pub units: Arc<[String]>,
    /// `ip:port` that the caller came from, as the manager saw it that was called first. For the control socket: the
    /// address that this node advertises.
    pub remote_addr: Arc<str>,
    /// How the rest was proven.
    pub kind: CallerKind,
}

impl Caller {
    /// A caller of whom only the address is known.
    pub fn anonymous(remote_addr: impl Into<Arc<str>>) -> Self {
        Self {
            node_id: "".into(),
            cluster_id: "".into(),
            units: Arc::new([]),
            remote_addr: remote_addr.into(),
            kind: CallerKind::Anonymous,
        }
    }

    /// Whether nothing but the address is known.
    pub fn is_anonymous(&self) -> bool {
        self.kind == CallerKind::Anonymous
    }

    /// Whether the certificate is a manager's.
    pub fn is_manager(&self) -> bool {
        self.has_unit(MANAGER_UNIT)
    }

    /// Whether the certificate is a worker's.
    pub fn is_worker(&self) -> bool {
        self.has_unit(WORKER_UNIT)
    }

    /// The address without its port, if it is one.
    pub fn remote_ip(&self) -> Option<IpAddr> {
        let (host, _) = self.remote_addr.rsplit_once(':')?;
        let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
        // Go writes a zone by its name, which is of no use on another machine.
        host.split('%').next()?.parse().ok()
    }

    fn has_unit(&self, unit: &str) -> bool {
        self.units.iter().any(|u| u == unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ip_of_an_address_is_found_in_every_form_that_peers_write() {
        let ip = |addr: &str| Caller::anonymous(addr).remote_ip().map(|ip| ip.to_string());
        assert_eq!(ip("10.0.0.1:2377").as_deref(), Some("10.0.0.1"));
        assert_eq!(ip("[::1]:2377").as_deref(), Some("::1"));
        assert_eq!(ip("[fe80::1%eth0]:2377").as_deref(), Some("fe80::1"));
        assert_eq!(ip(""), None);
        assert_eq!(ip("@"), None);
        assert_eq!(ip("host:1"), None);
    }
}
