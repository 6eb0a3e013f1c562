//! A member of a group: the raft node, and everything around it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures::StreamExt as _;
use skep_raft::{Config, NodeHandle, Start, StateMachine, StopReason};
use tokio::{net::TcpListener, sync::Mutex, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{
    Status,
    service::Routes,
    transport::{Channel, Server},
};

use crate::{
    CallError, EnterError, Owner, Security, Setup, ask,
    enter::{self, first_start},
    folder::{Folder, name_of},
    security::Stream,
    service::{self, Service, leader_addr},
    transport::{Joined, PeersTransport, Shared},
    wire::{MESSAGE_BYTES_MAX, peers_server::PeersServer},
};

/// Handshakes of callers at a time.
const HANDSHAKES_MAX: usize = 64;
/// A caller that vanished is noticed after about twice this.
const CALLERS_PING_INTERVAL: Duration = Duration::from_secs(5);
/// Received and not yet read, for one stream and for a connection.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Calls at a time on one connection: what a member's clients have under way.
const STREAMS_MAX: u32 = 4096;
/// How often a member that has moved says so until the leader has heard it.
const MOVED_EVERY: Duration = Duration::from_millis(500);

/// Why a change of the members did not happen, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GroupError {
    /// No member has this name.
    #[error("{0}")]
    Unknown(String),
    /// The rules of membership do not allow it.
    #[error("{0}")]
    Refused(String),
    /// It may still happen; asking again is safe.
    #[error("{0}")]
    Unavailable(String),
}

/// A member. All clones are the same one; [`stop`](Group::stop) ends it.
#[derive(Clone)]
pub struct Group {
    shared: Arc<Shared>,
    folder: Arc<Mutex<Folder>>,
    stop: CancellationToken,
    cluster: u64,
    node: NodeHandle,
}

impl Group {
    /// Enters the group: goes on with what the folder holds, or founds or joins. Waits for the other nodes for as long
    /// as it takes; safe to drop, and to try again.
    ///
    /// The listener is this node's, at [`Setup::addr`] as others see it.
    pub async fn enter<S: StateMachine>(
        setup: Setup,
        config: Config,
        listener: TcpListener,
        machine: S,
        owner: Arc<dyn Owner>,
    ) -> Result<Group, EnterError> {
        Group::enter_with(setup, config, listener, machine, owner, Routes::default()).await
    }

    /// As [`enter`](Self::enter), with services of the program's own at the members' address, for members alone. They are
    /// served from the beginning, before this node is a member.
    pub async fn enter_with<S: StateMachine>(
        setup: Setup,
        config: Config,
        listener: TcpListener,
        machine: S,
        owner: Arc<dyn Owner>,
        routes: Routes,
    ) -> Result<Group, EnterError> {
        setup.check()?;
        let local = listener.local_addr().map_err(EnterError::Listen)?;
        setup.security.check_addr(local).map_err(EnterError::Listen)?;
        let (path, name) = (setup.folder.clone(), setup.name.clone());
        let opening = tokio::task::spawn_blocking(move || Folder::open(&path, &name)).await;
        let mut folder = opening.map_err(|error| EnterError::Setup(error.to_string()))??;
        let identity = folder.identity().clone();
        if identity.removed {
            return Err(EnterError::Removed);
        }
        let again = folder.has_log();
        let shared = Shared::new(
            setup.security.clone(),
            setup.name.clone(),
            identity.incarnation,
            setup.addr.clone(),
            setup.way.listed(),
            !again && !identity.entered,
        );
        let stop = CancellationToken::new();
        // Until it is a member, a failure or a drop of this future ends the listener as well.
        let guard = stop.clone().drop_guard();
        let service = Service::new(shared.clone(), owner, stop.clone());
        serve(listener, setup.security.clone(), service, routes, stop.clone());

        let start = match again {
            true => Start::Restart,
            false if identity.entered => return Err(EnterError::LogLost),
            false => first_start(&setup, &shared, &mut folder).await?,
        };
        if again {
            enter::check_others(&setup, &shared, identity.cluster).await?;
        }
        let transport = Arc::new(PeersTransport(shared.clone()));
        let node = skep_raft::start(config, start, folder.log(), machine, transport).await?;
        if !folder.identity().entered {
            folder.change(|identity| identity.entered = true)?;
        }
        let cluster = folder.identity().cluster.unwrap_or_default();
        // The first and only time.
        let _ = shared.membership.set(Joined { cluster, node: node.clone() });
        guard.disarm();
        let group = Group { shared, folder: Arc::new(Mutex::new(folder)), stop, cluster, node };
        tokio::spawn(group.clone().announce(setup));
        Ok(group)
    }

    /// The raft node.
    pub fn node(&self) -> &NodeHandle {
        &self.node
    }

    /// The group's random id.
    pub fn cluster(&self) -> u64 {
        self.cluster
    }

    /// The name in a member's node id.
    pub fn name_of(node_id: &str) -> &str {
        name_of(node_id)
    }

    /// A connection to a node at this address, for services of the program's own; made when it is first used.
    pub fn dial(&self, addr: &str) -> Result<Channel, Status> {
        ask::dial(&self.shared.security, addr)
    }

    /// Has the leader do something: [`Owner::call`] there, over the network unless this member leads. Passed on once;
    /// whoever gets it and does not lead says so.
    pub async fn call_leader(&self, body: Bytes) -> Result<Bytes, CallError> {
        let leader = leader_addr(&self.node, false);
        let leader = leader.map_err(|status| CallError::NotDone(status.message().to_owned()))?;
        self.shared.leaders.call(&self.shared.security, &leader, body).await
    }

    /// Removes a member by its name, for ever: its folder is of no use afterwards. Any member may be asked for any.
    /// Removing a leader takes as long as handing over. When the future is dropped it may still happen.
    pub async fn remove(&self, name: &str) -> Result<(), GroupError> {
        let Some(joined) = self.shared.membership.get() else { return Ok(()) };
        let outcome = service::remove(&self.shared, joined, name, false).await;
        outcome.map_err(|status| {
            let text = status.message().to_owned();
            match status.code() {
                tonic::Code::NotFound => GroupError::Unknown(text),
                tonic::Code::FailedPrecondition => GroupError::Refused(text),
                _ => GroupError::Unavailable(text),
            }
        })
    }

    /// Stops: a leader lets what is in flight commit and hands over first if `hand_over`. Then nothing of it is left.
    pub async fn stop(&self, hand_over: bool) -> StopReason {
        self.node.stop(hand_over).await;
        self.stopped().await
    }

    /// Resolves once the raft node has ended by itself or by [`stop`](Self::stop), with all connections. That it was
    /// removed is remembered in the folder.
    pub async fn stopped(&self) -> StopReason {
        let reason = self.node.stopped().await;
        self.stop.cancel();
        self.shared.stop();
        if matches!(reason, StopReason::Removed) {
            let remembered = self.folder.lock().await.change(|identity| identity.removed = true);
            if let Err(error) = remembered {
                tracing::warn!("cannot note that this member was removed: {error}");
            }
        }
        reason
    }

    /// Tells the leader where this member is, until the membership says so: it may have moved while it was down.
    async fn announce(self, setup: Setup) {
        let mut said = enter::Saying::default();
        loop {
            let status = self.node.status();
            let moved = status.members.get(status.own).is_some_and(|own| own.addr != setup.addr);
            if !moved && status.leader.is_some() {
                return;
            }
            if moved && let Err(status) = self.say_where(&setup).await {
                said.say(&format!(
                    "cannot tell the group of the new address: {}",
                    status.message()
                ));
            }
            tokio::select! {
                () = tokio::time::sleep(MOVED_EVERY) => {}
                () = self.stop.cancelled() => return,
            }
        }
    }

    async fn say_where(&self, setup: &Setup) -> Result<(), Status> {
        let request = enter::request(setup, self.folder.lock().await.identity());
        let to = match self.node.status().leads() {
            true => setup.addr.clone(),
            false => leader_addr(&self.node, false)?,
        };
        ask::join(&self.shared.security, &to, request).await.map(drop)
    }
}

/// Takes connections and calls until told to stop.
fn serve(
    listener: TcpListener,
    security: Security,
    service: Service,
    routes: Routes,
    stop: CancellationToken,
) -> JoinHandle<()> {
    let incoming = futures::stream::unfold(listener, |listener| async {
        let accepted = listener.accept().await;
        Some((accepted, listener))
    });
    let secured = incoming.map(move |accepted| {
        let security = security.clone();
        async move {
            let (tcp, from) = accepted?;
            let stream = security.accept(tcp).await;
            stream.inspect_err(|error| tracing::debug!("caller {from} was not let in: {error}"))
        }
    });
    // One that dawdles in its handshake is in nobody's way.
    let incoming = secured.buffer_unordered(HANDSHAKES_MAX).filter_map(
        |stream: std::io::Result<Stream>| async { stream.ok().map(Ok::<_, std::io::Error>) },
    );
    let service = PeersServer::new(service).max_decoding_message_size(MESSAGE_BYTES_MAX);
    let server = Server::builder()
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_concurrent_streams(STREAMS_MAX)
        .http2_keepalive_interval(Some(CALLERS_PING_INTERVAL))
        .http2_keepalive_timeout(Some(CALLERS_PING_INTERVAL))
        .add_routes(routes.add_service(service));
    tokio::spawn(async move {
        let serving = server.serve_with_incoming(incoming);
        tokio::select! {
            ended = serving => {
                if let Err(error) = ended {
                    tracing::error!("members cannot call any more: {error}");
                }
            }
            () = stop.cancelled() => {}
        }
    })
}
