//! `skep-bench writes`: the same load on each target, in rounds, so that what disturbs the machine disturbs all alike.

mod load;
mod report;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;

use crate::{
    clusters::{Via, skepd_program, start_docker, start_skep},
    manager::{Kind, Manager, open_all},
    process::peak_resident_bytes,
    target::Target,
};
use load::{Load, Measured};
use report::{Memory, Report};

/// The load before the first measured round, so that connections, caches and the log are there.
const WARM_UP: Duration = Duration::from_millis(500);
const WARM_UP_WRITERS: usize = 16;

/// Creates per second, their latency and their cost, at several numbers of concurrent writers.
#[derive(Debug, clap::Args)]
pub struct Writes {
    /// A running cluster, such as skep=unix:///a.sock,unix:///b.sock,pid=12,pid=34; whether a socket speaks TLS is found out
    #[arg(long, value_name = "TARGET")]
    target: Vec<Target>,
    /// Start this many skepd processes on loopback and measure them as "skep"
    #[arg(long, value_name = "MANAGERS")]
    self_cluster: Option<usize>,
    /// Start this many Docker Engines, form a stock swarm of them and measure it as "docker" (needs root)
    #[arg(long, value_name = "MANAGERS")]
    docker_cluster: Option<u8>,
    /// The skepd to start [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    skepd: Option<PathBuf>,
    /// The managers of started clusters that the writers talk to
    #[arg(long, default_value = "leader")]
    via: Via,
    /// Numbers of concurrent writers
    #[arg(long, value_delimiter = ',', default_values_t = [1, 16, 64, 256])]
    writers: Vec<usize>,
    /// How long each number of writers writes in each round
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Number of rounds; the report has their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// What is created
    #[arg(long, default_value = "config")]
    object: Kind,
    /// Size of what is created
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    payload: usize,
    /// Connections to each socket, shared by its writers
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u16).range(1..))]
    connections: u16,
    /// The target that the others are compared with [default: docker, or the last]
    #[arg(long, value_name = "NAME")]
    baseline: Option<String>,
    /// Also write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Writes {
    /// Measures and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.writers.iter().all(|w| *w > 0) && !self.writers.is_empty(),
            "--writers: each number is at least 1"
        );
        let mut targets = self.target.clone();
        // Held to the end: the clusters live as long as these do.
        let mut own = None;
        let mut docker = None;
        if let Some(count) = self.self_cluster {
            let program = skepd_program(self.skepd.as_deref())?;
            let (cluster, target) = start_skep(&program, count, self.via).await?;
            own = Some(cluster);
            targets.push(target);
        }
        if let Some(count) = self.docker_cluster {
            let (hosts, target) = start_docker(count, self.via).await?;
            docker = Some(hosts);
            targets.push(target);
        }
        anyhow::ensure!(
            !targets.is_empty(),
            "nothing to measure: name a --target, or start a --self-cluster or --docker-cluster"
        );
        let measured = self.measure(&targets).await?;
        let report = Report {
            object: self.object,
            payload_bytes: self.payload,
            window_seconds: self.window.as_secs_f64(),
            connections: self.connections,
            baseline: self.baseline(&targets),
            memory: memory(&targets)?,
            measured,
        };
        println!("{}", report.table());
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report.json())?;
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        drop(own);
        match docker {
            Some(hosts) => Ok(tokio::task::spawn_blocking(|| hosts.stop()).await??),
            None => Ok(()),
        }
    }

    async fn measure(&self, targets: &[Target]) -> anyhow::Result<Vec<Measured>> {
        let mut managers: Vec<Vec<Manager>> = Vec::new();
        for target in targets {
            let opened = open_all(&target.sockets, usize::from(self.connections)).await;
            managers.push(opened.with_context(|| format!("target {}", target.name))?);
        }
        let load = |target, managers| Load {
            target,
            managers,
            kind: self.object,
            payload_bytes: self.payload,
        };
        for (target, managers) in targets.iter().zip(&managers) {
            load(target, managers).run(WARM_UP_WRITERS, WARM_UP).await?;
        }
        let mut measured = Vec::new();
        for round in 1..=self.rounds {
            for writers in &self.writers {
                for (target, managers) in targets.iter().zip(&managers) {
                    let result = load(target, managers).run(*writers, self.window).await;
                    let result = result.with_context(|| {
                        format!("round {round}, {writers} writers, target {}", target.name)
                    })?;
                    eprintln!(
                        "round {round}/{}: {:>8} {writers:>4} writers {:>9.0} creates/s",
                        self.rounds,
                        target.name,
                        result.per_second()
                    );
                    measured.push(result);
                }
            }
        }
        Ok(measured)
    }

    fn baseline(&self, targets: &[Target]) -> String {
        let named = self.baseline.clone();
        let docker = targets.iter().find(|t| t.name == "docker").map(|t| t.name.clone());
        named.or(docker).or(targets.last().map(|t| t.name.clone())).unwrap_or_default()
    }
}

/// The most memory that each process has used, over the whole run.
fn memory(targets: &[Target]) -> anyhow::Result<Vec<Memory>> {
    let mut all = Vec::new();
    for target in targets {
        for pid in &target.pids {
            let peak_bytes = peak_resident_bytes(*pid).with_context(|| {
                format!("target {}: cannot read the memory of {pid}", target.name)
            })?;
            all.push(Memory { target: target.name.clone(), pid: *pid, peak_bytes });
        }
    }
    Ok(all)
}
