//! `kv`: one member of a replicated key/value store. docs/kv.md says how to run three of them.

#![forbid(unsafe_code)]

use std::{io::IsTerminal as _, process::ExitCode};

use clap::Parser as _;
use skep_kv::{options::Options, run::run};
use tokio::runtime::Builder;
use tracing_subscriber::EnvFilter;

/// Small values come and go on every thread.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let log = options.serve.as_ref().map_or("info", |serve| &serve.log);
    let filter = EnvFilter::builder().parse_lossy(log);
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr)
        .init();
    let runtime = match options.serve.as_ref().map_or(1, |serve| serve.threads) {
        // Nothing is handed from thread to thread then, which is a good part of what a small request costs.
        1 => Builder::new_current_thread().enable_all().build(),
        threads => Builder::new_multi_thread().worker_threads(threads).enable_all().build(),
    };
    let result = runtime.map_err(anyhow::Error::from).and_then(|runtime| {
        let result = runtime.block_on(run(options));
        // Nothing is waited for: what is left are connections that clients hold open.
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(code) => code,
        Err(error) => {
            eprintln!("kv: {error:#}");
            ExitCode::FAILURE
        }
    }
}
