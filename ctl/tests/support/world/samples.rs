//! Nodes and parts of objects as a swarm has them.

use skep_proto::{skep::GetKeysResponse, swarmkit::*};

/// A manager.
pub fn manager(id: &str, hostname: &str, leader: bool) -> Node {
    let mut node = worker(id, hostname);
    let addr = format!("10.0.0.{}:2377", id.trim_start_matches(char::is_alphabetic));
    node.spec.as_mut().unwrap().set_desired_role(NodeRole::Manager);
    node.set_role(NodeRole::Manager);
    node.manager_status = Some(ManagerStatus {
        leader,
        addr,
        reachability: raft_member_status::Reachability::Reachable.into(),
        ..ManagerStatus::default()
    });
    node
}

/// A worker.
pub fn worker(id: &str, hostname: &str) -> Node {
    Node {
        id: id.into(),
        meta: meta(5),
        spec: Some(NodeSpec::default()),
        description: Some(NodeDescription {
            hostname: hostname.into(),
            platform: Some(Platform { architecture: "x86_64".into(), os: "linux".into() }),
            engine: Some(EngineDescription {
                engine_version: "20.10.24".into(),
                ..Default::default()
            }),
            tls_info: Some(NodeTlsInfo { trust_root: "ROOT ONE\n".into(), ..Default::default() }),
            ..NodeDescription::default()
        }),
        status: Some(NodeStatus {
            state: node_status::State::Ready.into(),
            addr: "10.0.0.9".into(),
            ..NodeStatus::default()
        }),
        ..Node::default()
    }
}

pub(super) fn meta(index: u64) -> Option<Meta> {
    let at = |seconds| Some(skep_proto::prost_types::Timestamp { seconds, nanos: 0 });
    Some(Meta {
        version: Some(Version { index }),
        created_at: at(1_700_000_000),
        updated_at: at(1_700_000_060),
    })
}

pub(super) fn named(name: &str) -> Option<Annotations> {
    Some(Annotations { name: name.into(), ..Annotations::default() })
}

pub(super) fn tokens(keys: &GetKeysResponse) -> JoinTokens {
    JoinTokens { worker: keys.worker_join_token.clone(), manager: keys.manager_join_token.clone() }
}
