//! What runs, as whom, where, and how it is stopped.

use std::time::Duration;

use clap::ValueEnum;
use skep_proto::swarmkit::{
    ContainerSpec, Privileges,
    container_spec::Isolation as WireIsolation,
    privileges::{CredentialSpec, credential_spec::Source},
};

use super::super::words::{duration, shell_words};
use crate::input::wire_duration;

/// Options of the container.
#[derive(Debug, clap::Args)]
pub struct ContainerOptions {
    /// Credentials of a managed service account (Windows): file://NAME or registry://NAME
    #[arg(long, value_name = "SPEC", value_parser = credential_spec)]
    credential_spec: Option<Source>,
    /// The program that runs instead of the image's, with arguments; '' for the image's own
    #[arg(long, value_name = "COMMAND", value_parser = command_line)]
    entrypoint: Option<CommandLine>,
    /// The containers' host name; may be a template
    #[arg(long, value_name = "NAME")]
    hostname: Option<String>,
    /// Run a small init process in the containers
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    init: Option<bool>,
    /// How the containers are isolated (Windows)
    #[arg(long)]
    isolation: Option<Isolation>,
    /// How readily the kernel kills the containers when memory is short: -1000 to 1000
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    oom_score_adj: Option<i64>,
    /// The containers cannot write their root file system
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    read_only: Option<bool>,
    /// Time that a container has to stop before it is killed [default: 10s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    stop_grace_period: Option<Duration>,
    /// The signal that stops a container
    #[arg(long, value_name = "SIGNAL")]
    stop_signal: Option<String>,
    /// Give the containers a terminal
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    tty: Option<bool>,
    /// The user in the containers, USER or USER:GROUP
    #[arg(short, long)]
    user: Option<String>,
    /// The working directory in the containers
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Isolation {
    Default,
    Process,
    Hyperv,
}

/// A command line cut into words; a type of its own, since clap takes a `Vec` for an option given several times.
#[derive(Clone, Debug)]
pub struct CommandLine(pub Vec<String>);

/// A command line from its text.
pub fn command_line(text: &str) -> Result<CommandLine, String> {
    shell_words(text).map(CommandLine)
}

impl ContainerOptions {
    /// Writes what was given into `container`.
    pub fn apply(&self, container: &mut ContainerSpec) {
        let set = |field: &mut String, given: &Option<String>| {
            if let Some(given) = given {
                field.clone_from(given);
            }
        };
        set(&mut container.hostname, &self.hostname);
        set(&mut container.stop_signal, &self.stop_signal);
        set(&mut container.user, &self.user);
        set(&mut container.dir, &self.workdir);
        if let Some(CommandLine(words)) = &self.entrypoint {
            container.command = words.iter().filter(|word| !word.is_empty()).cloned().collect();
        }
        if let Some(source) = &self.credential_spec {
            let privileges = container.privileges.get_or_insert_with(Privileges::default);
            privileges.credential_spec = Some(CredentialSpec { source: Some(source.clone()) });
        }
        if let Some(isolation) = self.isolation {
            container.set_isolation(match isolation {
                Isolation::Default => WireIsolation::Default,
                Isolation::Process => WireIsolation::Process,
                Isolation::Hyperv => WireIsolation::Hyperv,
            });
        }
        container.init = self.init.or(container.init);
        container.read_only = self.read_only.unwrap_or(container.read_only);
        container.tty = self.tty.unwrap_or(container.tty);
        container.oom_score_adj = self.oom_score_adj.unwrap_or(container.oom_score_adj);
        if let Some(period) = self.stop_grace_period {
            container.stop_grace_period = Some(wire_duration(period));
        }
    }
}

fn credential_spec(text: &str) -> Result<Source, String> {
    match text.split_once("://") {
        Some(("file", name)) if !name.is_empty() => Ok(Source::File(name.into())),
        Some(("registry", name)) if !name.is_empty() => Ok(Source::Registry(name.into())),
        _ => Err("write file://NAME or registry://NAME".into()),
    }
}
