//! A member as a process: everything that can fail at once is tried before anything is changed, then it enters its group and
//! serves until it is asked to stop or must.

use std::{process::ExitCode, sync::Arc};

use anyhow::Context as _;
use axum::serve::ListenerExt as _;
use skep_raft::{Config, StopReason, Timing};
use skep_raft_peers::{EnterError, Group, Security, Setup, Way, make_certificates};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

use crate::{
    http,
    machine::Machine,
    member::Member,
    options::{Command, Options, Peers, ServeOptions},
    store::Store,
};

/// The member was removed from its group, so that starting it again is of no use.
pub const EXIT_REMOVED: u8 = 3;

/// Runs the command; gives the exit code when nothing went wrong.
pub async fn run(options: Options) -> anyhow::Result<ExitCode> {
    match (options.command, options.serve) {
        (Some(Command::Certificates { out, ids }), _) => {
            make_certificates(&out, &ids)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Some(serve)) => serve_member(serve).await,
        (None, None) => anyhow::bail!("nothing to do; see --help"),
    }
}

/// What the transport is told.
fn setup(options: &ServeOptions) -> anyhow::Result<Setup> {
    let security = match &options.tls {
        Some(folder) => Security::from_folder(folder)?,
        None => Security::Loopback,
    };
    let (way, addr) = match &options.peers {
        Some(peers) => {
            let listed = peers.get(&options.id);
            let listed = listed.with_context(|| format!("--peers has no id {}", options.id))?;
            (Way::Listed(peers.clone()), options.addr.as_ref().unwrap_or(listed).clone())
        }
        None if options.join.is_empty() => anyhow::bail!("give --peers or --join"),
        None => {
            let addr = options.addr.clone().context("--join needs --addr")?;
            (Way::Join(options.join.clone()), addr)
        }
    };
    let (name, folder) = (options.id.clone(), options.dir.clone());
    Ok(Setup { name, addr, folder, way, security })
}

async fn listen(what: &str, addr: &str) -> anyhow::Result<TcpListener> {
    let listener = TcpListener::bind(addr).await;
    listener.with_context(|| format!("cannot listen for {what} on {addr}"))
}

async fn serve_member(options: ServeOptions) -> anyhow::Result<ExitCode> {
    let setup = setup(&options)?;
    let members = listen("members", options.listen.as_ref().unwrap_or(&setup.addr)).await?;
    let clients = listen("clients", &options.http).await?;
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let mut asked = async || {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    };

    let member = Member::new(Store::default());
    let (stop, stopping) = watch::channel(false);
    let http_addr = clients.local_addr()?;
    let serving = tokio::spawn(serve_clients(clients, member.clone(), stopping));
    // The last line of what is said before it serves; scripts wait for it.
    tracing::info!("member {} serves clients on http://{http_addr}", options.id);

    let machine = Machine::new(member.store().clone());
    let config = Config::new(Timing::fast(), rand::random());
    let entering = Group::enter(setup, config, members, machine, Arc::new(member.clone()));
    let group = tokio::select! {
        entered = entering => match entered {
            Ok(group) => group,
            Err(error @ EnterError::Removed) => {
                tracing::error!("{error}");
                return Ok(ExitCode::from(EXIT_REMOVED));
            }
            Err(error) => return Err(error.into()),
        },
        signal = asked() => {
            tracing::info!("{signal}: stops before it was a member");
            return Ok(ExitCode::SUCCESS);
        }
    };
    member.entered(group.clone());
    tracing::info!("member {} is in group {:016x}", options.id, group.cluster());
    if let Some(peers) = options.peers.clone() {
        tokio::spawn(admit_founders(member.clone(), peers));
    }

    let reason = tokio::select! {
        reason = group.stopped() => reason,
        signal = asked() => {
            tracing::info!("{signal}: stops");
            member.store().end_watches();
            // Clients that come meanwhile are told to go elsewhere; those that wait get their answers.
            let reason = group.stop(true).await;
            stop.send_replace(true);
            let _ = tokio::time::timeout(CLIENTS_MAX, serving).await;
            reason
        }
    };
    match reason {
        StopReason::Asked => Ok(ExitCode::SUCCESS),
        StopReason::Removed => {
            tracing::info!("{reason}; its folder {} is of no more use", options.dir.display());
            Ok(ExitCode::from(EXIT_REMOVED))
        }
        reason => anyhow::bail!("{reason}"),
    }
}

/// How long clients may take for their last answers.
const CLIENTS_MAX: std::time::Duration = std::time::Duration::from_secs(2);

/// How often it is tried to write the founders down.
const AGAIN_EVERY: std::time::Duration = std::time::Duration::from_millis(200);

async fn serve_clients(listener: TcpListener, member: Member, mut stop: watch::Receiver<bool>) {
    let listener = listener.tap_io(|tcp| {
        if let Err(error) = tcp.set_nodelay(true) {
            tracing::debug!("a client's answers may be late: {error}");
        }
    });
    let stopped = async move {
        // When the sender is gone, so is the process.
        let _ = stop.wait_for(|stop| *stop).await;
    };
    let serving = axum::serve(listener, http::router(member)).with_graceful_shutdown(stopped);
    if let Err(error) = serving.await {
        tracing::error!("clients cannot be served any more: {error}");
    }
}

/// Lets those become members who form the group together. The list is replicated, so that it holds whoever leads; the founder
/// writes it, in one entry: once there is a list only people change it.
async fn admit_founders(member: Member, peers: Peers) {
    let Ok(group) = member.group() else { return };
    let mut status = group.node().watch_status();
    loop {
        let leads = status.borrow_and_update().leads();
        let written = !member.store().state().admitted.is_empty();
        if leads && written {
            return;
        }
        if leads {
            if let Err(error) = member.admit(peers.clone()).await {
                tracing::warn!("the members to be cannot be written down: {error}");
                tokio::time::sleep(AGAIN_EVERY).await;
            }
        } else if status.changed().await.is_err() {
            return;
        }
    }
}
