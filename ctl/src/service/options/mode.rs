//! How many tasks a service has.

use clap::ValueEnum;
use skep_proto::swarmkit::{
    GlobalJob, GlobalService, ReplicatedJob, ReplicatedService, ServiceSpec, service_spec,
};

use crate::errors::Failure;

/// Options of the number of tasks.
#[derive(Debug, clap::Args)]
pub struct ModeOptions {
    /// How many tasks of a job run at once [default: all]
    #[arg(long, value_name = "NUMBER")]
    max_concurrent: Option<u64>,
    /// Number of tasks; of a job, how many are to complete [default: 1]
    #[arg(long, value_name = "NUMBER")]
    replicas: Option<u64>,
}

/// The modes of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// A number of tasks
    Replicated,
    /// A task on each node
    Global,
    /// Tasks that are to complete
    ReplicatedJob,
    /// A task that is to complete on each node
    GlobalJob,
}

/// The mode of this kind, with one task where there is a number.
pub fn of_kind(mode: Mode) -> service_spec::Mode {
    match mode {
        Mode::Replicated => service_spec::Mode::Replicated(ReplicatedService { replicas: 1 }),
        Mode::Global => service_spec::Mode::Global(GlobalService {}),
        Mode::ReplicatedJob => service_spec::Mode::ReplicatedJob(ReplicatedJob {
            max_concurrent: 1,
            total_completions: 1,
        }),
        Mode::GlobalJob => service_spec::Mode::GlobalJob(GlobalJob {}),
    }
}

impl ModeOptions {
    /// Writes what was given into `spec`, whose mode says what can be given.
    pub fn apply(&self, spec: &mut ServiceSpec) -> Result<(), Failure> {
        let refused = |text: &str| Err(Failure::Usage(text.into()));
        match &mut spec.mode {
            Some(service_spec::Mode::Replicated(replicated)) => {
                replicated.replicas = self.replicas.unwrap_or(replicated.replicas);
            }
            Some(service_spec::Mode::ReplicatedJob(job)) => {
                // All at once stays all at once.
                let all_at_once = job.max_concurrent == job.total_completions;
                job.total_completions = self.replicas.unwrap_or(job.total_completions);
                job.max_concurrent = match self.max_concurrent {
                    Some(most) => most,
                    None if all_at_once => job.total_completions,
                    None => job.max_concurrent,
                };
                return Ok(());
            }
            _ if self.replicas.is_some() => {
                return refused("--replicas is for replicated modes only");
            }
            _ => {}
        }
        match self.max_concurrent {
            Some(_) => refused("--max-concurrent is for replicated-job only"),
            None => Ok(()),
        }
    }
}
