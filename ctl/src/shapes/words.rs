//! The words for states, roles and the like.

use skep_proto::swarmkit::{
    Node, NodeRole, TaskState,
    node_spec::Availability,
    node_status, raft_member_status,
    restart_policy::RestartCondition,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};

/// The first letter as a capital.
pub fn capitalized(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// How a node is.
pub fn node_state(node: &Node) -> &'static str {
    match node.status.as_ref().map(|s| s.state()).unwrap_or_default() {
        node_status::State::Unknown => "unknown",
        node_status::State::Down => "down",
        node_status::State::Ready => "ready",
        node_status::State::Disconnected => "disconnected",
    }
}

/// Whether a node takes work.
pub fn availability(node: &Node) -> &'static str {
    match node.spec.as_ref().map(|s| s.availability()).unwrap_or_default() {
        Availability::Active => "active",
        Availability::Pause => "pause",
        Availability::Drain => "drain",
    }
}

/// The word of a role.
pub fn role(role: NodeRole) -> &'static str {
    match role {
        NodeRole::Worker => "worker",
        NodeRole::Manager => "manager",
    }
}

/// Whether the leader reaches a manager.
pub fn reachability(node: &Node) -> &'static str {
    use raft_member_status::Reachability;
    match node.manager_status.as_ref().map(|s| s.reachability()).unwrap_or_default() {
        Reachability::Unknown => "unknown",
        Reachability::Unreachable => "unreachable",
        Reachability::Reachable => "reachable",
    }
}

/// The word of a task's state.
pub fn task_state(state: TaskState) -> String {
    state.as_str_name().to_ascii_lowercase()
}

/// The word for how far an update is, as Docker spells it.
pub fn update_state(state: UpdateState) -> &'static str {
    match state {
        UpdateState::Unknown => "",
        UpdateState::Updating => "updating",
        UpdateState::Paused => "paused",
        UpdateState::Completed => "completed",
        UpdateState::RollbackStarted => "rollback_started",
        UpdateState::RollbackPaused => "rollback_paused",
        UpdateState::RollbackCompleted => "rollback_completed",
    }
}

/// The word for when a task that ended is replaced.
pub fn restart_condition(condition: RestartCondition) -> &'static str {
    match condition {
        RestartCondition::None => "none",
        RestartCondition::OnFailure => "on-failure",
        RestartCondition::Any => "any",
    }
}

/// The word for what an update does when tasks fail.
pub fn failure_action(action: FailureAction) -> &'static str {
    match action {
        FailureAction::Pause => "pause",
        FailureAction::Continue => "continue",
        FailureAction::Rollback => "rollback",
    }
}

/// The word for which of two tasks goes first in an update.
pub fn update_order(order: UpdateOrder) -> &'static str {
    match order {
        UpdateOrder::StopFirst => "stop-first",
        UpdateOrder::StartFirst => "start-first",
    }
}
