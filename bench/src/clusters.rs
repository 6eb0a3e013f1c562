//! Clusters that are started for the measurement: ours as processes on loopback, and stock Docker Engines.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::ValueEnum;
use skep_testkit::{
    docker_hosts::{DockerHosts, missing},
    skepd_process::SkepdCluster,
};

use crate::target::Target;

/// Which managers the writers talk to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The leader alone
    Leader,
    /// All managers in turn; followers pass writes on
    All,
}

/// The program of our daemon: the one given, or the one that was built beside this program.
pub fn skepd_program(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    let program = match given {
        Some(program) => program.to_owned(),
        None => std::env::current_exe()?.with_file_name("skepd"),
    };
    anyhow::ensure!(
        program.is_file(),
        "there is no {}: build it (cargo build --release -p skepd) or name it with --skepd",
        program.display()
    );
    Ok(program)
}

/// A cluster of ours, and how it is measured.
pub async fn start_skep(
    program: &Path,
    count: usize,
    via: Via,
) -> anyhow::Result<(SkepdCluster, Target)> {
    let cluster =
        SkepdCluster::form(program, count).await.context("cannot form a cluster of skepd")?;
    let leader = cluster.leader().await?;
    let sockets = match via {
        Via::Leader => vec![cluster.managers[leader].control()],
        Via::All => cluster.managers.iter().map(|m| m.control()).collect(),
    };
    let pids = cluster.managers.iter().filter_map(|m| m.pid()).collect();
    Ok((cluster, Target { name: "skep".into(), sockets, pids }))
}

/// A stock swarm, and how it is measured.
pub async fn start_docker(count: u8, via: Via) -> anyhow::Result<(DockerHosts, Target)> {
    if let Some(missing) = missing() {
        anyhow::bail!("{missing}");
    }
    let started = tokio::task::spawn_blocking(move || {
        let hosts = DockerHosts::start(count)?;
        hosts.form_swarm()?;
        Ok::<_, anyhow::Error>(hosts)
    });
    let hosts = started.await?.context("cannot form a stock swarm")?;
    // The founder leads: nobody else has had a reason to stand for election.
    let sockets = match via {
        Via::Leader => hosts.hosts()[..1].iter().map(|h| h.control_socket()).collect(),
        Via::All => hosts.hosts().iter().map(|h| h.control_socket()).collect(),
    };
    let pids = hosts.hosts().iter().filter_map(|h| h.pid()).collect();
    Ok((hosts, Target { name: "docker".into(), sockets, pids }))
}
