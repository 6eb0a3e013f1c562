//! How a service wants to be updated, with the defaults filled in.

use std::time::Duration;

use skep_proto::swarmkit::{
    Service, UpdateConfig, UpdateStatus,
    update_config::{FailureAction, UpdateOrder},
    update_status::UpdateState,
};

use super::super::moment::span;

/// How long a new task must stay up where the config does not say (SwarmKit's default).
const MONITOR_DEFAULT: Duration = Duration::from_secs(5);
/// Places in change at a time where there is no config (SwarmKit's default).
const PARALLELISM_DEFAULT: u64 = 1;

/// How an update goes.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct UpdatePlan {
    /// Whether it is a rollback.
    pub rollback: bool,
    /// Places in change at a time; at least 1.
    pub parallelism: usize,
    /// Pause after each place.
    pub delay: Duration,
    /// How long a new task must stay up.
    pub monitor: Duration,
    /// What happens when too many do not.
    pub action: FailureAction,
    /// How many are too many, as a part of all places that are updated.
    pub max_failure_ratio: f32,
    /// Whether the new task comes up before the old one goes.
    pub start_first: bool,
}

impl UpdatePlan {
    /// What the service's spec asks for in its present state.
    pub(in super::super) fn of(service: &Service) -> UpdatePlan {
        let rollback = state(service) == UpdateState::RollbackStarted;
        let default = UpdateConfig { parallelism: PARALLELISM_DEFAULT, ..Default::default() };
        let config = service
            .spec
            .as_ref()
            .and_then(|spec| if rollback { spec.rollback.as_ref() } else { spec.update.as_ref() })
            .unwrap_or(&default);
        UpdatePlan {
            rollback,
            parallelism: match config.parallelism {
                0 => usize::MAX,
                n => usize::try_from(n).unwrap_or(usize::MAX),
            },
            delay: config.delay.map_or(Duration::ZERO, span),
            monitor: config.monitor.map_or(MONITOR_DEFAULT, span),
            action: config.failure_action(),
            max_failure_ratio: config.max_failure_ratio,
            start_first: config.order() == UpdateOrder::StartFirst,
        }
    }
}

/// How the last update of the service stands.
pub(in super::super) fn state(service: &Service) -> UpdateState {
    service.update_status.as_ref().map_or(UpdateState::Unknown, UpdateStatus::state)
}

/// Whether nothing moves until the operator says so.
pub(in super::super) fn is_paused(service: &Service) -> bool {
    matches!(state(service), UpdateState::Paused | UpdateState::RollbackPaused)
}
