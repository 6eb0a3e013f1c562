//! `skep-bench failover`: the leader of a cluster of three processes is killed, again and again, while clients write.
//!
//! Each round tells how long no write was accepted, then checks what was acknowledged against what the cluster holds.

mod history;
mod writers;

use std::{
    fs,
    path::PathBuf,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use skep_testkit::{
    skepd_process::{SETTLE_LIMIT, SkepdCluster},
    wait,
};

use crate::{
    clusters::skepd_program,
    manager::{Kind, Manager, open_all},
    statistics::Summary,
};
use history::{Audit, History};
use writers::Writers;

/// Writes that must be acknowledged before the leader goes, and again after a new one has come.
const ACKNOWLEDGED_MIN: usize = 100;

/// How long writes pause when the leader is killed or stopped, and whether any is lost.
#[derive(Debug, clap::Args)]
pub struct Failover {
    /// How often the leader goes
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Stop the leader (SIGTERM), so that it can hand over, instead of killing it (SIGKILL)
    #[arg(long)]
    graceful: bool,
    /// Size of the cluster
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(3..=7))]
    managers: u8,
    /// Concurrent writers, over all managers in turn
    #[arg(long, default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..))]
    writers: u16,
    /// Fail when the median pause is longer than this [default: 2s, with --graceful 300ms]
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    bar: Option<Duration>,
    /// The skepd to start [default: the one beside this program]
    #[arg(long, value_name = "PROGRAM")]
    skepd: Option<PathBuf>,
    /// Also write everything that was measured to this file
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// One round.
#[derive(Debug, Serialize)]
struct Round {
    /// How long no write was accepted.
    pause_ms: f64,
    #[serde(flatten)]
    audit: Audit,
}

impl Failover {
    /// Measures, prints, and fails if the bar is missed or a write was lost.
    pub async fn run(self) -> anyhow::Result<()> {
        let program = skepd_program(self.skepd.as_deref())?;
        let mut cluster = SkepdCluster::form(&program, usize::from(self.managers)).await?;
        let mut rounds = Vec::new();
        for number in 1..=self.rounds {
            let round = self.round(&mut cluster, number).await;
            let round = round.with_context(|| format!("round {number}"))?;
            eprintln!("round {number}/{}: {:.0} ms, {}", self.rounds, round.pause_ms, round.audit);
            rounds.push(round);
        }
        self.report(&rounds)
    }

    async fn round(&self, cluster: &mut SkepdCluster, number: u32) -> anyhow::Result<Round> {
        let sockets: Vec<PathBuf> = cluster.managers.iter().map(|m| m.control()).collect();
        let managers = open_all(&sockets, 1).await?;
        let prefix = format!("failover-{number}-");
        let writers = Writers::start(&managers, usize::from(self.writers), &prefix);
        let leader = cluster.leader().await?;
        writers.acknowledged_since(Instant::now(), ACKNOWLEDGED_MIN).await?;

        let gone_at = Instant::now();
        if self.graceful {
            cluster.managers[leader].terminate();
        } else {
            cluster.managers[leader].kill();
        }
        let new = new_leader(cluster, leader).await?;
        writers.acknowledged_since(Instant::now(), ACKNOWLEDGED_MIN).await?;
        if self.graceful {
            let ended = cluster.managers[leader].wait_for_end().await?;
            anyhow::ensure!(ended.success(), "the stopped leader ended with {ended}");
        }
        cluster.managers[leader].restart().await?;
        let count = cluster.managers.len();
        cluster.managers[new].wait_until_ready(count, count).await?;
        let history = writers.stop().await?;

        let pause = match self.graceful {
            // A leader that hands over goes on accepting until it has, so the signal is no beginning.
            true => history.longest_pause_from(gone_at),
            false => history.first_acknowledged_after(gone_at),
        };
        let pause = pause.context("no write was acknowledged after the leader had gone")?;
        let audit = audit(&managers[new], &prefix, &history).await?;
        anyhow::ensure!(audit.is_clean(), "{audit}\n{}", audit.details());
        Ok(Round { pause_ms: pause.as_secs_f64() * 1e3, audit })
    }

    fn report(&self, rounds: &[Round]) -> anyhow::Result<()> {
        let summary = Summary::of(rounds.iter().map(|r| r.pause_ms)).context("no rounds")?;
        let acknowledged: usize = rounds.iter().map(|r| r.audit.acknowledged).sum();
        let how = if self.graceful { "stopped (SIGTERM)" } else { "killed (SIGKILL)" };
        println!(
            "leader {how} {} times: writes paused {:.0} ms in the median ({:.0} - {:.0}); \
             {acknowledged} acknowledged writes, none lost, none doubled",
            rounds.len(),
            summary.median,
            summary.min,
            summary.max
        );
        if let Some(path) = &self.json {
            let whole = serde_json::json!({
                "graceful": self.graceful, "pause_ms": summary, "rounds": rounds,
            });
            let text = serde_json::to_string_pretty(&whole)?;
            fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let usual = Duration::from_millis(if self.graceful { 300 } else { 2000 });
        let bar = self.bar.unwrap_or(usual);
        anyhow::ensure!(
            summary.median <= bar.as_secs_f64() * 1e3,
            "the median pause is longer than {}",
            humantime::format_duration(bar)
        );
        Ok(())
    }
}

/// Waits until another manager than `old` says that it leads.
async fn new_leader(cluster: &SkepdCluster, old: usize) -> Result<usize, wait::NotInTime> {
    wait::until("another leader", SETTLE_LIMIT, async || {
        for (place, manager) in cluster.managers.iter().enumerate().filter(|(p, _)| *p != old) {
            if manager.status().await.is_ok_and(|s| s.is_leader) {
                return Ok(place);
            }
        }
        Err("nobody says that it leads")
    })
    .await
}

/// Compares what the cluster holds with what was acknowledged, and removes it.
async fn audit(manager: &Manager, prefix: &str, history: &History) -> anyhow::Result<Audit> {
    let mut client = manager.client(0);
    let held = client.list(Kind::Config, prefix).await.context("cannot list what was written")?;
    let audit = history.audit(held.iter().map(|(_, name)| name.as_str()));
    for (id, _) in held {
        client.remove(Kind::Config, id).await.context("cannot remove what was written")?;
    }
    Ok(audit)
}
