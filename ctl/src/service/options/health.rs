//! How it is found out whether a container is healthy.

use std::time::Duration;

use skep_proto::swarmkit::{ContainerSpec, HealthConfig};

use super::super::words::duration;
use crate::{errors::Failure, input::wire_duration};

/// Options of the health check.
#[derive(Debug, clap::Args)]
pub struct HealthOptions {
    /// The command that checks a container's health, run by its shell; '' for the image's own
    #[arg(long, value_name = "COMMAND")]
    health_cmd: Option<String>,
    /// Time between two checks
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_interval: Option<Duration>,
    /// Failures in a row until a container counts as unhealthy
    #[arg(long, value_name = "NUMBER")]
    health_retries: Option<i32>,
    /// Time between two checks while the container starts
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_start_interval: Option<Duration>,
    /// Time in which a container starts, when failures do not count
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_start_period: Option<Duration>,
    /// The longest time that a check may take
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    health_timeout: Option<Duration>,
    /// Do not check health, not even as the image says
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    no_healthcheck: Option<bool>,
}

impl HealthOptions {
    /// Writes what was given into `container`.
    pub fn apply(&self, container: &mut ContainerSpec) -> Result<(), Failure> {
        let asked = self.health_cmd.is_some()
            || self.health_interval.is_some()
            || self.health_retries.is_some()
            || self.health_start_interval.is_some()
            || self.health_start_period.is_some()
            || self.health_timeout.is_some();
        match self.no_healthcheck {
            Some(true) if asked => {
                let text = "--no-healthcheck conflicts with the --health-… options";
                return Err(Failure::Usage(text.into()));
            }
            Some(true) => {
                let test = vec!["NONE".to_owned()];
                container.healthcheck = Some(HealthConfig { test, ..HealthConfig::default() });
                return Ok(());
            }
            // Checking again means: as the image says.
            Some(false) => container.healthcheck = None,
            None => {}
        }
        if !asked {
            return Ok(());
        }
        let health = container.healthcheck.get_or_insert_with(HealthConfig::default);
        match self.health_cmd.as_deref() {
            Some("") => health.test.clear(),
            Some(command) => health.test = vec!["CMD-SHELL".into(), command.into()],
            // Was switched off before, and now has a period: then the image's own check runs again.
            None if health.test == ["NONE"] => health.test.clear(),
            None => {}
        }
        for (field, given) in [
            (&mut health.interval, self.health_interval),
            (&mut health.start_interval, self.health_start_interval),
            (&mut health.start_period, self.health_start_period),
            (&mut health.timeout, self.health_timeout),
        ] {
            *field = given.map(wire_duration).or(*field);
        }
        health.retries = self.health_retries.unwrap_or(health.retries);
        Ok(())
    }
}
