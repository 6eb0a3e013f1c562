//! The command line of `skepd`, also as environment variables.

use std::{net::SocketAddr, path::PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The port that SwarmKit's managers listen on.
pub const DEFAULT_LISTEN: &str = "0.0.0.0:2377";
/// Where a daemon keeps what must survive it.
pub const DEFAULT_STATE_DIR: &str = "/var/lib/skep";
/// Where operators reach a daemon.
pub const DEFAULT_CONTROL: &str = "/run/skep/control.sock";

/// The control plane of a container swarm: manager daemon.
///
/// Without --init or --join the daemon goes on with what its state folder holds, or waits for `skep swarm init` or
/// `skep swarm join`.
#[derive(Debug, Parser)]
#[command(
    name = "skepd",
    version,
    args_conflicts_with_subcommands = true,
    args_override_self = true
)]
pub struct Options {
    /// What to run instead of a single daemon.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// How the daemon runs.
    #[command(flatten)]
    pub daemon: DaemonOptions,
}

/// What to run instead of a single daemon.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on loopback in one process, in a temporary folder that goes with it.
    Dev(DevOptions),
}

/// Options of a single daemon.
#[derive(Debug, Args)]
pub struct DaemonOptions {
    /// Folder for the node's certificate, keys and raft state.
    #[arg(long, env = "SKEP_STATE_DIR", value_name = "DIR", default_value = DEFAULT_STATE_DIR)]
    pub state_dir: PathBuf,
    /// Address for other nodes: managers, workers and joiners.
    #[arg(long, env = "SKEP_LISTEN", value_name = "ADDR", default_value = DEFAULT_LISTEN)]
    pub listen: SocketAddr,
    /// host:port that other nodes reach this one by [default: the listen address, or the address of the interface
    /// that leads to the manager being joined].
    #[arg(long, env = "SKEP_ADVERTISE", value_name = "ADDR")]
    pub advertise: Option<String>,
    /// Unix socket for operators, created with mode 0600.
    #[arg(long, env = "SKEP_CONTROL", value_name = "PATH", default_value = DEFAULT_CONTROL)]
    pub control: PathBuf,
    /// Serve Prometheus metrics on http://ADDR/metrics [default: off].
    #[arg(long, env = "SKEP_METRICS", value_name = "ADDR")]
    pub metrics: Option<SocketAddr>,
    /// Name that this node reports [default: the machine's].
    #[arg(long, env = "SKEP_HOSTNAME", value_name = "NAME")]
    pub hostname: Option<String>,
    /// Whether this node is offered tasks, when it is new to the cluster. This daemon runs none: it refuses what it is offered.
    #[arg(long, env = "SKEP_AVAILABILITY", value_enum, default_value_t = Availability::Drain)]
    pub availability: Availability,
    /// How log lines are written to standard error.
    #[arg(long, env = "SKEP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// error, warn, info, debug or trace, also per module as in `info,skep_raft=debug`.
    #[arg(long, env = "SKEP_LOG_LEVEL", value_name = "LEVEL", default_value = "info")]
    pub log_level: String,
    /// Found a new cluster, unless the state folder already holds one.
    #[arg(long, env = "SKEP_INIT", conflicts_with = "join")]
    pub init: bool,
    /// With --init: address pools that networks get their subnets from, in CIDR form [default: 10.0.0.0/8].
    #[arg(
        long,
        env = "SKEP_DEFAULT_ADDR_POOL",
        value_name = "CIDR",
        value_delimiter = ',',
        requires = "init"
    )]
    pub default_addr_pool: Vec<String>,
    /// With --init: mask length of the subnets that are cut from the pools [default: 24].
    #[arg(
        long,
        env = "SKEP_DEFAULT_ADDR_POOL_MASK_LENGTH",
        value_name = "BITS",
        requires = "init"
    )]
    pub default_addr_pool_mask_length: Option<u32>,
    /// With --init: UDP port of the traffic between nodes in overlay networks [default: 4789].
    #[arg(long, env = "SKEP_DATA_PATH_PORT", value_name = "PORT", requires = "init")]
    pub data_path_port: Option<u32>,
    /// Join the cluster of the manager at this address, unless the state folder already holds one.
    #[arg(long, env = "SKEP_JOIN", value_name = "ADDR", requires = "token")]
    pub join: Option<String>,
    /// Join token; it decides whether the node becomes a worker or a manager.
    #[arg(long, env = "SKEP_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    pub token: Option<String>,
    /// File with the unlock key, for an unattended start of a locked manager.
    #[arg(long, env = "SKEP_UNLOCK_KEY_FILE", value_name = "F")]
    pub unlock_key_file: Option<PathBuf>,
    /// Make this manager the only one of its cluster, keeping the cluster's objects: for when the quorum is lost for
    /// good. Start with it once.
    #[arg(long, env = "SKEP_FORCE_NEW_CLUSTER", conflicts_with_all = ["init", "join"])]
    pub force_new_cluster: bool,
}

/// Options of `skepd dev`.
#[derive(Debug, Args)]
pub struct DevOptions {
    /// Managers to start.
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    pub managers: u8,
    /// Workers to start; they simulate their tasks.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=10_000))]
    pub workers: u16,
    /// How log lines are written to standard error.
    #[arg(long, env = "SKEP_LOG_FORMAT", value_enum, default_value_t = LogFormat::Text)]
    pub log_format: LogFormat,
    /// error, warn, info, debug or trace, also per module as in `info,skep_raft=debug`.
    #[arg(long, env = "SKEP_LOG_LEVEL", value_name = "LEVEL", default_value = "warn")]
    pub log_level: String,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Whether a node is offered tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Availability {
    /// Takes tasks.
    Active,
    /// Keeps what it has, takes no new ones.
    Pause,
    /// Runs nothing.
    Drain,
}

impl Availability {
    /// As the wire has it.
    pub fn to_wire(self) -> skep_proto::swarmkit::node_spec::Availability {
        use skep_proto::swarmkit::node_spec::Availability as Wire;
        match self {
            Availability::Active => Wire::Active,
            Availability::Pause => Wire::Pause,
            Availability::Drain => Wire::Drain,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        Options::command().debug_assert();
    }

    #[test]
    fn joining_takes_a_token_and_excludes_founding() {
        let parse = |args: &[&str]| Options::try_parse_from([&["skepd"], args].concat());
        assert!(parse(&["--join", "10.0.0.1:2377", "--token", "T"]).is_ok());
        assert!(parse(&["--join", "10.0.0.1:2377"]).is_err());
        assert!(parse(&["--init", "--join", "10.0.0.1:2377", "--token", "T"]).is_err());
        assert!(parse(&["--init", "--force-new-cluster"]).is_err());
        let pools = ["--default-addr-pool", "10.1.0.0/16,10.2.0.0/16", "--data-path-port", "4790"];
        assert!(parse(&pools).is_err(), "they belong to the cluster, which is there already");
        let options = parse(&[&["--init"], &pools[..]].concat()).unwrap().daemon;
        assert_eq!(options.default_addr_pool, ["10.1.0.0/16", "10.2.0.0/16"]);
        assert_eq!(options.data_path_port, Some(4790));
    }
}
