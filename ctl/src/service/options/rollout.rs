//! How a service moves to a new spec, and back to the previous one.

use std::time::Duration;

use clap::ValueEnum;
use skep_proto::swarmkit::{
    UpdateConfig,
    update_config::{FailureAction, UpdateOrder},
};

use super::super::words::duration;
use crate::input::wire_duration;

/// Options of updates.
#[derive(Debug, clap::Args)]
pub struct UpdateOptions {
    /// Time between the updates of two batches of tasks [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    update_delay: Option<Duration>,
    /// What to do when an update fails [default: pause]
    #[arg(long)]
    update_failure_action: Option<OnUpdateFailure>,
    /// The part of the tasks, 0 to 1, that may fail in an update [default: 0]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    update_max_failure_ratio: Option<f32>,
    /// How long each new task is watched for failure [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    update_monitor: Option<Duration>,
    /// Whether an update starts the new task or stops the old one first [default: stop-first]
    #[arg(long)]
    update_order: Option<Order>,
    /// Number of tasks that are updated at once; 0: all [default: 1]
    #[arg(long, value_name = "NUMBER")]
    update_parallelism: Option<u64>,
}

/// Options of rollbacks.
#[derive(Debug, clap::Args)]
pub struct RollbackOptions {
    /// Time between the rollbacks of two batches of tasks [default: 0s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    rollback_delay: Option<Duration>,
    /// What to do when a rollback fails [default: pause]
    #[arg(long)]
    rollback_failure_action: Option<OnRollbackFailure>,
    /// The part of the tasks, 0 to 1, that may fail in a rollback [default: 0]
    #[arg(long, value_name = "RATIO", value_parser = ratio)]
    rollback_max_failure_ratio: Option<f32>,
    /// How long each task that was rolled back is watched for failure [default: 5s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    rollback_monitor: Option<Duration>,
    /// Whether a rollback starts the old task or stops the new one first [default: stop-first]
    #[arg(long)]
    rollback_order: Option<Order>,
    /// Number of tasks that are rolled back at once; 0: all [default: 1]
    #[arg(long, value_name = "NUMBER")]
    rollback_parallelism: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnUpdateFailure {
    Pause,
    Continue,
    Rollback,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnRollbackFailure {
    Pause,
    Continue,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Order {
    StopFirst,
    StartFirst,
}

/// What was given of either.
struct Given {
    delay: Option<Duration>,
    failure_action: Option<FailureAction>,
    max_failure_ratio: Option<f32>,
    monitor: Option<Duration>,
    order: Option<Order>,
    parallelism: Option<u64>,
}

impl UpdateOptions {
    /// Writes what was given into `config`.
    pub fn apply(&self, config: &mut Option<UpdateConfig>) {
        let failure_action = self.update_failure_action.map(|action| match action {
            OnUpdateFailure::Pause => FailureAction::Pause,
            OnUpdateFailure::Continue => FailureAction::Continue,
            OnUpdateFailure::Rollback => FailureAction::Rollback,
        });
        let given = Given {
            delay: self.update_delay,
            failure_action,
            max_failure_ratio: self.update_max_failure_ratio,
            monitor: self.update_monitor,
            order: self.update_order,
            parallelism: self.update_parallelism,
        };
        given.apply(config);
    }
}

impl RollbackOptions {
    /// Writes what was given into `config`.
    pub fn apply(&self, config: &mut Option<UpdateConfig>) {
        let failure_action = self.rollback_failure_action.map(|action| match action {
            OnRollbackFailure::Pause => FailureAction::Pause,
            OnRollbackFailure::Continue => FailureAction::Continue,
        });
        let given = Given {
            delay: self.rollback_delay,
            failure_action,
            max_failure_ratio: self.rollback_max_failure_ratio,
            monitor: self.rollback_monitor,
            order: self.rollback_order,
            parallelism: self.rollback_parallelism,
        };
        given.apply(config);
    }
}

impl Given {
    fn apply(self, config: &mut Option<UpdateConfig>) {
        let asked = self.delay.is_some()
            || self.failure_action.is_some()
            || self.max_failure_ratio.is_some()
            || self.monitor.is_some()
            || self.order.is_some()
            || self.parallelism.is_some();
        if !asked {
            return;
        }
        // Zero would mean all at once; what nobody asked for is one by one.
        let one_by_one = || UpdateConfig { parallelism: 1, ..UpdateConfig::default() };
        let config = config.get_or_insert_with(one_by_one);
        config.delay = self.delay.map(wire_duration).or(config.delay);
        config.monitor = self.monitor.map(wire_duration).or(config.monitor);
        config.max_failure_ratio = self.max_failure_ratio.unwrap_or(config.max_failure_ratio);
        config.parallelism = self.parallelism.unwrap_or(config.parallelism);
        if let Some(action) = self.failure_action {
            config.set_failure_action(action);
        }
        if let Some(order) = self.order {
            config.set_order(match order {
                Order::StopFirst => UpdateOrder::StopFirst,
                Order::StartFirst => UpdateOrder::StartFirst,
            });
        }
    }
}

fn ratio(text: &str) -> Result<f32, String> {
    let ratio: Option<f32> = text.parse().ok();
    ratio.filter(|r| (0.0..=1.0).contains(r)).ok_or_else(|| "write a number from 0 to 1".into())
}
