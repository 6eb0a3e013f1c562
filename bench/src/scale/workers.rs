//! The process of the simulated workers: it is told on its standard input whom to join, and answers on its standard
//! output. A process of its own, so that what workers cost is not mixed with what anything else costs.

use std::{
    collections::HashMap,
    io::{BufRead as _, Write as _},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context as _;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use skep_agent::{
    fleet::{Fleet, FleetOptions},
    simulated::{SimulatedNode, Witness},
};
use skep_proto::swarmkit::{TaskState, update_task_status_request::TaskStatusUpdate};
use tokio::sync::mpsc;

/// How long all workers together may take to get their sessions.
const REGISTER_LIMIT: Duration = Duration::from_secs(600);

/// The workers of a measurement.
#[derive(Debug, clap::Args)]
pub struct Workers {}

/// The first line that the process reads.
#[derive(Serialize, Deserialize)]
pub struct Orders {
    /// `HOST:PORT` of the managers.
    pub managers: Vec<String>,
    /// A worker's join token.
    pub token: String,
    /// How many workers.
    pub nodes: usize,
}

/// Each further line that it reads.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Question {
    /// How many tasks have been reported RUNNING?
    Count,
    /// When was each?
    Times,
}

/// What it writes, a line each.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    /// All workers have a session.
    Registered,
    /// How many tasks have been reported RUNNING, and a manager has taken it.
    Count(usize),
    /// When that was for each, in microseconds since 1970, in ascending order.
    Times(Vec<u64>),
}

/// Takes note when a manager has heard that a task runs.
#[derive(Default)]
struct Stopwatch {
    running: Mutex<HashMap<String, u64>>,
}

impl Witness for Stopwatch {
    fn acknowledged(&self, _: &SimulatedNode, updates: &[TaskStatusUpdate]) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let now_us = u64::try_from(now.as_micros()).unwrap_or(u64::MAX);
        let runs = |update: &&TaskStatusUpdate| {
            update.status.as_ref().is_some_and(|status| status.state() == TaskState::Running)
        };
        let mut running = self.running.lock();
        for update in updates.iter().filter(runs) {
            running.entry(update.task_id.clone()).or_insert(now_us);
        }
    }
}

impl Workers {
    /// Runs until the standard input ends.
    pub async fn run(self) -> anyhow::Result<()> {
        let mut lines = lines();
        let Some(orders) = lines.recv().await else { return Ok(()) };
        let orders: Orders = serde_json::from_str(&orders).context("cannot read the orders")?;
        let stopwatch = Arc::new(Stopwatch::default());
        let token = orders.token.parse().context("cannot read the join token")?;
        let mut options = FleetOptions::new(orders.managers, token);
        options.witness = stopwatch.clone();
        let fleet = Fleet::join(options, orders.nodes).await?;
        fleet.wait_until_registered(REGISTER_LIMIT).await?;
        say(&Answer::Registered)?;
        while let Some(line) = lines.recv().await {
            say(&match serde_json::from_str(&line).context("cannot read the question")? {
                Question::Count => Answer::Count(stopwatch.running.lock().len()),
                Question::Times => {
                    let mut times: Vec<u64> = stopwatch.running.lock().values().copied().collect();
                    times.sort_unstable();
                    Answer::Times(times)
                }
            })?;
        }
        Ok(())
    }
}

/// The lines of the standard input, read on a thread of its own: reading blocks. They end when the other process does.
fn lines() -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel(1);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.blocking_send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn say(answer: &Answer) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, answer)?;
    out.write_all(b"\n")?;
    Ok(out.flush()?)
}
