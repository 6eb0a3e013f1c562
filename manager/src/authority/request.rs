//! What a request for a certificate leads to. Pure: caller, request and cluster in, the change of a node out.

use bytes::Bytes;
use skep_api::{Caller, CallerKind};
use skep_ca::{Csr, key::CsrError, token};
use skep_proto::{
    ids::NodeId,
    swarmkit::{
        Annotations, Certificate, Cluster, IssuanceStatus, IssueNodeCertificateRequest, Node,
        NodeRole, NodeSpec, issuance_status::State, node_spec,
    },
};
use tonic::Status;

/// Why no certificate is issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refused {
    /// The CSR is missing or proves nothing.
    #[error("the certificate signing request cannot be used: {0}")]
    Csr(CsrError),
    /// Neither a certificate nor a token that counts. Clients know the text.
    #[error("A valid join token is necessary to join this cluster")]
    Token,
    /// The certificate's node is gone. The text is SwarmKit's.
    #[error("node {0} not found when attempting to renew certificate")]
    UnknownNode(String),
    /// The availability is none of the three.
    #[error("{0} is not an availability: expected active, pause or drain")]
    Availability(i32),
}

impl From<Refused> for Status {
    fn from(refused: Refused) -> Status {
        let text = refused.to_string();
        match refused {
            Refused::UnknownNode(_) => Status::not_found(text),
            _ => Status::invalid_argument(text),
        }
    }
}

/// What is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// The caller's certificate again, over a new key.
    Renewal { node_id: String },
    /// A node's first certificate, for a holder of a token.
    First { role: NodeRole, availability: node_spec::Availability },
}

/// Decides by what the caller has proven: a certificate, or else a join token. The role that the request names is a
/// fossil and does not count.
pub(super) fn wanted(
    caller: &Caller,
    request: &IssueNodeCertificateRequest,
    cluster: &Cluster,
) -> Result<Wanted, Refused> {
    Csr::from_pem(request.csr.clone()).public_key().map_err(Refused::Csr)?;
    // The role in the certificate does not matter: what is renewed is the node's present role.
    if caller.kind != CallerKind::Anonymous {
        return Ok(Wanted::Renewal { node_id: caller.node_id.to_string() });
    }
    let tokens = cluster.root_ca.as_ref().and_then(|root| root.join_tokens.as_ref());
    let is = |stored: Option<&String>| stored.is_some_and(|text| token::same(text, &request.token));
    // Both are compared, the manager's first, whatever the first comparison says.
    let manager = is(tokens.map(|tokens| &tokens.manager));
    let worker = is(tokens.map(|tokens| &tokens.worker));
    let role = match (manager, worker) {
        (true, _) => NodeRole::Manager,
        (_, true) => NodeRole::Worker,
        _ => return Err(Refused::Token),
    };
    let availability = node_spec::Availability::try_from(request.availability)
        .map_err(|_| Refused::Availability(request.availability))?;
    Ok(Wanted::First { role, availability })
}

/// The certificate entry of a request that is to be signed.
pub(super) fn entry(id: &str, role: i32, csr: Bytes, state: State) -> Certificate {
    Certificate {
        role,
        csr,
        status: Some(IssuanceStatus { state: state.into(), err: String::new() }),
        certificate: Bytes::new(),
        cn: id.to_owned(),
    }
}

/// The object of a node that joins.
pub(super) fn joining(
    id: NodeId,
    role: NodeRole,
    availability: node_spec::Availability,
    csr: Bytes,
    cluster: &Cluster,
) -> Node {
    Node {
        id: id.to_string(),
        role: role.into(),
        spec: Some(NodeSpec {
            annotations: Some(Annotations::default()),
            desired_role: role.into(),
            membership: node_spec::Membership::Accepted.into(),
            availability: availability.into(),
        }),
        certificate: Some(entry(id.as_str(), role.into(), csr, State::Pending)),
        vxlanudp_port: cluster.vxlanudp_port,
        ..Default::default()
    }
}

/// How far the answer to a node's request is.
pub(super) fn state(node: &Node) -> State {
    node.certificate
        .as_ref()
        .and_then(|certificate| certificate.status.as_ref())
        .and_then(|status| State::try_from(status.state).ok())
        .unwrap_or(State::Unknown)
}

/// Whether waiting for the answer is over.
pub(super) fn is_settled(state: State) -> bool {
    matches!(state, State::Issued | State::Failed | State::Rotate)
}

/// Whether the node waits for a signature: a renewal, or a first request of a node that is accepted.
pub(super) fn needs_signature(node: &Node) -> bool {
    let accepted =
        || node.spec.as_ref().is_some_and(|s| s.membership() == node_spec::Membership::Accepted);
    match state(node) {
        State::Renew => true,
        State::Pending => accepted(),
        _ => false,
    }
}
