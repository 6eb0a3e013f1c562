//! Measures three orderers on this machine: envelopes per second, how long each takes, and the CPU that each costs.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context as _;
use skep_orderer::wire::{Envelope, StatusRequest};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::client::connect;
use crate::options::BenchOptions;

const ORDERERS: usize = 3;
/// How long they may take until one leads and takes envelopes.
const START_TIME_MAX: Duration = Duration::from_secs(30);
/// Not counted: connections and caches warm up.
const WARM_UP: Duration = Duration::from_secs(1);
/// Linux' unit of CPU time in /proc, which is the same everywhere.
const TICKS_PER_SECOND: f64 = 100.0;

struct Process {
    child: Child,
    clients: String,
}

impl Process {
    fn start(
        id: usize,
        peers: &str,
        dir: &Path,
        options: &BenchOptions,
    ) -> anyhow::Result<Process> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["--id", &id.to_string(), "--peers", peers, "--clients", "127.0.0.1:0"])
            .arg("--dir")
            .arg(dir.join(id.to_string()))
            .args(["--log", "warn", "--messages-max", &options.messages_max.to_string()])
            .args(["--preferred-bytes", "1048576", "--timeout-ms", "500"])
            .stdout(Stdio::piped())
            .spawn()?;
        let said = child.stdout.take().context("its output is piped")?;
        let mut process = Process { child, clients: String::new() };
        let mut line = String::new();
        BufReader::new(said).read_line(&mut line)?;
        let clients = line.trim_end().rsplit_once(' ').map(|(_, addr)| addr.to_owned());
        process.clients = clients.context("an orderer did not start")?;
        Ok(process)
    }

    /// CPU seconds that it has used.
    fn cpu(&self) -> anyhow::Result<f64> {
        let pid = self.child.id();
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields).unwrap_or_default();
        let fields = fields.split_whitespace().skip(11).take(2);
        Ok(fields.filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / TICKS_PER_SECOND)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the measurement and prints one line.
pub async fn run(options: BenchOptions) -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("orderer-bench-{}", std::process::id()));
    std::fs::create_dir_all(&dir)?;
    let outcome = measure(&options, &dir).await;
    // What is left is the system's to clean up.
    let _ = std::fs::remove_dir_all(&dir);
    outcome
}

async fn measure(options: &BenchOptions, dir: &Path) -> anyhow::Result<()> {
    // Ports that are free now; somebody else may take one before it is used, and then the measurement fails.
    let free: Vec<_> = (0..ORDERERS)
        .map(|_| std::net::TcpListener::bind("127.0.0.1:0"))
        .collect::<Result<_, _>>()?;
    let addrs: Vec<_> =
        free.iter().map(|l| l.local_addr().map(|a| a.to_string())).collect::<Result<_, _>>()?;
    drop(free);
    let peers: Vec<_> = addrs.iter().zip(1..).map(|(addr, id)| format!("{id}={addr}")).collect();
    let peers = peers.join(",");
    let mut processes = Vec::new();
    for id in 1..=ORDERERS {
        processes.push(Process::start(id, &peers, dir, options)?);
    }
    let leader = await_leader(&processes).await?;
    let targets: Vec<String> = match options.leader_only {
        true => vec![processes[leader].clients.clone()],
        false => processes.iter().map(|process| process.clients.clone()).collect(),
    };
    let end = Instant::now() + WARM_UP + Duration::from_secs(options.seconds);
    let streams = (0..options.streams).map(|stream| {
        let target = targets[stream % targets.len()].clone();
        tokio::spawn(submit(options.clone(), stream, target, end))
    });
    let streams: Vec<_> = streams.collect();
    tokio::time::sleep(WARM_UP).await;
    let (from, cpu) = (Instant::now(), cpu(&processes)?);
    let mut latencies = Vec::new();
    for stream in streams {
        let acks = stream.await??;
        latencies.extend(acks.into_iter().filter(|(at, _)| *at >= from).map(|(_, took)| took));
    }
    let (elapsed, cpu) = (from.elapsed().as_secs_f64(), self::cpu(&processes)? - cpu);
    latencies.sort_unstable();
    anyhow::ensure!(!latencies.is_empty(), "nothing was ordered");
    let count = latencies.len();
    let at = |part: f64| latencies[((count - 1) as f64 * part) as usize].as_secs_f64() * 1e3;
    println!(
        "{} orderers, {} streams with {} under way, {} bytes: {:.0} envelopes/s, p50 {:.1} ms, p99 {:.1} ms, {:.1} µs of CPU an envelope on all orderers together",
        ORDERERS,
        options.streams,
        options.under_way,
        options.bytes,
        count as f64 / elapsed,
        at(0.5),
        at(0.99),
        cpu / count as f64 * 1e6,
    );
    Ok(())
}

fn cpu(processes: &[Process]) -> anyhow::Result<f64> {
    processes.iter().map(Process::cpu).sum()
}

async fn await_leader(processes: &[Process]) -> anyhow::Result<usize> {
    let deadline = Instant::now() + START_TIME_MAX;
    while Instant::now() < deadline {
        let mut leaders = Vec::new();
        for process in processes {
            let status = connect(&process.clients)?.status(StatusRequest {}).await;
            let status = status.map(tonic::Response::into_inner).unwrap_or_default();
            if status.members.len() == ORDERERS && status.height > 0 {
                leaders.extend(status.leader.parse::<usize>());
            }
        }
        if leaders.len() == ORDERERS && leaders.iter().all(|leader| *leader == leaders[0]) {
            return Ok(leaders[0] - 1);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    anyhow::bail!("no leader within {START_TIME_MAX:?}")
}

/// One stream until the end; gives when each answer came and how long it took.
async fn submit(
    options: BenchOptions,
    stream: usize,
    target: String,
    end: Instant,
) -> anyhow::Result<Vec<(Instant, Duration)>> {
    let (sender, envelopes) = mpsc::channel(options.under_way);
    let answers = connect(&target)?.broadcast(ReceiverStream::new(envelopes)).await;
    let mut answers =
        answers.map_err(|status| anyhow::anyhow!("{}", status.message()))?.into_inner();
    let payload = bytes::Bytes::from(vec![b'x'; options.bytes]);
    let mut sent = std::collections::VecDeque::new();
    let mut acks = Vec::new();
    let mut number = 0u64;
    loop {
        while sent.len() < options.under_way && Instant::now() < end {
            let envelope = Envelope {
                submitter: format!("stream{stream}"),
                id: number.to_string(),
                payload: payload.clone(),
            };
            number += 1;
            sent.push_back(Instant::now());
            sender.send(envelope).await?;
        }
        if sent.is_empty() {
            return Ok(acks);
        }
        let ack =
            answers.message().await.map_err(|status| anyhow::anyhow!("{}", status.message()))?;
        ack.context("the stream has ended")?;
        let now = Instant::now();
        if let Some(at) = sent.pop_front() {
            acks.push((now, now - at));
        }
    }
}
