//! What a container may use at most, and what a node must have free for it.

use skep_proto::swarmkit::{Resources, TaskSpec};

use super::{
    super::quantities::{memory_bytes, nano_cpus},
    container_of,
};

/// Options of resources.
#[derive(Debug, clap::Args)]
pub struct ResourceOptions {
    /// No more processors than this, such as 0.5; 0: no limit
    #[arg(long, value_name = "NUMBER", value_parser = nano_cpus)]
    limit_cpu: Option<i64>,
    /// No more memory than this, such as 512m; 0: no limit
    #[arg(long, value_name = "BYTES", value_parser = memory_bytes)]
    limit_memory: Option<i64>,
    /// No more processes than this; 0: no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    limit_pids: Option<i64>,
    /// Processors that a node must have free
    #[arg(long, value_name = "NUMBER", value_parser = nano_cpus)]
    reserve_cpu: Option<i64>,
    /// Memory that a node must have free
    #[arg(long, value_name = "BYTES", value_parser = memory_bytes)]
    reserve_memory: Option<i64>,
}

impl ResourceOptions {
    /// Writes what was given into `task`.
    pub fn apply(&self, task: &mut TaskSpec) {
        let amount = |of: &mut Option<Resources>, cpus: Option<i64>, memory: Option<i64>| {
            if cpus.is_some() || memory.is_some() {
                let of = of.get_or_insert_with(Resources::default);
                of.nano_cpus = cpus.unwrap_or(of.nano_cpus);
                of.memory_bytes = memory.unwrap_or(of.memory_bytes);
            }
        };
        let given = [self.limit_cpu, self.limit_memory, self.reserve_cpu, self.reserve_memory];
        if given.iter().any(Option::is_some) {
            let resources = task.resources.get_or_insert_default();
            amount(&mut resources.limits, self.limit_cpu, self.limit_memory);
            amount(&mut resources.reservations, self.reserve_cpu, self.reserve_memory);
        }
        // The limit of processes is the container's own; what runs no container has none.
        if let (Some(most), Ok(container)) = (self.limit_pids, container_of(task)) {
            container.pids_limit = most;
        }
    }
}
