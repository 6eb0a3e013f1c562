//! `orderer`: one orderer of a chain, and what its clients and operators need.

#![forbid(unsafe_code)]

mod bench;
mod client;
mod options;

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::Parser as _;
use skep_orderer::core::consenters::Consenter;
use skep_orderer::node::{Founding, Settings, Stopped, run};
use skep_raft_peers::{Security, make_certificates};
use tokio::signal::unix::{SignalKind, signal};

use options::{Command, Options, ServeOptions};

/// How long what blocks on the disk may take at the end.
const END_TIME_MAX: Duration = Duration::from_secs(2);

/// This orderer was removed from its chain, so that starting it again is of no use.
const EXIT_REMOVED: u8 = 3;

fn main() -> ExitCode {
    let options = Options::parse();
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(anyhow::Error::from)
        .and_then(|runtime| {
            let outcome = runtime.block_on(execute(options));
            // A snapshot may be waiting for the ledger, which nobody writes any more.
            runtime.shutdown_timeout(END_TIME_MAX);
            outcome
        });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orderer: {error:#}");
            match error.downcast_ref() {
                Some(Stopped::Removed { .. }) => ExitCode::from(EXIT_REMOVED),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

async fn execute(options: Options) -> anyhow::Result<()> {
    match (options.command, options.serve) {
        (Some(Command::Certificates { out, ids }), _) => Ok(make_certificates(&out, &ids)?),
        (Some(Command::Bench(options)), _) => bench::run(options).await,
        (Some(command), _) => client::run(command).await,
        (None, Some(options)) => serve(options).await,
        (None, None) => anyhow::bail!("nothing to do; see --help"),
    }
}

fn settings(options: ServeOptions) -> anyhow::Result<Settings> {
    let security = match &options.tls {
        Some(folder) => Security::from_folder(folder)?,
        None => Security::Loopback,
    };
    let limits = options.limits().check()?;
    let (addr, founding) = match &options.peers {
        Some(peers) => {
            let listed = peers.get(&options.id);
            let addr = listed.with_context(|| format!("--peers has no id {}", options.id))?;
            let consenter =
                |(id, addr): (&String, &String)| Consenter { id: id.clone(), addr: addr.clone() };
            let consenters = peers.iter().map(consenter).collect();
            (addr.clone(), Some(Founding { consenters, limits }))
        }
        None if options.join.is_empty() => anyhow::bail!("give --peers or --join"),
        None => (options.addr.clone().context("--join needs --addr")?, None),
    };
    Ok(Settings {
        id: options.id,
        listen: options.listen.unwrap_or_else(|| addr.clone()),
        addr,
        clients: options.clients,
        metrics: options.metrics,
        dir: options.dir,
        founding,
        join: options.join,
        security,
        snapshot_bytes: options.snapshot_bytes,
    })
}

async fn serve(options: ServeOptions) -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::try_new(&options.log)?)
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .init();
    let settings = settings(options)?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    let id = settings.id.clone();
    let ready = move |clients, metrics: Option<std::net::SocketAddr>| {
        // Scripts wait for this line.
        println!("orderer {id} serves clients on {clients}");
        if let Some(metrics) = metrics {
            println!("orderer {id} serves metrics on http://{metrics}/metrics");
        }
    };
    Ok(run(settings, stop, ready).await?)
}
