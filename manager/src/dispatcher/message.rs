//! What goes into a session message. Pure, and always everything: agents replace what they knew by it.

use bytes::Bytes;
use skep_proto::{
    ids::SessionId,
    swarmkit::{Cluster, EncryptionKey, Node, Peer, SessionMessage, WeightedPeer},
};

use super::timing::MANAGER_WEIGHT;
use crate::group::MemberState;

/// What all sessions are told alike.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Common {
    /// All managers: an agent forgets those that are missing.
    pub managers: Vec<WeightedPeer>,
    /// The network keys. Stock engines need at least two of each subsystem.
    pub keys: Vec<EncryptionKey>,
    /// The root certificates in PEM, byte for byte as stored: the join token's digest is over these bytes.
    pub root_ca: Bytes,
}

impl Common {
    /// Composes it from the cluster object and the members of the raft group.
    pub fn of(cluster: Option<&Cluster>, members: &[MemberState]) -> Common {
        let mut managers: Vec<WeightedPeer> = members
            .iter()
            .map(|member| WeightedPeer {
                peer: Some(Peer { node_id: member.node_id.clone(), addr: member.addr.clone() }),
                weight: MANAGER_WEIGHT,
            })
            .collect();
        let by_node = |m: &WeightedPeer| m.peer.as_ref().map(|p| p.node_id.clone());
        managers.sort_by_key(by_node);
        Common {
            managers,
            keys: cluster.map(|c| c.network_bootstrap_keys.clone()).unwrap_or_default(),
            root_ca: cluster
                .and_then(|c| c.root_ca.as_ref())
                .map(|root| root.ca_cert.clone())
                .unwrap_or_default(),
        }
    }

    /// The message to one node in its session.
    pub fn message(&self, session: &SessionId, node: &Node) -> SessionMessage {
        SessionMessage {
            session_id: session.to_string(),
            node: Some(node.clone()),
            managers: self.managers.clone(),
            network_bootstrap_keys: self.keys.clone(),
            root_ca: self.root_ca.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::RootCa;

    use super::*;

    fn member(node: &str, reachable: bool) -> MemberState {
        MemberState {
            raft_id: 1,
            node_id: node.into(),
            addr: format!("{node}:2377"),
            leader: false,
            reachable,
        }
    }

    #[test]
    fn a_message_holds_every_manager_all_keys_and_the_root_as_stored() {
        let key = |t| EncryptionKey { lamport_time: t, ..Default::default() };
        let cluster = Cluster {
            network_bootstrap_keys: vec![key(1), key(2), key(3)],
            root_ca: Some(RootCa { ca_cert: "PEM \n\n".into(), ..Default::default() }),
            ..Default::default()
        };
        let members = [member("m2", false), member("m1", true)];
        let common = Common::of(Some(&cluster), &members);
        let node = Node { id: "n".into(), ..Default::default() };
        let message = common.message(&"s".parse().unwrap(), &node);
        let managers: Vec<_> = message
            .managers
            .iter()
            .map(|m| (m.peer.as_ref().unwrap().addr.as_str(), m.weight))
            .collect();
        assert_eq!(managers, [("m1:2377", 10), ("m2:2377", 10)]);
        assert_eq!(message.network_bootstrap_keys.len(), 3);
        assert_eq!(message.root_ca, "PEM \n\n");
        assert_eq!(message.session_id, "s");
        assert_eq!(message.node, Some(node));
    }

    #[test]
    fn reachability_and_order_of_members_make_no_new_message() {
        let a = Common::of(None, &[member("m1", true), member("m2", true)]);
        let b = Common::of(None, &[member("m2", false), member("m1", true)]);
        assert_eq!(a, b);
    }
}
