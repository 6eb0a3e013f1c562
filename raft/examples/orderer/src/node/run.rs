//! Starts an orderer and runs it until it is asked to stop or must. Everything that can fail at once is tried before anything is
//! changed.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::{StreamExt as _, TryFutureExt as _};
use skep_raft::{Config, StopReason, Timing};
use skep_raft_peers::{CallError, EnterError, Group, Owner, Security, Setup, Way};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::service::Routes;
use tonic::transport::Server;

use super::around::{Around, Waiter};
use super::clients::{Clients, Reach};
use super::keep::KeepError;
use super::links::{Links, MESSAGE_BYTES_MAX};
use super::members::Members;
use super::submit::Desk;
use super::{clock, govern, keep, metrics};
use crate::core::consenters::{Configuration, Consenter};
use crate::core::limits::Limits;
use crate::core::orderer::Orderer;
use crate::ledger::{FileStorage, Ledger, LedgerError};
use crate::machine::{Machine, Shared};
use crate::wire::orderer_server::OrdererServer;
use crate::wire::peer_server::PeerServer;

/// Entries after which raft would take a snapshot whatever they hold: bytes decide here.
const SNAPSHOT_ENTRIES: u64 = 1_000_000;
/// Of the entries before a snapshot this part stays in the log, for orderers that are a little behind.
const KEPT_ONE_IN: u64 = 8;
/// A client that vanished without a word is noticed after about twice this.
const CLIENTS_PING_INTERVAL: Duration = Duration::from_secs(10);
/// Received and not yet read, for one stream and for a connection.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// How the chain begins, if it does not exist yet.
#[derive(Clone, Debug)]
pub struct Founding {
    /// The orderers by name.
    pub consenters: Vec<Consenter>,
    /// How blocks are cut.
    pub limits: Limits,
}

/// What an orderer is told when it starts.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name.
    pub id: String,
    /// Where the other orderers reach it.
    pub addr: String,
    /// Where it listens for them.
    pub listen: String,
    /// Where it listens for clients.
    pub clients: String,
    /// Where Prometheus' page is, if there is one.
    pub metrics: Option<String>,
    /// Its files.
    pub dir: PathBuf,
    /// With these others it founds the chain …
    pub founding: Option<Founding>,
    /// … or joins it through these.
    pub join: Vec<String>,
    /// How connections between orderers are protected.
    pub security: Security,
    /// Entries that hold this many bytes are followed by a snapshot.
    pub snapshot_bytes: u64,
}

/// Why an orderer ended.
#[derive(Debug, thiserror::Error)]
pub enum Stopped {
    /// It was removed.
    #[error(
        "orderer {id} was removed from the chain and stops for good; its ledger in {dir} stays as it is. With an empty folder it can be added again"
    )]
    Removed {
        /// Its name.
        id: String,
        /// Its files.
        dir: String,
    },
    /// An address.
    #[error("cannot listen for {what} on {addr}")]
    Listen {
        /// For whom.
        what: &'static str,
        /// Where.
        addr: String,
        /// Why.
        source: std::io::Error,
    },
    /// The ledger.
    #[error("{path}: {source}")]
    Ledger {
        /// The file.
        path: String,
        /// What is wrong with it.
        source: LedgerError,
    },
    /// The way into the group.
    #[error(transparent)]
    Enter(#[from] EnterError),
    /// The ledger cannot go on.
    #[error("the orderer cannot go on")]
    Keep(#[from] KeepError),
    /// Raft.
    #[error("the orderer cannot go on: {0}")]
    Raft(StopReason),
}

async fn listen(what: &'static str, addr: &str) -> Result<TcpListener, Stopped> {
    let failed = |source| Stopped::Listen { what, addr: addr.to_owned(), source };
    TcpListener::bind(addr).await.map_err(failed)
}

/// Who may become a member: who the chain says.
struct Admission(Arc<Shared<Waiter, Around>>);

#[async_trait]
impl Owner for Admission {
    async fn admits(&self, name: &str, addr: &str) -> Result<(), String> {
        let admits = |orderer: &Orderer<Waiter>| {
            orderer.state().configuration().is_some_and(|c| c.admits(name, addr))
        };
        match self.0.look(admits) {
            true => Ok(()),
            false => Err(format!(
                "the chain does not name orderer {name} at {addr}: orderer member add {name} {addr}"
            )),
        }
    }

    async fn call(&self, _: Bytes) -> Result<Bytes, CallError> {
        Err(CallError::NotDone("orderers have a service of their own".to_owned()))
    }
}

/// Runs an orderer until `stop` resolves or it cannot go on. `ready` is called once it serves, with the addresses for clients
/// and Prometheus.
///
/// # Errors
/// Why it could not start or go on.
pub async fn run(
    settings: Settings,
    stop: impl Future<Output = ()>,
    ready: impl FnOnce(std::net::SocketAddr, Option<std::net::SocketAddr>),
) -> Result<(), Stopped> {
    let members = listen("orderers", &settings.listen).await?;
    let clients = listen("clients", &settings.clients).await?;
    let metrics = match &settings.metrics {
        Some(addr) => Some(listen("Prometheus", addr).await?),
        None => None,
    };
    let ledger = open_ledger(&settings).await?;
    let reader = ledger.reader();

    let genesis = settings.founding.as_ref().map(|founding| Configuration {
        chain_id: format!("{:016x}", rand::random::<u64>()),
        limits: founding.limits,
        consenters: founding.consenters.iter().map(|c| (c.id.clone(), c.clone())).collect(),
    });
    let orderer = Orderer::new(rand::random(), ledger.tip(), genesis);
    let shared = Shared::new(orderer, Around::new(reader.height()));
    let links = Arc::new(Links::default());
    let desk = Desk { shared: shared.clone(), links: links.clone() };
    let reach = Arc::new(Reach { id: settings.id.clone(), desk, reader });
    let leader_changes = Arc::new(AtomicU64::new(0));

    let mut tasks = tokio::task::JoinSet::new();
    let metrics_addr = metrics.as_ref().and_then(|listener| listener.local_addr().ok());
    if let Some(listener) = metrics {
        tasks.spawn(metrics::serve(listener, reach.clone(), leader_changes.clone()));
    }
    let clients_addr = clients.local_addr();
    let clients_addr = clients_addr.map_err(|source| Stopped::Listen {
        what: "clients",
        addr: settings.clients.clone(),
        source,
    })?;
    tasks.spawn(serve_clients(clients, reach.clone()));
    ready(clients_addr, metrics_addr);

    tokio::pin!(stop);
    let entering = enter(&settings, members, &shared, &reach);
    let group = tokio::select! {
        entered = entering => entered.map_err(|error| match error {
            EnterError::Removed => removed(&settings),
            error => error.into(),
        })?,
        () = &mut stop => return Ok(()),
    };
    for ticket in shared.around.connect(group.node().clone()) {
        shared.act(|orderer| orderer.refused(ticket));
    }
    links.entered(group.clone());
    tracing::info!("orderer {} is in group {:016x}", settings.id, group.cluster());
    tasks.spawn(clock::run(shared.clone()));
    let governed = govern::run(shared.clone(), links.clone(), leader_changes);
    tasks.spawn(governed.unwrap_or_else(|status| tracing::error!("cannot govern: {status}")));
    let keeping = tokio::spawn(keep::run(shared, links, ledger));

    let outcome = tokio::select! {
        reason = group.stopped() => match reason {
            StopReason::Asked => Ok(()),
            StopReason::Removed => Err(removed(&settings)),
            reason => Err(Stopped::Raft(reason)),
        },
        ended = keeping => {
            let error = ended.unwrap_or_else(|error| KeepError::Thread(error.to_string()));
            group.stop(false).await;
            Err(error.into())
        }
        () = &mut stop => {
            group.stop(true).await;
            // Those whose envelopes were committed last are told so.
            tokio::time::sleep(Duration::from_millis(50)).await;
            Ok(())
        }
    };
    tasks.shutdown().await;
    outcome
}

fn removed(settings: &Settings) -> Stopped {
    Stopped::Removed { id: settings.id.clone(), dir: settings.dir.display().to_string() }
}

async fn open_ledger(settings: &Settings) -> Result<Ledger, Stopped> {
    let path = settings.dir.join("ledger");
    let name = path.display().to_string();
    let dir = settings.dir.clone();
    let opening = tokio::task::spawn_blocking(move || {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&dir);
        let opened = made.and_then(|()| FileStorage::open(&path));
        let file = opened.map_err(|source| LedgerError::Io { action: "opened", source })?;
        Ledger::open(Arc::new(file))
    });
    let opened = opening.await.map_err(|error| KeepError::Thread(error.to_string()))?;
    opened.map_err(|source| Stopped::Ledger { path: name, source })
}

async fn enter(
    settings: &Settings,
    listener: TcpListener,
    shared: &Arc<Shared<Waiter, Around>>,
    reach: &Arc<Reach>,
) -> Result<Group, EnterError> {
    let way = match &settings.founding {
        Some(founding) => {
            let listed = founding.consenters.iter().map(|c| (c.id.clone(), c.addr.clone()));
            Way::Listed(listed.collect())
        }
        None => Way::Join(settings.join.clone()),
    };
    let setup = Setup {
        name: settings.id.clone(),
        addr: settings.addr.clone(),
        folder: settings.dir.clone(),
        way,
        security: settings.security.clone(),
    };
    let config = Config {
        snapshot_entries: SNAPSHOT_ENTRIES,
        snapshot_bytes: settings.snapshot_bytes,
        keep_bytes: settings.snapshot_bytes / KEPT_ONE_IN,
        log_bytes_max: settings.snapshot_bytes.saturating_mul(4),
        ..Config::new(Timing::fast(), rand::random())
    };
    let service = PeerServer::new(Members { reach: reach.clone() })
        .max_decoding_message_size(MESSAGE_BYTES_MAX);
    let machine = Machine(shared.clone());
    let owner = Arc::new(Admission(shared.clone()));
    Group::enter_with(setup, config, listener, machine, owner, Routes::new(service)).await
}

async fn serve_clients(listener: TcpListener, reach: Arc<Reach>) {
    let service =
        OrdererServer::new(Clients { reach }).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let incoming = TcpListenerStream::new(listener).map(|accepted| {
        // An answer that is late is still an answer.
        accepted.inspect(|tcp| drop(tcp.set_nodelay(true)))
    });
    let served = Server::builder()
        .http2_keepalive_interval(Some(CLIENTS_PING_INTERVAL))
        .http2_keepalive_timeout(Some(CLIENTS_PING_INTERVAL))
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .add_service(service)
        .serve_with_incoming(incoming)
        .await;
    if let Err(error) = served {
        tracing::error!("clients cannot be served any more: {error}");
    }
}
