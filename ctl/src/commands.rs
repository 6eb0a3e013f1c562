//! The whole command line at a glance, and the way from it to the command that runs.

use std::{path::PathBuf, time::Duration};

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use skep_proto::skep::GetStatusRequest;

use crate::{
    config, connect::Connection, errors::Failure, events, network, node, output::Output, raft,
    secret, service, status, swarm, task,
};

/// Operate a swarm through the control socket of one of its managers.
///
/// Exit codes: 0 done; 1 failed; 2 the command line makes no sense; 3 the request was taken, but its effect was not
/// seen in time.
#[derive(Debug, Parser)]
#[command(name = "skep", version, max_term_width = 100)]
pub struct Arguments {
    /// The daemon's control socket
    #[arg(
        long,
        global = true,
        env = "SKEP_SOCKET",
        value_name = "PATH",
        default_value = "/run/skep/control.sock"
    )]
    socket: PathBuf,
    /// How long to wait for an answer, such as 30s or 2m
    #[arg(
        long,
        global = true,
        env = "SKEP_TIMEOUT",
        value_name = "DURATION",
        default_value = "30s",
        value_parser = humantime::parse_duration
    )]
    timeout: Duration,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Found, join, leave and look after the swarm
    #[command(subcommand)]
    Swarm(swarm::Command),
    /// The swarm's machines
    #[command(subcommand)]
    Node(node::Command),
    /// What the swarm keeps running
    #[command(subcommand)]
    Service(service::Command),
    /// What services are made of: one container each
    #[command(subcommand)]
    Task(task::Command),
    /// Data that only the containers that need it get
    #[command(subcommand)]
    Secret(secret::Command),
    /// Files that containers get and that are no secret
    #[command(subcommand)]
    Config(config::Command),
    /// What connects the containers of services
    #[command(subcommand)]
    Network(network::Command),
    /// The managers' raft group
    #[command(subcommand)]
    Raft(raft::Command),
    /// Print the swarm's changes as they are committed
    Events(events::Events),
    /// What this daemon is at the moment
    Status(status::StatusCommand),
    /// Print a script that completes skep's commands in a shell
    Completion {
        /// The shell
        shell: Shell,
    },
}

impl Command {
    /// Whether the command changes the daemon's state, so that the refusal itself says what is wrong with it.
    fn is_about_state(&self) -> bool {
        use swarm::Command as Swarm;
        matches!(
            self,
            Command::Swarm(Swarm::Init(_) | Swarm::Join(_) | Swarm::Leave(_) | Swarm::Unlock(_))
        )
    }
}

/// What a command works with: the daemon and the standard output.
pub struct Session {
    /// The daemon.
    pub connection: Connection,
    /// Where results go; what is said beside them goes to the standard error.
    pub output: Output,
}

/// Runs the command that `arguments` say.
pub async fn run(arguments: Arguments) -> Result<(), Failure> {
    let Arguments { socket, timeout, command } = arguments;
    if let Command::Completion { shell } = command {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut Arguments::command(), "skep", &mut script);
        return Output::stdout().raw(&script);
    }
    if let Command::Status(status) = command {
        return status.run(&socket, timeout).await;
    }
    let connection = Connection::open(&socket, timeout).await?;
    let session = Session { connection: connection.clone(), output: Output::stdout() };
    let about_state = command.is_about_state();
    match execute(command, session).await {
        Err(failure) if failure.may_be_state() && !about_state => {
            Err(explained(failure, &connection).await)
        }
        outcome => outcome,
    }
}

async fn execute(command: Command, session: Session) -> Result<(), Failure> {
    match command {
        Command::Swarm(command) => swarm::run(command, session).await,
        Command::Node(command) => node::run(command, session).await,
        Command::Service(command) => service::run(command, session).await,
        Command::Task(command) => task::run(command, session).await,
        Command::Secret(command) => secret::run(command, session).await,
        Command::Config(command) => config::run(command, session).await,
        Command::Network(command) => network::run(command, session).await,
        Command::Raft(command) => raft::run(command, session).await,
        Command::Events(events) => events.run(session).await,
        // These need no connection, or open it themselves.
        Command::Status(_) | Command::Completion { .. } => Ok(()),
    }
}

/// A refusal often has its reason in the daemon's state, which the refusing service may not know.
async fn explained(failure: Failure, connection: &Connection) -> Failure {
    let request = connection.request_within(GetStatusRequest {}, STATE_LIMIT);
    match connection.daemon().get_status(request).await {
        Ok(daemon) => failure.with_state(daemon.get_ref()),
        Err(_) => failure,
    }
}

/// The daemon answers this from memory, so a second is long.
const STATE_LIMIT: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }
}
