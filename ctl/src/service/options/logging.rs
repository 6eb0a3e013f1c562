//! Where containers write their logs.

use skep_proto::swarmkit::{Driver, TaskSpec};

use crate::{errors::Failure, input::pairs};

/// Options of the log driver.
#[derive(Debug, clap::Args)]
pub struct LoggingOptions {
    /// The driver that takes the containers' output; '' for the engine's own
    #[arg(long, value_name = "NAME")]
    log_driver: Option<String>,
    /// An option of that driver; may be given several times
    #[arg(long, value_name = "KEY=VALUE")]
    log_opt: Vec<String>,
}

impl LoggingOptions {
    /// Writes what was given into `task`. The driver and its options go together: both are replaced.
    pub fn apply(&self, task: &mut TaskSpec) -> Result<(), Failure> {
        match self.log_driver.as_deref() {
            None if self.log_opt.is_empty() => {}
            None => {
                let text = "--log-opt belongs to a driver: name it with --log-driver";
                return Err(Failure::Usage(text.into()));
            }
            Some("") => task.log_driver = None,
            Some(name) => {
                task.log_driver = Some(Driver { name: name.into(), options: pairs(&self.log_opt) });
            }
        }
        Ok(())
    }
}
