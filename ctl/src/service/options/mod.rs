//! The options that `service create` and `service update` share: each sets one value of the spec, whatever was there.
//!
//! One file per part of the spec. Each group writes into a spec that exists already, an empty one for a service that is to
//! be created, and touches nothing that its options do not name. Options that hold several values, which are added and
//! removed one by one, are in `lists`.

mod container;
mod health;
mod logging;
mod mode;
mod resources;
mod restart;
mod rollout;

use skep_proto::swarmkit::{
    ContainerSpec, EndpointSpec, ServiceSpec, TaskSpec, endpoint_spec::ResolutionMode,
    task_spec::Runtime,
};

pub use container::{CommandLine, command_line};
pub use mode::{Mode, ModeOptions, of_kind};

use crate::errors::Failure;

/// The options of a service's spec that hold one value each.
#[derive(Debug, clap::Args)]
pub struct Options {
    #[command(flatten)]
    container: container::ContainerOptions,
    #[command(flatten)]
    health: health::HealthOptions,
    #[command(flatten)]
    resources: resources::ResourceOptions,
    #[command(flatten)]
    restart: restart::RestartOptions,
    #[command(flatten)]
    update: rollout::UpdateOptions,
    #[command(flatten)]
    rollback: rollout::RollbackOptions,
    #[command(flatten)]
    logging: logging::LoggingOptions,
    #[command(flatten)]
    mode: ModeOptions,
    /// How the service's name resolves: to one virtual address, or to those of the tasks
    #[arg(long)]
    endpoint_mode: Option<EndpointMode>,
    /// No more tasks than this on one node; 0: no limit
    #[arg(long, value_name = "NUMBER")]
    replicas_max_per_node: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EndpointMode {
    Vip,
    Dnsrr,
}

impl Options {
    /// Writes what was given into `spec`, whose mode is set already.
    pub fn apply(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        self.mode.apply(spec)?;
        self.update.apply(&mut spec.update);
        self.rollback.apply(&mut spec.rollback);
        if let Some(mode) = self.endpoint_mode {
            spec.endpoint.get_or_insert_with(EndpointSpec::default).set_mode(match mode {
                EndpointMode::Vip => ResolutionMode::Vip,
                EndpointMode::Dnsrr => ResolutionMode::Dnsrr,
            });
        }
        let task = spec.task.get_or_insert_default();
        if let Some(most) = self.replicas_max_per_node {
            task.placement.get_or_insert_default().max_replicas = most;
        }
        self.resources.apply(task);
        self.restart.apply(&mut task.restart);
        self.logging.apply(task)?;
        let container = container_of(task)?;
        self.container.apply(container);
        self.health.apply(container)
    }
}

/// The container of a task's spec.
pub fn container_of(task: &mut TaskSpec) -> Result<&mut ContainerSpec, Failure> {
    let runtime = task.runtime.get_or_insert_with(|| Runtime::Container(ContainerSpec::default()));
    match runtime {
        Runtime::Container(container) => Ok(container),
        _ => Err(Failure::Invalid(
            "the service runs no containers: it cannot be changed with these options".into(),
        )),
    }
}
