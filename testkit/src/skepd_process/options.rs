//! How a daemon is started.

use std::{
    ffi::OsString,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Command,
};

use crate::docker_hosts::NetworkHost;

/// The folder of a daemon's state, in its folder.
pub const STATE: &str = "state";

/// How a daemon is started.
#[derive(Clone, Debug)]
pub struct SkepdOptions {
    /// The program; tests of the manager give `env!("CARGO_BIN_EXE_skepd")`.
    pub program: PathBuf,
    /// The host name, under which it shows in listings and logs.
    pub hostname: String,
    /// The namespace to run in, beside Docker hosts; nothing: on loopback.
    pub host: Option<NetworkHost>,
    /// More arguments, such as `--availability drain`.
    pub arguments: Vec<OsString>,
    /// More environment variables.
    pub environment: Vec<(String, OsString)>,
}

impl SkepdOptions {
    /// `program` under the name `hostname`, on loopback.
    pub fn new(program: impl Into<PathBuf>, hostname: impl Into<String>) -> SkepdOptions {
        SkepdOptions {
            program: program.into(),
            hostname: hostname.into(),
            host: None,
            arguments: Vec::new(),
            environment: Vec::new(),
        }
    }

    /// Runs in this namespace.
    pub fn on(mut self, host: NetworkHost) -> SkepdOptions {
        self.host = Some(host);
        self
    }

    /// Gives one more argument.
    pub fn argument(mut self, argument: impl Into<OsString>) -> SkepdOptions {
        self.arguments.push(argument.into());
        self
    }

    /// The command, with its files in `dir`.
    pub(super) fn command(&self, dir: &Path, addr: SocketAddr) -> Command {
        let mut command = match &self.host {
            Some(host) => host.command(&self.program),
            None => Command::new(&self.program),
        };
        command
            .arg("--state-dir")
            .arg(dir.join(STATE))
            .arg("--control")
            .arg(super::control_socket(dir))
            .args(["--listen", &addr.to_string(), "--advertise", &addr.to_string()])
            .args(["--hostname", &self.hostname])
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }
}
