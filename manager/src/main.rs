//! `skepd`: the manager daemon.

#![forbid(unsafe_code)]

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use skep_ca::Clock;
use skep_manager::{
    config::Config,
    control_socket,
    daemon::{Daemon, InitOptions, JoinOptions, State},
    dev, logging, metrics,
    node::FoundOptions,
    options::{Command, DaemonOptions, Options},
};
use tokio::{
    signal::unix::{SignalKind, signal},
    task::JoinSet,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

/// Objects come and go by the thousand on every thread: jemalloc takes an eighth less CPU for it than the C library, which
/// grows its heaps page by page.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let options = Options::parse();
    let (format, level) = match &options.command {
        Some(Command::Dev(dev)) => (dev.log_format, &dev.log_level),
        None => (options.daemon.log_format, &options.daemon.log_level),
    };
    if let Err(error) = logging::init(format, level) {
        eprintln!("skepd: {error}");
        return ExitCode::from(2);
    }
    let result = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot be started")
        .and_then(|runtime| runtime.block_on(run(&options)));
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("skepd: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(options: &Options) -> anyhow::Result<()> {
    let shutdown = CancellationToken::new();
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let asked = shutdown.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        };
        info!(signal = name, "asked to stop");
        asked.cancel();
    });
    match &options.command {
        Some(Command::Dev(dev)) => dev::run(dev, shutdown).await,
        None => daemon(&options.daemon, shutdown).await,
    }
}

async fn daemon(options: &DaemonOptions, shutdown: CancellationToken) -> anyhow::Result<()> {
    let config = Config::from_options(options).map_err(anyhow::Error::msg)?;
    let socket = control_socket::bind(&config.control).with_context(|| {
        format!("the control socket {} cannot be opened", config.control.display())
    })?;
    let metrics_listener = match config.metrics {
        Some(addr) => Some(
            tokio::net::TcpListener::bind(addr)
                .await
                .with_context(|| format!("the metrics endpoint cannot listen on {addr}"))?,
        ),
        None => None,
    };
    info!(
        version = env!("CARGO_PKG_VERSION"),
        state_dir = %config.state_dir.display(),
        control = %config.control.display(),
        "skepd starts"
    );
    let (daemon, actor) = Daemon::start(config, Clock::system(), shutdown.clone())?;
    let mut tasks = JoinSet::new();
    tasks.spawn(control_socket::serve(socket, daemon.clone(), shutdown.clone()));
    if let Some(listener) = metrics_listener {
        tasks.spawn(metrics::serve(listener, daemon.clone(), shutdown.clone()));
    }
    tasks.spawn(actor);
    let entered = tokio::select! {
        result = enter(&daemon, options) => result,
        () = shutdown.cancelled() => Ok(()),
    };
    if let Err(error) = &entered {
        error!(error = %format!("{error:#}"), "the daemon could not become part of a swarm");
        shutdown.cancel();
    }
    while tasks.join_next().await.is_some() {}
    entered
}

/// Founds or joins when the command line says so and the state folder holds nothing yet.
async fn enter(daemon: &Daemon, options: &DaemonOptions) -> anyhow::Result<()> {
    let mut state = daemon.watch_state();
    let state = state.wait_for(|state| !matches!(state, State::Pending)).await?.clone();
    if !matches!(state, State::Inactive { .. }) {
        return Ok(());
    }
    if options.init {
        let cluster = FoundOptions {
            default_address_pool: options.default_addr_pool.clone(),
            subnet_size: options.default_addr_pool_mask_length.unwrap_or_default(),
            data_path_port: options.data_path_port.unwrap_or_default(),
            ..FoundOptions::default()
        };
        let init = InitOptions { cluster, ..InitOptions::default() };
        daemon.init(init).await.context("cannot found a swarm")?;
    } else if let (Some(addr), Some(token)) = (&options.join, &options.token) {
        let join = JoinOptions {
            remotes: vec![addr.clone()],
            token: token.clone(),
            advertise: None,
            availability: None,
        };
        daemon.join(join).await.with_context(|| format!("cannot join the swarm of {addr}"))?;
    } else {
        info!("this node is not part of a swarm yet: `skep swarm init` or `skep swarm join`");
    }
    Ok(())
}
