//! The remote listener: TCP with TLS, a client certificate verified if there is one.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::{Request, Response};
use rustls::server::Acceptor;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::{LazyConfigAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    connection,
    stats::{ListenerStats, OpenGuard},
};
use crate::{caller::Caller, identity::ServerTls, subject};

/// Open connections: ten thousand workers with two each while they move from one to another, and room.
pub const CONNECTIONS_MAX: usize = 32_768;
/// Open connections without a certificate: those who join, and those who only try to be in the way.
pub const ANONYMOUS_CONNECTIONS_MAX: usize = 2_048;
/// Handshakes under way, counted from the peer's first message: who only connects takes nobody's turn. A handshake is
/// a millisecond of CPU; more at a time only make all of them late.
pub const HANDSHAKES_MAX: usize = 512;
/// How long the peer's first message may take, and after it the rest of the handshake.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Pause after the system refused to give a connection, so that a lack of descriptors does not become a busy loop.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound, not yet serving listener.
pub struct RemoteListener {
    listener: TcpListener,
    tls: Arc<dyn ServerTls>,
    stats: Arc<ListenerStats>,
}

impl RemoteListener {
    /// Binds `addr`, port 0 for any. Nothing is answered before [`serve`](Self::serve).
    pub async fn bind(addr: SocketAddr, tls: Arc<dyn ServerTls>) -> io::Result<Self> {
        let listener = TcpListener::bind(addr).await?;
        Ok(Self { listener, tls, stats: Arc::default() })
    }

    /// The address that was bound.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// The counters, which live on while [`serve`](Self::serve) runs.
    pub fn stats(&self) -> Arc<ListenerStats> {
        self.stats.clone()
    }

    /// Serves until `stop`, then lets calls end for at most [`connection::SHUTDOWN_GRACE`]. Dropping the future closes
    /// every connection at once.
    pub async fn serve<S>(self, service: S, stop: CancellationToken)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        let turn = Turnstile {
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
            anonymous: Arc::new(Semaphore::new(ANONYMOUS_CONNECTIONS_MAX)),
            tls: self.tls,
            stats: self.stats.clone(),
        };
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            // At the limit further connections wait in the system's backlog.
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                () = stop.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let (stream, from) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    self.stats.accept_errors.fetch_add(1, Relaxed);
                    tracing::warn!("no connection taken: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.stats.accepted.fetch_add(1, Relaxed);
            let open = OpenGuard::new(self.stats.clone());
            let (turn, service, stop) = (turn.clone(), service.clone(), stop.clone());
            tasks.spawn(async move {
                let _held = (permit, open);
                turn.pass(stream, from, service, stop).await;
            });
        }
        drop(self.listener);
        while tasks.join_next().await.is_some() {}
    }
}

/// The limits that a connection passes one after another.
#[derive(Clone)]
struct Turnstile {
    handshakes: Arc<Semaphore>,
    anonymous: Arc<Semaphore>,
    tls: Arc<dyn ServerTls>,
    stats: Arc<ListenerStats>,
}

impl Turnstile {
    async fn pass<S>(self, stream: TcpStream, from: SocketAddr, service: S, stop: CancellationToken)
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let handshake = self.handshake(stream, from);
        let stream = tokio::select! {
            stream = handshake => stream,
            () = stop.cancelled() => None,
        };
        let Some(stream) = stream else { return };
        let caller = match caller(&stream, from) {
            Ok(caller) => caller,
            Err(error) => {
                self.stats.handshakes_failed.fetch_add(1, Relaxed);
                tracing::debug!(%from, "connection closed: {error}");
                return;
            }
        };
        let _anonymous = if caller.is_anonymous() {
            match self.anonymous.try_acquire() {
                Ok(permit) => Some(permit),
                Err(_) => {
                    self.stats.turned_away.fetch_add(1, Relaxed);
                    tracing::debug!(%from, "connection closed: too many without a certificate");
                    return;
                }
            }
        } else {
            None
        };
        connection::serve(stream, caller, service, stop).await;
    }

    async fn handshake(&self, stream: TcpStream, from: SocketAddr) -> Option<TlsStream<TcpStream>> {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%from, "TCP_NODELAY not set: {error}");
        }
        let hello = LazyConfigAcceptor::new(Acceptor::default(), stream);
        let hello = self.in_time(from, hello).await?;
        let Some(config) = self.tls.server_config() else {
            tracing::debug!(%from, "connection closed: this node has no certificate yet");
            return None;
        };
        let _turn = self.handshakes.acquire().await.ok()?;
        self.in_time(from, hello.into_stream(config)).await
    }

    /// The outcome of one half of a handshake; `None` when it failed or took too long, which is counted.
    async fn in_time<T>(
        &self,
        from: SocketAddr,
        half: impl Future<Output = io::Result<T>>,
    ) -> Option<T> {
        match tokio::time::timeout(HANDSHAKE_TIMEOUT, half).await {
            Ok(Ok(done)) => Some(done),
            Ok(Err(error)) => {
                self.stats.handshakes_failed.fetch_add(1, Relaxed);
                tracing::debug!(%from, "TLS handshake failed: {error}");
                None
            }
            Err(_) => {
                self.stats.handshakes_timed_out.fetch_add(1, Relaxed);
                tracing::debug!(%from, "TLS handshake not done after {HANDSHAKE_TIMEOUT:?}");
                None
            }
        }
    }
}

fn caller(
    stream: &TlsStream<TcpStream>,
    from: SocketAddr,
) -> Result<Caller, subject::SubjectError> {
    let (_, session) = stream.get_ref();
    match session.peer_certificates().and_then(<[_]>::first) {
        Some(certificate) => subject::caller(certificate, from.to_string()),
        None => Ok(Caller::anonymous(from.to_string())),
    }
}
