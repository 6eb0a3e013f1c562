//! May this caller call this method? A pure decision from the connection's certificate, the claim in the metadata,
//! this node's own identity and the list of removed nodes.
//!
//! The rules are SwarmKit's, with two holes closed. SwarmKit tests only the passing manager against the list of removed
//! nodes, so that a removed worker goes on being served through a follower; here the caller it speaks for is tested too.
//! And it believes a manager's certificate until that expires, also after the node was demoted; here the node's present
//! role counts.

use skep_proto::access::Access;
use tonic::Status;

use crate::{
    caller::{Caller, CallerKind, MANAGER_UNIT, WORKER_UNIT},
    identity::{Blacklist, OwnIdentity},
    metadata::Claim,
};

/// Why a caller may not call a method. The texts are SwarmKit's where users and peers read them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// No certificate at all.
    #[error("no client certificates in request")]
    NoCertificate,
    /// A certificate of another cluster.
    #[error("remote certificate not part of organization: {0}")]
    OtherCluster(String),
    /// The certificate's OUs do not allow the method.
    #[error("remote certificate not part of OUs: [{0}]")]
    WrongRole(String),
    /// The node is no longer part of the cluster.
    #[error("node {0} was removed from swarm")]
    Removed(String),
    /// The node's certificate is a manager's, and the node a manager no longer.
    #[error("node {0} is not a manager any more")]
    Demoted(String),
    /// Someone who is no manager of this cluster speaks for somebody else.
    #[error("unauthorized forwarder role: {0}")]
    Forwarder(Box<Denied>),
    /// The caller's own certificate does not do.
    #[error("unauthorized peer role: {0}")]
    Peer(Box<Denied>),
    /// A manager passed a call on without saying for whom, and the method is not open to everybody.
    #[error("missing information in forwarded request")]
    Blank,
    /// The OUs that a manager passed on do not allow the method.
    #[error("unauthorized forwarded role, expecting: [{0}]")]
    ForwardedRole(String),
    /// A manager passed on a caller of another cluster.
    #[error("organization mismatch, expecting: {0}")]
    ForwardedCluster(String),
}

impl From<Denied> for Status {
    fn from(denied: Denied) -> Status {
        Status::permission_denied(format!("Permission denied: {denied}"))
    }
}

/// Whether a manager's certificate counts that a node was given before it was demoted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormerManagers {
    /// It does: this manager may not know yet that the node was promoted, or the raft group itself knows its members.
    Admitted,
    /// It does not.
    Refused,
}

/// The effective caller of a request.
///
/// On a method that is open to everybody nobody is refused: whoever could not be believed is anonymous there, so that
/// a removed node, or one that lies about whom it speaks for, is no better off than one without a certificate.
pub fn authorize(
    access: Access,
    peer: &Caller,
    claim: Option<Claim>,
    own: &OwnIdentity,
    blacklist: &dyn Blacklist,
    former: FormerManagers,
) -> Result<Caller, Denied> {
    let outcome = match claim {
        None => direct(access, peer, own, blacklist, former),
        Some(claim) => forwarded(access, peer, claim, own, blacklist, former),
    };
    match outcome {
        Err(_) if access.insecure => Ok(Caller::anonymous(peer.remote_addr.clone())),
        outcome => outcome,
    }
}

fn direct(
    access: Access,
    peer: &Caller,
    own: &OwnIdentity,
    blacklist: &dyn Blacklist,
    former: FormerManagers,
) -> Result<Caller, Denied> {
    let roles = roles(access);
    check(peer, roles, own, blacklist, former).map_err(|denied| Denied::Peer(Box::new(denied)))?;
    Ok(peer.clone())
}

fn forwarded(
    access: Access,
    peer: &Caller,
    claim: Claim,
    own: &OwnIdentity,
    blacklist: &dyn Blacklist,
    former: FormerManagers,
) -> Result<Caller, Denied> {
    check(peer, &[MANAGER_UNIT], own, blacklist, former)
        .map_err(|denied| Denied::Forwarder(Box::new(denied)))?;
    let remote_addr = if claim.remote_addr.is_empty() {
        peer.remote_addr.clone()
    } else {
        claim.remote_addr.as_str().into()
    };
    let blank = claim.node_id.is_empty() || claim.cluster_id.is_empty() || claim.units.is_empty();
    let roles = roles(access);
    let denied = if blank {
        Some(Denied::Blank)
    } else if !claim.units.iter().any(|unit| roles.contains(&unit.as_str())) {
        Some(Denied::ForwardedRole(roles.join(" ")))
    } else if claim.cluster_id != *own.cluster_id {
        Some(Denied::ForwardedCluster(own.cluster_id.to_string()))
    } else if blacklist.is_removed(&claim.node_id) {
        Some(Denied::Removed(claim.node_id.clone()))
    } else if was_demoted(&claim.node_id, roles, blacklist, former) {
        Some(Denied::Demoted(claim.node_id.clone()))
    } else {
        None
    };
    match denied {
        None => Ok(Caller {
            node_id: claim.node_id.into(),
            cluster_id: claim.cluster_id.into(),
            units: claim.units.into(),
            remote_addr,
            kind: CallerKind::Forwarded { by: peer.node_id.clone() },
        }),
        Some(_) if access.insecure => Ok(Caller::anonymous(remote_addr)),
        Some(denied) => Err(denied),
    }
}

fn check(
    peer: &Caller,
    roles: &[&str],
    own: &OwnIdentity,
    blacklist: &dyn Blacklist,
    former: FormerManagers,
) -> Result<(), Denied> {
    if peer.is_anonymous() {
        return Err(Denied::NoCertificate);
    }
    if !peer.units.iter().any(|unit| roles.contains(&unit.as_str())) {
        return Err(Denied::WrongRole(roles.join(" ")));
    }
    if own.cluster_id.is_empty() || peer.cluster_id != own.cluster_id {
        return Err(Denied::OtherCluster(own.cluster_id.to_string()));
    }
    if blacklist.is_removed(&peer.node_id) {
        return Err(Denied::Removed(peer.node_id.to_string()));
    }
    if was_demoted(&peer.node_id, roles, blacklist, former) {
        return Err(Denied::Demoted(peer.node_id.to_string()));
    }
    Ok(())
}

/// Whether these roles ask for a manager, and the node is none any more.
fn was_demoted(
    node_id: &str,
    roles: &[&str],
    blacklist: &dyn Blacklist,
    former: FormerManagers,
) -> bool {
    let for_managers = !roles.contains(&WORKER_UNIT);
    for_managers && former == FormerManagers::Refused && blacklist.is_demoted(node_id)
}

/// The OUs that a method is open to. On a method that is open to everybody any role of ours is worth knowing.
fn roles(access: Access) -> &'static [&'static str] {
    match (access.worker || access.insecure, access.manager || access.insecure) {
        (true, true) => &[WORKER_UNIT, MANAGER_UNIT],
        (true, false) => &[WORKER_UNIT],
        (false, true) => &[MANAGER_UNIT],
        (false, false) => &[],
    }
}
