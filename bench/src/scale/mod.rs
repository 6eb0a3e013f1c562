//! `skep-bench scale`: services with many tasks on many simulated workers, on ours and on stock managers in turn. Each
//! measurement has a fresh cluster, so that peaks of memory are its own.

mod cluster;
mod measure;
mod networks;
mod plot;
mod report;
mod worker_process;
mod workers;

use std::{fs, path::PathBuf, time::Duration};

use anyhow::Context as _;
use clap::ValueEnum;

use crate::{clusters::skepd_program, target::Target};
use cluster::Cluster;
use measure::{Load, Measured};
use networks::Attachment;
use report::Report;
pub use workers::Workers;

/// Which managers are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Kind {
    /// skepd processes on loopback
    Skep,
    /// Docker Engines in network namespaces (needs root)
    Docker,
    /// Both, one after the other in each round
    Both,
}

/// Tasks a second, from a service's creation to RUNNING, on simulated workers.
#[derive(Debug, clap::Args)]
pub struct Scale {
    /// Which managers to start and to measure
    #[arg(long, default_value = "skep")]
    target: Kind,
    /// A running cluster to measure instead, such as skep=unix:///a.sock,pid=12,pid=34; it should run nothing else
    #[arg(long, value_name = "TARGET", conflicts_with = "target")]
    cluster: Vec<Target>,
    /// Managers of each cluster that is started
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=9))]
    managers: u8,
    /// Numbers of simulated workers
    #[arg(long, value_delimiter = ',', default_value = "100")]
    nodes: Vec<usize>,
    /// Numbers of tasks, over all services
    #[arg(long, value_delimiter = ',', default_value = "1000")]
    tasks: Vec<usize>,
    /// Services that share the tasks
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..))]
    services: u16,
    /// What the services attach to; none,overlay measures both, one after the other
    #[arg(long, value_delimiter = ',', default_value = "none")]
    network: Vec<Attachment>,
    /// Networks that are made for --network overlay; the services attach to them in turn
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    networks: u16,
    /// What the simulated tasks do, as in the label skep.sim, such as start=1s
    #[arg(long, default_value = "")]
    script: String,
    /// Number of rounds; the report has their medians
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// The longest that a measurement may take; what runs by then is what is reported
    #[arg(long, value_name = "DURATION", default_value = "15m", value_parser = humantime::parse_duration)]
    limit: Duration,
    /// The skepd to start [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    skepd: Option<PathBuf>,
    /// Also write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw tasks over time into this file (SVG)
    #[arg(long, value_name = "FILE")]
    plot: Option<PathBuf>,
}

impl Scale {
    /// Measures and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.nodes.iter().chain(&self.tasks).all(|n| *n > 0),
            "--nodes and --tasks: each number is at least 1"
        );
        // A connection for each worker, at both ends.
        raise_open_files();
        let names = self.names();
        let mut measured = Vec::new();
        for load in self.loads() {
            for name in &names {
                let Load { round, nodes, tasks, networks, .. } = load;
                let result = self.measure(name, &load).await.with_context(|| {
                    format!(
                        "round {round}, {nodes} workers, {tasks} tasks, {networks} networks, target {name}"
                    )
                })?;
                eprintln!("round {round}/{}: {}", self.rounds, result.line());
                measured.push(result);
            }
        }
        let report = Report { measured };
        println!("{}", report.table());
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report.json())?;
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        if let Some(path) = &self.plot {
            let picture = plot::svg(&report.measured);
            fs::write(path, picture).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(())
    }

    /// Every load, in the order in which they are measured.
    fn loads(&self) -> Vec<Load> {
        let mut loads = Vec::new();
        for round in 1..=self.rounds {
            for nodes in &self.nodes {
                for tasks in &self.tasks {
                    for network in &self.network {
                        loads.push(Load {
                            nodes: *nodes,
                            tasks: *tasks,
                            services: usize::from(self.services),
                            networks: match network {
                                Attachment::None => 0,
                                Attachment::Overlay => usize::from(self.networks),
                            },
                            script: self.script.clone(),
                            limit: self.limit,
                            round,
                        });
                    }
                }
            }
        }
        loads
    }

    fn names(&self) -> Vec<String> {
        if !self.cluster.is_empty() {
            return self.cluster.iter().map(|target| target.name.clone()).collect();
        }
        match self.target {
            Kind::Skep => vec!["skep".into()],
            Kind::Docker => vec!["docker".into()],
            Kind::Both => vec!["skep".into(), "docker".into()],
        }
    }

    async fn measure(&self, name: &str, load: &Load) -> anyhow::Result<Measured> {
        let given = self.cluster.iter().find(|target| target.name == name);
        let cluster = match given {
            Some(target) => Cluster::given(target.clone()),
            None if name == "docker" => Cluster::docker(self.managers).await?,
            None => {
                let program = skepd_program(self.skepd.as_deref())?;
                Cluster::skep(&program, usize::from(self.managers)).await?
            }
        };
        let result = measure::measure(cluster.target(), load).await;
        cluster.stop().await?;
        result
    }
}

/// As many open files as the system lets this process, and those that it starts, have.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Where it may not be raised, too few connections show as an error of their own.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}
