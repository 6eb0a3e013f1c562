//! How far a rotation is: which nodes do not yet have a certificate from the new root's key, and the end.

use bytes::Bytes;
use skep_proto::swarmkit::{JoinTokens, Node, RootCa as StoredRoot, issuance_status::State};

use crate::{JoinToken, RootDigest, certificate::Certificate, root::RootError};

/// Nodes asked to renew per round: so many certificates are signed within a second or two.
pub const ROTATE_BATCH: usize = 30;

/// Who issues certificates: subject and public key (SubjectPublicKeyInfo), both raw DER, as nodes report them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issuer {
    /// The issuer's name.
    pub subject: Bytes,
    /// The issuer's key.
    pub public_key: Bytes,
}

/// The issuer that every node is to have: the root being rotated to, else the current one.
pub fn target_issuer(root: &StoredRoot) -> Result<Issuer, RootError> {
    let pem = root.root_rotation.as_ref().map_or(&root.ca_cert, |rotation| &rotation.ca_cert);
    let mut certificates = Certificate::from_pem(pem)?;
    let Certificate { subject, public_key, .. } = certificates.swap_remove(0);
    Ok(Issuer { subject, public_key })
}

/// Whether a node does not report the target as its certificate's issuer. One that reports nothing lags: nobody knows
/// what it has. It holds the rotation up until it comes back or is removed.
pub fn lagging(node: &Node, target: &Issuer) -> bool {
    let reported = node.description.as_ref().and_then(|description| description.tls_info.as_ref());
    reported.is_none_or(|info| {
        info.cert_issuer_subject != target.subject
            || info.cert_issuer_public_key != target.public_key
    })
}

/// The nodes to be asked for a renewal in this round: lagging ones whose certificate is settled, [`ROTATE_BATCH`] at
/// most. Nodes that are renewing, or have been asked, are left to it.
pub fn rotate_batch<'a>(
    nodes: impl IntoIterator<Item = &'a Node>,
    target: &Issuer,
) -> Vec<&'a Node> {
    let settled = |node: &Node| {
        let status = node.certificate.as_ref().and_then(|certificate| certificate.status.as_ref());
        let state =
            status.map_or(State::Unknown, |s| State::try_from(s.state).unwrap_or(State::Unknown));
        !matches!(state, State::Renew | State::Pending | State::Rotate)
    };
    nodes
        .into_iter()
        .filter(|node| lagging(node, target) && settled(node))
        .take(ROTATE_BATCH)
        .collect()
}

/// The cluster's `RootCA` after its rotation: the new root and its key, new join tokens, no rotation. `None` when none is
/// in progress.
pub fn finish(root: &StoredRoot, requires_fips: bool) -> Option<StoredRoot> {
    let rotation = root.root_rotation.as_ref()?;
    let digest = RootDigest::of(&rotation.ca_cert);
    let token = || JoinToken::generate(digest, requires_fips).expose().to_owned();
    Some(StoredRoot {
        ca_key: rotation.ca_key.clone(),
        ca_cert: rotation.ca_cert.clone(),
        ca_cert_hash: digest.to_string(),
        join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
        root_rotation: None,
        last_forced_rotation: root.last_forced_rotation,
    })
}
