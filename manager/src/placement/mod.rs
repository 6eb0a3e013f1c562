//! The rules of where a task may run, one at a time: placement constraints, whether a node takes tasks, platforms, plugins,
//! and resources that are counted.
//!
//! Pure: values in, values out. What these rules make of a whole cluster is the scheduler's ([`crate::scheduler`]); the
//! orchestrators, the constraint enforcer and the validation of specs ask the same rules here, so that all of them agree.

mod constraint;
mod generic;
mod platform;
mod reservation;

use skep_proto::swarmkit::{Node, node_spec, node_status};

pub use constraint::{
    Constraint, ConstraintError, Constraints, ENGINE_LABELS, NODE_LABELS, Operator, label,
};
pub use generic::{GenericPool, Shortage};
pub use platform::platform_matches;
pub use reservation::Reservation;

/// Whether the node takes new tasks: it is up (READY) and offered (ACTIVE).
pub fn node_accepts_tasks(node: &Node) -> bool {
    is_ready(node) && is_active(node)
}

/// Whether the node is up.
pub fn is_ready(node: &Node) -> bool {
    let state = node.status.as_ref().map(|status| status.state);
    state == Some(node_status::State::Ready.into())
}

/// Whether the node's availability lets tasks in. A node without a spec is as one with an empty one: active.
pub fn is_active(node: &Node) -> bool {
    let availability = node.spec.as_ref().map_or(0, |spec| spec.availability);
    availability == i32::from(node_spec::Availability::Active)
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{NodeSpec, NodeStatus};

    use super::*;

    #[test]
    fn only_nodes_that_are_up_and_active_take_tasks() {
        use node_spec::Availability::{Active, Drain, Pause};
        use node_status::State::{Disconnected, Down, Ready, Unknown};
        for (state, availability, expected) in [
            (Some(Ready), Some(Active), true),
            (Some(Ready), None, true),
            (Some(Ready), Some(Pause), false),
            (Some(Ready), Some(Drain), false),
            (Some(Down), Some(Active), false),
            (Some(Unknown), Some(Active), false),
            (Some(Disconnected), Some(Active), false),
            (None, Some(Active), false),
        ] {
            let node = Node {
                status: state.map(|s| NodeStatus { state: s.into(), ..Default::default() }),
                spec: availability
                    .map(|a| NodeSpec { availability: a.into(), ..Default::default() }),
                ..Default::default()
            };
            assert_eq!(node_accepts_tasks(&node), expected, "{state:?} {availability:?}");
        }
    }
}
