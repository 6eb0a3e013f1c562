//! `skep-bench`: load and measurement against any manager that serves SwarmKit's control interface.
//!
//! `writes` measures creates: how many a second, how long each takes, what each costs. `failover` measures how long
//! a cluster of ours takes no writes when its leader dies or is stopped, and checks that no acknowledged write is lost.
//! `scale` measures services: how soon their tasks run on simulated workers, and what a task costs the managers.
//! `kv` measures the key/value store that stands on the raft crate alone, beside etcd.
//! The clusters that are started here are gone when it ends, however it ends.

#![forbid(unsafe_code)]

mod clusters;
mod failover;
mod kv;
mod manager;
mod process;
mod scale;
mod statistics;
mod target;
mod writes;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// As in `skepd`; thousands of simulated workers are to cost little beside what is measured.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Load and measurement against any SwarmKit-compatible manager.
#[derive(Debug, Parser)]
#[command(name = "skep-bench", version, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Creates per second, their latency and their cost, at several numbers of concurrent writers
    Writes(writes::Writes),
    /// How long writes pause when the leader is killed or stopped, and whether any is lost
    Failover(failover::Failover),
    /// How soon the tasks of services run on simulated workers, and what each costs the managers
    Scale(scale::Scale),
    /// The key/value store on skep-raft beside etcd: requests per second, their latency and their cost
    Kv(kv::Kv),
    /// The simulated workers of `scale`, in a process of their own
    #[command(hide = true)]
    Workers(scale::Workers),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let work = async {
        match arguments.command {
            Command::Writes(writes) => writes.run().await,
            Command::Failover(failover) => failover.run().await,
            Command::Scale(scale) => scale.run().await,
            Command::Kv(kv) => kv.run().await,
            Command::Workers(workers) => workers.run().await,
        }
    };
    // On an interrupt the work is dropped where it stands, and with it the clusters that it started.
    let done = tokio::select! {
        done = work => done,
        _ = tokio::signal::ctrl_c() => Err(anyhow::anyhow!("interrupted")),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("Error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
