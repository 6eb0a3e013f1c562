//! What the managers tell a node about its identity, and the hooks through which the node acts on it.

use bytes::Bytes;
use futures::future::BoxFuture;
use skep_proto::swarmkit::{NodeRole, NodeTlsInfo, SessionMessage, issuance_status};

/// Acts on what the managers say about this node's identity. Calls must not block: they are made from the session.
pub trait IdentityEvents: Send + Sync + 'static {
    /// Which root this node trusts and who issued its certificate, as the node description reports it.
    fn tls_info(&self) -> Option<NodeTlsInfo>;

    /// Resolves when [`IdentityEvents::tls_info`] has changed since the call, so that the managers hear of it at once.
    /// Safe to drop.
    fn tls_changed(&self) -> BoxFuture<'_, ()> {
        Box::pin(std::future::pending())
    }

    /// The cluster has another root (PEM, byte for byte). To be trusted only if it verifies the node's own certificate.
    fn root_changed(&self, root_pem: Bytes);

    /// The node is to have this role: renew the certificate until it shows it.
    fn role_wanted(&self, role: NodeRole);

    /// The certificate is to be renewed now: its issuer is on the way out.
    fn rotation_wanted(&self);
}

/// What was last seen of these in the session messages; only changes are passed on.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Seen {
    root: Option<Bytes>,
    role: Option<i32>,
    rotate: bool,
}

/// One thing that changed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Change {
    Root(Bytes),
    Role(NodeRole),
    Rotate,
}

impl Seen {
    /// Takes note of a message and says what is new in it.
    pub(crate) fn update(&mut self, message: &SessionMessage) -> Vec<Change> {
        let mut changes = Vec::new();
        if !message.root_ca.is_empty() && self.root.as_ref() != Some(&message.root_ca) {
            self.root = Some(message.root_ca.clone());
            changes.push(Change::Root(message.root_ca.clone()));
        }
        let Some(node) = &message.node else { return changes };
        if let Some(spec) = &node.spec
            && self.role != Some(spec.desired_role)
        {
            self.role = Some(spec.desired_role);
            changes.push(Change::Role(spec.desired_role()));
        }
        let status = node.certificate.as_ref().and_then(|c| c.status.as_ref());
        let rotate = status.is_some_and(|s| s.state() == issuance_status::State::Rotate);
        if rotate && !self.rotate {
            changes.push(Change::Rotate);
        }
        self.rotate = rotate;
        changes
    }
}

impl Change {
    pub(crate) fn tell(self, identity: &dyn IdentityEvents) {
        match self {
            Change::Root(pem) => identity.root_changed(pem),
            Change::Role(role) => identity.role_wanted(role),
            Change::Rotate => identity.rotation_wanted(),
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{Certificate, IssuanceStatus, Node, NodeSpec};

    use super::*;

    fn message(
        root: &'static str,
        role: NodeRole,
        state: issuance_status::State,
    ) -> SessionMessage {
        let status = Some(IssuanceStatus { state: state.into(), ..Default::default() });
        let node = Node {
            spec: Some(NodeSpec { desired_role: role.into(), ..Default::default() }),
            certificate: Some(Certificate { status, ..Default::default() }),
            ..Default::default()
        };
        SessionMessage { node: Some(node), root_ca: root.into(), ..Default::default() }
    }

    #[test]
    fn only_what_changed_is_passed_on() {
        use issuance_status::State::{Issued, Rotate};
        let mut seen = Seen::default();
        let script = [
            (
                message("r1", NodeRole::Worker, Issued),
                vec![Change::Root("r1".into()), Change::Role(NodeRole::Worker)],
            ),
            (message("r1", NodeRole::Worker, Issued), vec![]),
            (message("", NodeRole::Worker, Issued), vec![]),
            (message("r1", NodeRole::Manager, Issued), vec![Change::Role(NodeRole::Manager)]),
            (message("r1", NodeRole::Manager, Rotate), vec![Change::Rotate]),
            (message("r2", NodeRole::Manager, Rotate), vec![Change::Root("r2".into())]),
            (message("r2", NodeRole::Manager, Issued), vec![]),
            (message("r2", NodeRole::Manager, Rotate), vec![Change::Rotate]),
        ];
        for (message, expected) in script {
            assert_eq!(seen.update(&message), expected);
        }
    }
}
