//! Specs of services, and what tests look at in them.

use std::time::Duration;

use skep_proto::swarmkit::{
    ContainerSpec, ReplicatedJob, ReplicatedService, ServiceSpec, Task, TaskSpec, UpdateConfig,
    service_spec::Mode, task_spec::Runtime,
};

/// A spec of a replicated service.
pub fn replicated(replicas: u64) -> ServiceSpec {
    with_mode(Mode::Replicated(ReplicatedService { replicas }))
}

/// A spec of a replicated job.
pub fn job(max_concurrent: u64, total_completions: u64) -> ServiceSpec {
    with_mode(Mode::ReplicatedJob(ReplicatedJob { max_concurrent, total_completions }))
}

pub fn with_mode(mode: Mode) -> ServiceSpec {
    ServiceSpec {
        task: Some(
            TaskSpec {
                runtime: Some(Runtime::Container(ContainerSpec {
                    image: "v1".into(),
                    ..Default::default()
                })),
                ..Default::default()
            }
            .into(),
        ),
        mode: Some(mode),
        update: Some(UpdateConfig { parallelism: 1, ..Default::default() }),
        ..Default::default()
    }
}

/// Another image.
pub fn set_image(spec: &mut ServiceSpec, to: &str) {
    if let Some(Runtime::Container(container)) =
        spec.task.as_mut().and_then(|task| task.runtime.as_mut())
    {
        container.image = to.into();
    }
}

pub fn image(task: &Task) -> &str {
    match task.spec.as_ref().and_then(|spec| spec.runtime.as_ref()) {
        Some(Runtime::Container(container)) => &container.image,
        _ => "",
    }
}

pub fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn wire_seconds(seconds: i64) -> Option<skep_proto::prost_types::Duration> {
    Some(skep_proto::prost_types::Duration { seconds, nanos: 0 })
}
