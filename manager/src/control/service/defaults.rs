//! What applies where a service's spec says nothing. Shown on request; never stored.

use skep_proto::{
    prost_types::Duration,
    swarmkit::{
        ResourceRequirements, RestartPolicy, ServiceSpec, UpdateConfig,
        restart_policy::RestartCondition, task_spec::Runtime,
    },
};

/// How long a container has to stop.
const STOP_GRACE_SECONDS: i64 = 10;
/// How long until a task that ended is replaced.
const RESTART_DELAY_SECONDS: i64 = 5;
/// How long a new task must run to count as updated.
const UPDATE_MONITOR_SECONDS: i64 = 5;
/// Tasks that are updated at a time.
const UPDATE_PARALLELISM: u64 = 1;

/// The spec with the defaults filled in.
pub(super) fn with_defaults(mut spec: ServiceSpec) -> ServiceSpec {
    if !super::is_job(&spec) {
        spec.update = Some(update_config(spec.update));
        spec.rollback = Some(update_config(spec.rollback));
    }
    let Some(task) = &mut spec.task else { return spec };
    if let Some(Runtime::Container(container)) = &mut task.runtime {
        container.stop_grace_period.get_or_insert(seconds(STOP_GRACE_SECONDS));
        container.pull_options.get_or_insert_default();
        container.dns_config.get_or_insert_default();
    }
    task.resources.get_or_insert_with(ResourceRequirements::default);
    let any = || RestartPolicy { condition: RestartCondition::Any.into(), ..Default::default() };
    task.restart.get_or_insert_with(any).delay.get_or_insert(seconds(RESTART_DELAY_SECONDS));
    task.placement.get_or_insert_default();
    spec
}

fn update_config(config: Option<UpdateConfig>) -> UpdateConfig {
    let mut config = config
        .unwrap_or_else(|| UpdateConfig { parallelism: UPDATE_PARALLELISM, ..Default::default() });
    config.monitor.get_or_insert(seconds(UPDATE_MONITOR_SECONDS));
    config
}

fn seconds(seconds: i64) -> Duration {
    Duration { seconds, nanos: 0 }
}
