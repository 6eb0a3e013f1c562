//! Who a certificate says that its holder is.

use std::fmt;

use rustls_pki_types::CertificateDer;
use skep_proto::{
    ids::{ClusterId, InvalidId, NodeId},
    swarmkit::NodeRole,
};
use x509_parser::prelude::{FromDer, X509Certificate};

/// The OU of managers, and the name under which managers are dialled.
pub const MANAGER: &str = "swarm-manager";
/// The OU of workers.
pub const WORKER: &str = "swarm-worker";
/// The CN of roots, and the name under which managers are dialled for certificates.
pub const CA: &str = "swarm-ca";

/// The role that a certificate grants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Runs tasks.
    Worker,
    /// Decides, too.
    Manager,
}

impl Role {
    /// The role as a certificate's OU writes it.
    pub fn organizational_unit(self) -> &'static str {
        match self {
            Role::Worker => WORKER,
            Role::Manager => MANAGER,
        }
    }

    /// The role of an OU, if it is one of ours.
    pub fn from_organizational_unit(text: &str) -> Option<Role> {
        match text {
            WORKER => Some(Role::Worker),
            MANAGER => Some(Role::Manager),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.organizational_unit())
    }
}

impl From<Role> for NodeRole {
    fn from(role: Role) -> NodeRole {
        match role {
            Role::Worker => NodeRole::Worker,
            Role::Manager => NodeRole::Manager,
        }
    }
}

impl From<NodeRole> for Role {
    fn from(role: NodeRole) -> Role {
        match role {
            NodeRole::Worker => Role::Worker,
            NodeRole::Manager => Role::Manager,
        }
    }
}

/// Why a certificate names nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdentityError {
    /// Not a certificate.
    #[error("the certificate cannot be parsed: {0}")]
    Malformed(String),
    /// The subject lacks something.
    #[error("the certificate's subject has no {0}")]
    Missing(&'static str),
    /// The CN or O is no id.
    #[error("the certificate's {field} is not an id")]
    Id {
        /// CN or O.
        field: &'static str,
        /// Why not.
        source: InvalidId,
    },
    /// No OU is a role.
    #[error("the certificate grants no role of a swarm: {0:?}")]
    Role(Vec<String>),
}

/// A node, what it may be, and where: CN, OU and O of its certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Identity {
    /// CN.
    pub node_id: NodeId,
    /// OU.
    pub role: Role,
    /// O.
    pub cluster_id: ClusterId,
}

impl Identity {
    /// What a certificate says. It does not verify the certificate: TLS has done that when a peer presents one.
    pub fn from_certificate(certificate: &CertificateDer<'_>) -> Result<Identity, IdentityError> {
        let (_, parsed) = X509Certificate::from_der(certificate)
            .map_err(|error| IdentityError::Malformed(error.to_string()))?;
        let subject = parsed.subject();
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let node_id = subject
            .iter_common_name()
            .map(text)
            .next()
            .ok_or(IdentityError::Missing("common name (node id)"))?;
        let cluster_id = subject
            .iter_organization()
            .map(text)
            .next()
            .ok_or(IdentityError::Missing("organization (cluster id)"))?;
        let units: Vec<String> = subject.iter_organizational_unit().map(text).collect();
        let role = units
            .iter()
            .find_map(|unit| Role::from_organizational_unit(unit))
            .ok_or(IdentityError::Role(units))?;
        Ok(Identity {
            node_id: node_id
                .parse()
                .map_err(|source| IdentityError::Id { field: "common name", source })?,
            role,
            cluster_id: cluster_id
                .parse()
                .map_err(|source| IdentityError::Id { field: "organization", source })?,
        })
    }
}

/// The common name of a certificate's subject.
pub(crate) fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    parsed.subject().iter_common_name().next()?.as_str().map(str::to_owned).ok()
}
