//! When a task that ended is started again.

use std::time::Duration;

use clap::ValueEnum;
use skep_proto::swarmkit::{RestartPolicy, restart_policy::RestartCondition};

use super::super::words::duration;
use crate::input::wire_duration;

/// Options of the restart policy.
#[derive(Debug, clap::Args)]
pub struct RestartOptions {
    /// When a task is started again [default: any; of a job: on-failure]
    #[arg(long)]
    restart_condition: Option<Condition>,
    /// Time before a task is started again [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    restart_delay: Option<Duration>,
    /// How often a task is started again before giving up; 0: without end
    #[arg(long, value_name = "NUMBER")]
    restart_max_attempts: Option<u64>,
    /// The time in which those attempts count
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    restart_window: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Condition {
    None,
    OnFailure,
    Any,
}

impl RestartOptions {
    /// Writes what was given into `policy`.
    pub fn apply(&self, policy: &mut Option<RestartPolicy>) {
        let asked = self.restart_condition.is_some()
            || self.restart_delay.is_some()
            || self.restart_max_attempts.is_some()
            || self.restart_window.is_some();
        if !asked {
            return;
        }
        let policy = policy.get_or_insert_with(|| RestartPolicy {
            condition: RestartCondition::Any.into(),
            ..RestartPolicy::default()
        });
        if let Some(condition) = self.restart_condition {
            policy.set_condition(match condition {
                Condition::None => RestartCondition::None,
                Condition::OnFailure => RestartCondition::OnFailure,
                Condition::Any => RestartCondition::Any,
            });
        }
        policy.delay = self.restart_delay.map(wire_duration).or(policy.delay);
        policy.max_attempts = self.restart_max_attempts.unwrap_or(policy.max_attempts);
        policy.window = self.restart_window.map(wire_duration).or(policy.window);
    }
}
