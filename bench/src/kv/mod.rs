//! `skep-bench kv`: the key/value store of `raft/examples/kv` beside etcd, members of both on loopback with their logs on the
//! same disk. The same load on each in rounds, so that what disturbs the machine disturbs all alike.
//!
//! Every client has a connection of its own to the leader and one request under way, as etcd's own benchmark does. `kv` is asked
//! in its only way, HTTP/1.1. etcd is asked in the way that its clients do, gRPC, which is also the one that costs it least;
//! and, as `etcd-json`, through its HTTP/1.1 gateway by the very client that asks `kv`, so that what the client costs the machine
//! is the same. What a request costs the members is the kernel's count for their processes, without the client's.

mod clients;
mod clusters;
mod report;

use std::{
    path::PathBuf,
    process,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::ValueEnum;
use serde::Serialize;

use crate::{
    process::{cpu_time, cpu_time_of_all},
    statistics::quantile,
};
use clients::{Client, Speaks};
use clusters::Cluster;

/// The load before the first measured round.
const WARM_UP: Duration = Duration::from_millis(500);
const WARM_UP_CLIENTS: usize = 16;
/// Keys that each client writes in turn.
pub const KEYS_PER_CLIENT: u64 = 1000;

/// What is asked over and over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Operation {
    /// Writes
    Put,
    /// Reads that see every write before them
    Get,
}

/// The key/value store on skep-raft beside etcd: requests per second, their latency and their cost
#[derive(Debug, clap::Args)]
pub struct Kv {
    /// The kv to start [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    kv: Option<PathBuf>,
    /// The etcd to start
    #[arg(long, value_name = "PROGRAM", default_value = "etcd")]
    etcd: PathBuf,
    /// Members of each
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(1..=9))]
    members: u16,
    /// Where the members' folders are made, each with what it has written; on the disk that is to be measured
    #[arg(long, value_name = "FOLDER")]
    dir: Option<PathBuf>,
    /// Numbers of concurrent clients
    #[arg(long, value_delimiter = ',', default_values_t = [1, 64, 256])]
    clients: Vec<usize>,
    /// What they ask
    #[arg(long, value_enum, value_delimiter = ',', default_values = ["put", "get"])]
    operation: Vec<Operation>,
    /// How long each number of clients asks in each round
    #[arg(long, value_name = "DURATION", default_value = "3s", value_parser = humantime::parse_duration)]
    window: Duration,
    /// Number of rounds; the report has their medians
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Size of the values
    #[arg(long, value_name = "BYTES", default_value_t = 64)]
    payload: usize,
    /// Leave out etcd's HTTP gateway
    #[arg(long)]
    no_gateway: bool,
}

/// What one measurement gave.
#[derive(Clone, Debug, Serialize)]
pub struct Measured {
    target: &'static str,
    operation: Operation,
    clients: usize,
    requests: usize,
    per_second: f64,
    p50_ms: f64,
    p99_ms: f64,
    /// CPU time of all members for one request.
    members_cpu_us: f64,
    /// CPU time of this program for one request.
    driver_cpu_us: f64,
}

/// A cluster and the way in which it is asked.
struct Target<'a> {
    name: &'static str,
    speaks: Speaks,
    cluster: &'a Cluster,
}

impl Kv {
    /// Measures and prints.
    pub async fn run(self) -> anyhow::Result<()> {
        anyhow::ensure!(
            self.clients.iter().all(|clients| *clients > 0) && !self.clients.is_empty(),
            "--clients: each number is at least 1"
        );
        let beside = std::env::current_exe()?.with_file_name("kv");
        let program = self.kv.clone().unwrap_or(beside);
        anyhow::ensure!(
            program.is_file(),
            "{} is not there: `cargo build --release -p skep-kv`, or name another with --kv",
            program.display()
        );
        let folder = match &self.dir {
            Some(dir) => tempfile::tempdir_in(dir),
            None => tempfile::tempdir(),
        };
        let folder = folder.context("no folder for the members")?;
        let kv = Cluster::of_kv(&program, self.members, folder.path()).await?;
        let etcd = Cluster::of_etcd(&self.etcd, self.members, folder.path()).await?;
        let mut targets = vec![
            Target { name: "etcd", speaks: Speaks::Grpc, cluster: &etcd },
            Target { name: "kv", speaks: Speaks::Http, cluster: &kv },
        ];
        if !self.no_gateway {
            targets.push(Target { name: "etcd-json", speaks: Speaks::Gateway, cluster: &etcd });
        }
        let mut measured = Vec::new();
        for target in &targets {
            self.load(target, Operation::Put, WARM_UP_CLIENTS, WARM_UP).await?;
        }
        for round in 1..=self.rounds {
            for operation in &self.operation {
                for clients in &self.clients {
                    for target in &targets {
                        let result = self.load(target, *operation, *clients, self.window).await;
                        let result = result.with_context(|| {
                            format!("round {round}, {clients} clients, {}", target.name)
                        })?;
                        eprintln!(
                            "round {round}/{}: {:>9} {operation:?} {clients:>4} clients {:>9.0}/s",
                            self.rounds, target.name, result.per_second
                        );
                        measured.push(result);
                    }
                }
            }
        }
        println!("{}", report::table(&measured));
        Ok(())
    }

    async fn load(
        &self,
        target: &Target<'_>,
        operation: Operation,
        clients: usize,
        window: Duration,
    ) -> anyhow::Result<Measured> {
        let leader = target.cluster.leader().await?;
        let value: Arc<[u8]> = vec![b'x'; self.payload].into();
        let mut connected = Vec::new();
        for _ in 0..clients {
            connected.push(Client::connect(target.speaks, &leader).await?);
        }
        let pids = target.cluster.pids();
        let (members_before, own_before) = (cpu_time_of_all(&pids)?, cpu_time(process::id())?);
        let start = Instant::now();
        let tasks: Vec<_> = connected
            .into_iter()
            .enumerate()
            .map(|(number, client)| {
                let asking = ask(client, operation, number, value.clone(), start + window);
                tokio::spawn(asking)
            })
            .collect();
        let mut took_ms = Vec::new();
        for task in tasks {
            took_ms.extend(task.await?.context("a request failed")?);
        }
        let elapsed = start.elapsed();
        let own = cpu_time(process::id())?.saturating_sub(own_before);
        let members = cpu_time_of_all(&pids)?.saturating_sub(members_before);
        took_ms.sort_by(f64::total_cmp);
        let each = |time: Duration| time.as_secs_f64() * 1e6 / took_ms.len() as f64;
        Ok(Measured {
            target: target.name,
            operation,
            clients,
            requests: took_ms.len(),
            per_second: took_ms.len() as f64 / elapsed.as_secs_f64(),
            p50_ms: quantile(&took_ms, 0.5).context("nothing was answered")?,
            p99_ms: quantile(&took_ms, 0.99).context("nothing was answered")?,
            members_cpu_us: each(members),
            driver_cpu_us: each(own),
        })
    }
}

/// One client: asks, waits for the answer, asks again. Gives how long each answer took, in milliseconds.
async fn ask(
    mut client: Client,
    operation: Operation,
    number: usize,
    value: Arc<[u8]>,
    deadline: Instant,
) -> anyhow::Result<Vec<f64>> {
    let mut took = Vec::new();
    loop {
        let start = Instant::now();
        if start >= deadline {
            return Ok(took);
        }
        let key = format!("bench/{number}/{}", took.len() as u64 % KEYS_PER_CLIENT);
        match operation {
            Operation::Put => client.put(&key, &value).await?,
            Operation::Get => client.get(&key).await?,
        }
        took.push(start.elapsed().as_secs_f64() * 1e3);
    }
}
