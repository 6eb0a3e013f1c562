//! Several Docker hosts on one machine: stock Docker Engines, each in a network namespace of its own, on one bridge.
//!
//! It needs root, Docker's daemon, iproute2 and util-linux; [`missing`] says what is not there, so that a test can say
//! that it was skipped. Everything is blocking: call it from a blocking thread, or from a multi-threaded runtime that
//! has nothing else to do.

mod engine;
mod image;
mod janitor;
mod network;

use std::{io, path::PathBuf, process::Command, time::Duration};

use tempfile::TempDir;

pub use engine::DockerHost;
pub use network::{NetworkHost, Subnet};

use crate::wait::NotInTime;
use janitor::Janitor;

/// Programs that must be on the path.
const PROGRAMS: &[&str] =
    &["dockerd", "docker", "containerd", "iptables", "ip", "nsenter", "unshare", "busybox"];

/// Why hosts could not be started or did not do what they were told.
#[derive(Debug, thiserror::Error)]
pub enum HostsError {
    /// A program could not be run at all.
    #[error("cannot run {program}")]
    Run {
        /// Which one.
        program: String,
        /// Why.
        source: io::Error,
    },
    /// A command failed.
    #[error("'{command}' failed: {output}")]
    Command {
        /// The command line.
        command: String,
        /// What it printed.
        output: String,
    },
    /// A folder or file of the hosts could not be made.
    #[error("cannot prepare {}", path.display())]
    Prepare {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// All subnets are taken by others.
    #[error("no free subnet in 10.77.0.0/16: 'ip netns list' shows who holds them")]
    NoSubnet,
    /// A host was not ready in time.
    #[error("{host}: {source}\n--- end of its log\n{log}")]
    NotReady {
        /// The host.
        host: String,
        /// What was waited for.
        source: NotInTime,
        /// The end of the engine's log.
        log: String,
    },
}

/// What is missing to run Docker hosts here, as a test says it; nothing when all is there.
pub fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("skipped: Docker hosts need root".into());
    }
    let found = |program: &str| {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
    };
    let absent: Vec<&str> = PROGRAMS.iter().copied().filter(|p| !found(p)).collect();
    (!absent.is_empty()).then(|| format!("skipped: Docker hosts need {}", absent.join(", ")))
}

/// Whether a test has to go without hosts: it says so on its output. Panics instead when `SKEP_TEST_REQUIRE_ALL` is set,
/// so that where everything should run nothing is left out unseen.
pub fn skipped() -> bool {
    let Some(skipped) = missing() else { return false };
    assert!(std::env::var_os("SKEP_TEST_REQUIRE_ALL").is_none(), "{skipped}");
    println!("{skipped}");
    true
}

/// A set of hosts on one bridge. They end when it is dropped, and also when this process ends in any way.
pub struct DockerHosts {
    hosts: Vec<DockerHost>,
    subnet: Subnet,
    // Dropped after the hosts: it removes what they used.
    janitor: Janitor,
    dir: TempDir,
}

impl DockerHosts {
    /// Starts `count` engines side by side and waits until all of them answer.
    pub fn start(count: u8) -> Result<DockerHosts, HostsError> {
        DockerHosts::start_with(&vec![&[] as &[&str]; count.into()])
    }

    /// As [`start`](Self::start), an engine for each list of arguments that are given to `dockerd`, such as
    /// `--label zone=a`.
    pub fn start_with(arguments: &[&[&str]]) -> Result<DockerHosts, HostsError> {
        let path = std::env::temp_dir();
        let dir = tempfile::Builder::new().prefix("skep-hosts-").tempdir();
        let dir = dir.map_err(|source| HostsError::Prepare { path, source })?;
        let (subnet, janitor) = Subnet::claim(dir.path())?;
        let mut set = DockerHosts { hosts: Vec::new(), subnet, janitor, dir };
        for arguments in arguments {
            let host = set.subnet.add_host()?;
            let (dir, cgroup) = (set.dir.path(), set.subnet.name());
            set.hosts.push(DockerHost::create(host, dir, cgroup, arguments)?);
        }
        for host in &set.hosts {
            host.wait_until_up()?;
        }
        Ok(set)
    }

    /// The hosts, in the order of their addresses.
    pub fn hosts(&self) -> &[DockerHost] {
        &self.hosts
    }

    /// The network they are on: for the address of this process in it, and for hosts without an engine.
    pub fn subnet(&mut self) -> &mut Subnet {
        &mut self.subnet
    }

    /// Forms a stock swarm of all hosts: the first founds it, the others join as managers.
    pub fn form_swarm(&self) -> Result<(), HostsError> {
        let Some((first, others)) = self.hosts.split_first() else { return Ok(()) };
        first.docker(&["swarm", "init", "--advertise-addr", &first.addr().to_string()])?;
        let token = first.docker(&["swarm", "join-token", "--quiet", "manager"])?;
        let remote = format!("{}:2377", first.addr());
        for host in others {
            let own = host.addr().to_string();
            let join =
                ["swarm", "join", "--advertise-addr", &own, "--token", token.trim(), &remote];
            host.docker(&join)?;
        }
        let all = self.hosts.len();
        first.wait_for("all managers to be reachable", SWARM_LIMIT, || {
            let status = "{{.Status}} {{.ManagerStatus}}";
            let nodes = first.docker(&["node", "ls", "--format", status]);
            let nodes = nodes.map_err(|e| e.to_string())?;
            let good = nodes.lines().filter(|n| matches!(*n, "Ready Leader" | "Ready Reachable"));
            if good.count() == all { Ok(()) } else { Err(nodes) }
        })
    }

    /// Ends everything and says whether it worked, which dropping cannot.
    pub fn stop(mut self) -> Result<(), HostsError> {
        // The engines first: they are waited for, and so leave no zombies.
        self.hosts.clear();
        self.janitor.finish()
    }
}

/// Members report each other within a few heartbeats of 5 s.
const SWARM_LIMIT: Duration = Duration::from_secs(60);

/// Runs a command to its end and gives what it printed on its standard output.
fn run(command: &mut Command) -> Result<String, HostsError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output();
    let output = output.map_err(|source| HostsError::Run { program: program.clone(), source })?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let arguments: Vec<_> = command.get_args().map(|a| a.to_string_lossy()).collect();
    // A join token among the arguments is one of a swarm that ends with the test.
    Err(HostsError::Command {
        command: format!("{program} {}", arguments.join(" ")),
        output: format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    })
}
