//! Services.

use skep_proto::swarmkit::{ServiceSpec, service_spec::Mode};

use super::{
    Checked, SPEC_BYTES_MAX, annotations::dns_name, at_most, endpoint::endpoint_spec, ensure,
    refuse, required, task, update::update_config,
};

/// The most tasks of one service. A cluster is built for some hundred thousand tasks; a slip of the finger (or a -1
/// that became 2^64 - 1) must not fill the managers' memory.
const TASKS_MAX: u64 = 1_000_000;

/// The spec of a service.
pub fn service_spec(spec: &Option<ServiceSpec>) -> Checked<&ServiceSpec> {
    let spec = required(spec, "the service's spec")?;
    dns_name(&spec.annotations, "service")?;
    at_most(spec, SPEC_BYTES_MAX, "the service's spec")?;
    let task = required(&spec.task, "the task part of the service's spec")?;
    task::task_spec(task)?;
    task::networks(&spec.networks)?;
    update_config(spec.update.as_ref(), "update")?;
    update_config(spec.rollback.as_ref(), "rollback")?;
    endpoint_spec(spec.endpoint.as_ref())?;
    mode(spec)?;
    Ok(spec)
}

fn mode(spec: &ServiceSpec) -> Checked {
    let tasks = |count: u64, what: &str| {
        ensure(count <= TASKS_MAX, || {
            format!("{count} {what} are too many: at most {TASKS_MAX} are allowed")
        })
    };
    match &spec.mode {
        Some(Mode::Replicated(replicated)) => tasks(replicated.replicas, "replicas"),
        Some(Mode::Global(_)) => Ok(()),
        Some(Mode::ReplicatedJob(job)) => {
            tasks(job.max_concurrent, "concurrent tasks")?;
            tasks(job.total_completions, "completions")?;
            job_config(spec)
        }
        Some(Mode::GlobalJob(_)) => job_config(spec),
        None => {
            refuse("the service has no mode: say replicated, global, replicated job or global job")
        }
    }
}

/// A job runs to its end; it is not moved from spec to spec.
fn job_config(spec: &ServiceSpec) -> Checked {
    ensure(spec.update.is_none(), || "Jobs may not have an update config".into())
}

#[cfg(test)]
mod tests {
    use skep_proto::swarmkit::{
        Annotations, ContainerSpec, GlobalJob, GlobalService, ReplicatedJob, ReplicatedService,
        TaskSpec, UpdateConfig, task_spec::Runtime,
    };

    use super::super::says;
    use super::*;

    fn service(mode: Option<Mode>) -> ServiceSpec {
        let container = ContainerSpec { image: "nginx".into(), ..Default::default() };
        ServiceSpec {
            annotations: Some(Annotations { name: "web".into(), ..Default::default() }),
            task: Some(
                TaskSpec { runtime: Some(Runtime::Container(container)), ..Default::default() }
                    .into(),
            ),
            mode,
            ..Default::default()
        }
    }

    fn replicated(replicas: u64) -> Option<Mode> {
        Some(Mode::Replicated(ReplicatedService { replicas }))
    }

    #[test]
    fn a_service_has_a_mode_of_a_sane_size() {
        let job = |max_concurrent, total_completions| {
            Some(Mode::ReplicatedJob(ReplicatedJob { max_concurrent, total_completions }))
        };
        for (mode, expected) in [
            (replicated(0), "ok"),
            (replicated(1_000_000), "ok"),
            (
                replicated(u64::MAX),
                "18446744073709551615 replicas are too many: at most 1000000 are allowed",
            ),
            (Some(Mode::Global(GlobalService {})), "ok"),
            (Some(Mode::GlobalJob(GlobalJob {})), "ok"),
            (job(1, 10), "ok"),
            (
                job(u64::MAX, 1),
                "18446744073709551615 concurrent tasks are too many: at most 1000000 are allowed",
            ),
            (job(1, 1_000_001), "1000001 completions are too many: at most 1000000 are allowed"),
            (None, "the service has no mode: say replicated, global, replicated job or global job"),
        ] {
            assert_eq!(says(service_spec(&Some(service(mode)))), expected);
        }
    }

    #[test]
    fn each_part_of_a_service_is_looked_at() {
        let update = Some(UpdateConfig { max_failure_ratio: 2.0, ..Default::default() });
        let fat = || Annotations {
            name: "web".into(),
            labels: [("k".to_owned(), "v".repeat(100_000))].into(),
            ..Default::default()
        };
        let huge = ContainerSpec {
            image: "nginx".into(),
            args: vec!["x".repeat(600_000)],
            ..Default::default()
        };
        let huge = TaskSpec { runtime: Some(Runtime::Container(huge)), ..Default::default() };
        let one = || service(replicated(1));
        for (spec, expected) in [
            (None, "the service's spec is missing"),
            (Some(ServiceSpec { annotations: None, ..one() }), "service: the name is missing"),
            (Some(ServiceSpec { annotations: Some(fat()), ..one() }), "ok"),
            (
                Some(ServiceSpec { task: None, ..one() }),
                "the task part of the service's spec is missing",
            ),
            (
                Some(ServiceSpec { task: Some(huge.into()), ..one() }),
                "the service's spec takes 600030 bytes; at most 524288 are allowed",
            ),
            (
                Some(ServiceSpec { update, ..one() }),
                "update maximum failure ratio cannot be less than 0 or bigger than 1, this one is 2",
            ),
            (
                Some(ServiceSpec { rollback: update, ..one() }),
                "rollback maximum failure ratio cannot be less than 0 or bigger than 1, this one is 2",
            ),
            (
                Some(ServiceSpec {
                    mode: Some(Mode::GlobalJob(GlobalJob {})),
                    update: Some(UpdateConfig::default()),
                    ..one()
                }),
                "Jobs may not have an update config",
            ),
        ] {
            assert_eq!(says(service_spec(&spec)), expected);
        }
    }
}
