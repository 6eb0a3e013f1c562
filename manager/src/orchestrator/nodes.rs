//! What a node's state means for the tasks on it.

use skep_proto::swarmkit::{
    Node, Service, node_spec::Availability, node_status::State, service_spec::Mode,
};

use crate::placement::Constraints;

/// Whether nothing more is heard of the node's tasks: it is gone, or down.
pub(super) fn is_lost(node: Option<&Node>) -> bool {
    node.is_none_or(|node| state(node) == State::Down)
}

/// Whether the node keeps no tasks: it is gone, down, or drained. One that is only unheard of for a moment keeps them.
pub(super) fn is_unfit(node: Option<&Node>) -> bool {
    node.is_none_or(|node| is_lost(Some(node)) || is_drained(node))
}

/// Whether its operator wants it empty.
pub(super) fn is_drained(node: &Node) -> bool {
    availability(node) == Availability::Drain
}

/// What a node is to a service that has one task on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    /// It is to have a task.
    Member,
    /// Its task stays as it is, and it gets no new one.
    Spectator,
    /// It is to have no task.
    Outsider,
    /// There is no such node any more.
    Gone,
}

/// What the node is to a global service.
pub(super) fn standing(service: &Service, node: Option<&Node>) -> Standing {
    let Some(node) = node else { return Standing::Gone };
    if is_unfit(Some(node)) || !meets_constraints(service, node) {
        return Standing::Outsider;
    }
    match availability(node) {
        Availability::Active => Standing::Member,
        _ => Standing::Spectator,
    }
}

/// What the node is to a global job: new tasks only where they can run at once.
pub(super) fn job_standing(service: &Service, node: Option<&Node>) -> Standing {
    let Some(node) = node else { return Standing::Gone };
    if is_unfit(Some(node)) {
        return Standing::Outsider;
    }
    let takes = state(node) == State::Ready && availability(node) == Availability::Active;
    match takes && meets_constraints(service, node) {
        true => Standing::Member,
        false => Standing::Spectator,
    }
}

/// Whether a service that has one task on each node is to have one on this node, be it there yet or not.
pub(crate) fn is_member(service: &Service, node: &Node) -> bool {
    let standing = match service.spec.as_ref().and_then(|spec| spec.mode.as_ref()) {
        Some(Mode::Global(_)) => standing,
        Some(Mode::GlobalJob(_)) => job_standing,
        Some(Mode::Replicated(_) | Mode::ReplicatedJob(_)) | None => return false,
    };
    standing(service, Some(node)) == Standing::Member
}

/// Whether the node meets the service's constraints. Those that cannot be read are met by none.
pub(super) fn meets_constraints(service: &Service, node: &Node) -> bool {
    let task = service.spec.as_ref().and_then(|spec| spec.task.as_ref());
    match task.and_then(|task| task.placement.as_ref()) {
        None => true,
        Some(placement) if placement.constraints.is_empty() => true,
        Some(placement) => Constraints::parse(&placement.constraints)
            .is_ok_and(|constraints| constraints.matches(node)),
    }
}

/// Whether a change of the node may change anything for the tasks on it, or for those that it could have.
pub(super) fn matters(old: Option<&Node>, new: Option<&Node>) -> bool {
    let (Some(old), Some(new)) = (old, new) else { return true };
    let address = |node: &Node| node.status.as_ref().map(|status| status.addr.clone());
    old.spec != new.spec
        || old.role != new.role
        || state(old) != state(new)
        || address(old) != address(new)
        || old.description != new.description
}

fn state(node: &Node) -> State {
    node.status.as_ref().map_or(State::Unknown, |status| status.state())
}

fn availability(node: &Node) -> Availability {
    node.spec.as_ref().map_or(Availability::Active, |spec| spec.availability())
}
