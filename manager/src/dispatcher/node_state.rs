//! What the dispatcher writes into a node object. Pure: from the object as it is to the object as it should be.

use skep_proto::swarmkit::{
    Node, NodeDescription, NodeStatus, Task, TaskState, node_status::State,
};

/// Text of the status after a change of leader (SwarmKit's words, as are the following).
pub const LEADER_CHANGED: &str =
    "Node moved to \"unknown\" state due to leadership change in cluster";
/// Text of the status of a node whose heartbeats stopped.
pub const SILENT: &str = "heartbeat failure";
/// Text of the status of a node that did not come to the new leader.
pub const NEVER_CAME: &str = "heartbeat failure for node in \"unknown\" state";

/// What happened to a node.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are the large one, and few wait at a time"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum NodeChange {
    /// It registered, or described itself anew.
    Ready {
        /// What it says of itself; none keeps what is known.
        description: Option<NodeDescription>,
        /// The IP address that it called from; empty keeps what is known.
        addr: String,
    },
    /// It has not come to this leader yet.
    Unknown,
    /// It is lost, for this reason.
    Down(&'static str),
}

/// The node after the change, or none when it is as it should be.
pub fn changed(node: &Node, change: &NodeChange) -> Option<Node> {
    let old = node.status.clone().unwrap_or_default();
    let status = match change {
        NodeChange::Ready { addr, .. } => {
            let addr = if addr.is_empty() { old.addr.clone() } else { addr.clone() };
            NodeStatus { state: State::Ready.into(), message: String::new(), addr }
        }
        // Down is sharper than not known.
        NodeChange::Unknown if old.state() == State::Down => return None,
        NodeChange::Unknown => with_state(&old, State::Unknown, LEADER_CHANGED),
        NodeChange::Down(_) if old.state() == State::Down => return None,
        NodeChange::Down(reason) => with_state(&old, State::Down, reason),
    };
    let description = match change {
        NodeChange::Ready { description: Some(new), .. } => Some(new.clone()),
        _ => node.description.clone(),
    };
    if Some(&status) == node.status.as_ref() && description == node.description {
        return None;
    }
    Some(Node { status: Some(status), description, ..node.clone() })
}

/// The task given up because its node has been down for too long, or none when that does not concern it.
pub fn orphaned(task: &Task) -> Option<Task> {
    let status = task.status.clone().unwrap_or_default();
    let held = TaskState::Assigned as i32..=TaskState::Running as i32;
    held.contains(&status.state).then(|| {
        let mut task = task.clone();
        task.status.get_or_insert_default().state = TaskState::Orphaned.into();
        task
    })
}

fn with_state(old: &NodeStatus, state: State, message: &str) -> NodeStatus {
    NodeStatus { state: state.into(), message: message.to_owned(), addr: old.addr.clone() }
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::TaskStatus;

    use super::*;

    fn node(state: State, message: &str, addr: &str) -> Node {
        let status = NodeStatus { state: state.into(), message: message.into(), addr: addr.into() };
        let hostname = "old".into();
        let description = Some(NodeDescription { hostname, ..Default::default() });
        Node { id: "n".into(), status: Some(status), description, ..Default::default() }
    }

    fn ready(hostname: Option<&str>, addr: &str) -> NodeChange {
        let description =
            hostname.map(|h| NodeDescription { hostname: h.into(), ..Default::default() });
        NodeChange::Ready { description, addr: addr.into() }
    }

    /// "STATE message @addr hostname", or "-" for no change.
    fn after(node: &Node, change: NodeChange) -> String {
        match changed(node, &change) {
            None => "-".into(),
            Some(node) => {
                let status = node.status.unwrap();
                let hostname = node.description.unwrap_or_default().hostname;
                format!(
                    "{} {} @{} {hostname}",
                    status.state().as_str_name(),
                    status.message,
                    status.addr
                )
            }
        }
    }

    #[test]
    fn what_becomes_of_a_node() {
        use State::{Disconnected, Down, Ready, Unknown};
        let table = [
            (node(Unknown, "new", ""), ready(Some("h"), "10.0.0.1"), "READY  @10.0.0.1 h"),
            (node(Down, SILENT, "10.0.0.9"), ready(None, ""), "READY  @10.0.0.9 old"),
            (node(Ready, "", "10.0.0.1"), ready(Some("old"), "10.0.0.1"), "-"),
            (node(Ready, "", "10.0.0.1"), ready(Some("new"), "10.0.0.1"), "READY  @10.0.0.1 new"),
            (
                node(Ready, "", "a"),
                NodeChange::Unknown,
                "UNKNOWN Node moved to \"unknown\" state due to leadership change in cluster @a old",
            ),
            (node(Unknown, LEADER_CHANGED, "a"), NodeChange::Unknown, "-"),
            (node(Down, SILENT, "a"), NodeChange::Unknown, "-"),
            (node(Ready, "", "a"), NodeChange::Down(SILENT), "DOWN heartbeat failure @a old"),
            (node(Down, "first reason", "a"), NodeChange::Down(SILENT), "-"),
            (
                node(Unknown, LEADER_CHANGED, "a"),
                NodeChange::Down(NEVER_CAME),
                "DOWN heartbeat failure for node in \"unknown\" state @a old",
            ),
            (
                node(Disconnected, "node is currently trying to find new manager", "a"),
                ready(None, "b"),
                "READY  @b old",
            ),
        ];
        for (node, change, expected) in table {
            assert_eq!(after(&node, change.clone()), expected, "{:?} {change:?}", node.status);
        }
    }

    #[test]
    fn tasks_that_may_be_running_are_given_up_and_others_are_not() {
        use TaskState::*;
        for (state, expected) in [
            (New, false),
            (Pending, false),
            (Assigned, true),
            (Starting, true),
            (Running, true),
            (Complete, false),
            (Failed, false),
            (Orphaned, false),
        ] {
            let status = TaskStatus { state: state.into(), ..Default::default() };
            let task = Task { status: Some(status), ..Default::default() };
            let given_up = orphaned(&task);
            assert_eq!(given_up.is_some(), expected, "{state:?}");
            assert!(given_up.is_none_or(|t| t.status.unwrap().state() == Orphaned));
        }
    }
}
