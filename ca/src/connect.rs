//! gRPC channels over our own TLS: tonic's TLS cannot carry a verifier that reloads itself.
//!
//! No HTTP/2 keepalive is configured: Go peers close connections that ping more often than every five minutes.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::net::{TcpStream, UnixStream};
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::tls::PeerName;

/// Bound on a TCP connection and its TLS handshake together: managers are near, and a caller has others to try.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a peer may send on one call before we have read it.
const STREAM_WINDOW_BYTES: u32 = 1024 * 1024;
/// The same for a whole connection: large against one call, because a manager passes on the streams of thousands of
/// workers over one, and a few that are not read must not stop the others.
const CONNECTION_WINDOW_BYTES: u32 = 64 * 1024 * 1024;

/// Why there is no channel.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// Not an address that can be dialled.
    #[error("{addr:?} is not an address: expected HOST:PORT")]
    Address {
        /// What was given.
        addr: String,
    },
    /// Connecting failed, the handshake included.
    #[error("cannot connect to {addr}")]
    Connect {
        /// What was dialled.
        addr: String,
        /// The transport's reason; its own sources say more.
        source: tonic::transport::Error,
    },
}

/// How to reach managers over TCP: a TLS configuration and the name to verify.
#[derive(Clone)]
pub struct Dial {
    tls: Arc<ClientConfig>,
    name: PeerName,
}

impl Dial {
    /// Dials with this configuration, verifying this name.
    pub fn new(tls: Arc<ClientConfig>, name: PeerName) -> Dial {
        Dial { tls, name }
    }

    /// Connects to `HOST:PORT` now. Safe to drop.
    pub async fn connect(&self, addr: &str) -> Result<Channel, ConnectError> {
        let endpoint = endpoint(addr)?;
        let connecting = endpoint.connect_with_connector(self.connector(addr));
        connecting.await.map_err(|source| ConnectError::Connect { addr: addr.to_owned(), source })
    }

    /// A channel to `HOST:PORT` that connects when it is first used, and again whenever the connection was lost.
    pub fn connect_lazy(&self, addr: &str) -> Result<Channel, ConnectError> {
        Ok(endpoint(addr)?.connect_with_connector_lazy(self.connector(addr)))
    }

    fn connector(
        &self,
        addr: &str,
    ) -> impl tower::Service<
        Uri,
        Response = TokioIo<tokio_rustls::client::TlsStream<TcpStream>>,
        Error = io::Error,
        Future = impl Future<Output = io::Result<TokioIo<tokio_rustls::client::TlsStream<TcpStream>>>>
                 + Send
                 + use<>,
    > + Send
    + use<> {
        let addr: Arc<str> = addr.into();
        let dial = self.clone();
        tower::service_fn(move |_: Uri| {
            let (addr, dial) = (Arc::clone(&addr), dial.clone());
            async move {
                let connecting = async {
                    let tcp = TcpStream::connect(&*addr).await?;
                    tcp.set_nodelay(true)?;
                    let connector = TlsConnector::from(dial.tls);
                    connector.connect(dial.name.server_name(), tcp).await
                };
                let stream = tokio::time::timeout(CONNECT_TIMEOUT, connecting)
                    .await
                    .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connect timed out"))??;
                Ok(TokioIo::new(stream))
            }
        })
    }
}

/// A channel to a control socket in plaintext, connected when it is first used. The file's mode is the protection.
pub fn unix(path: &Path) -> Channel {
    let path: PathBuf = path.to_owned();
    let connector = tower::service_fn(move |_: Uri| {
        let path = path.clone();
        async move { io::Result::Ok(TokioIo::new(UnixStream::connect(path).await?)) }
    });
    Endpoint::from_static("http://control.sock").connect_with_connector_lazy(connector)
}

/// A channel to a control socket that speaks TLS only, as SwarmKit's does; nothing is verified.
pub fn unix_tls(path: &Path) -> Channel {
    let path: PathBuf = path.to_owned();
    let tls = crate::tls::unverified_client_config();
    let connector = tower::service_fn(move |_: Uri| {
        let (path, tls) = (path.clone(), Arc::clone(&tls));
        async move {
            let stream = UnixStream::connect(path).await?;
            let connecting =
                TlsConnector::from(tls).connect(PeerName::Manager.server_name(), stream);
            io::Result::Ok(TokioIo::new(connecting.await?))
        }
    });
    Endpoint::from_static("http://control.sock").connect_with_connector_lazy(connector)
}

/// The endpoint's scheme is `http`: to tonic, our connector is a plain one.
fn endpoint(addr: &str) -> Result<Endpoint, ConnectError> {
    let invalid = || ConnectError::Address { addr: addr.to_owned() };
    let (_, port) = addr.rsplit_once(':').ok_or_else(invalid)?;
    port.parse::<u16>().map_err(|_| invalid())?;
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|_| invalid())?;
    Ok(endpoint
        .connect_timeout(CONNECT_TIMEOUT)
        .tcp_nodelay(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES))
}
