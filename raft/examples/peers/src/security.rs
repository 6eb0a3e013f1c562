//! Who may connect: holders of a certificate of the group's own CA, or, without TLS, whoever is on this machine.

use std::{
    fs, io,
    net::SocketAddr,
    path::Path,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, SystemTime},
};

use skep_ca::{Clock, Credentials, Identity, NodeKey, PeerName, Role, RootCa, SecurityConfig};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, lookup_host},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};
use tonic::transport::server::Connected;

use crate::wire::CONNECT_TIMEOUT;

/// How long certificates that [`make_certificates`] issues are valid: an example's own CA has nobody to renew them.
const LIFETIME: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How connections between members are protected.
#[derive(Clone, Debug)]
pub enum Security {
    /// In the clear; only ever to and from loopback addresses.
    Loopback,
    /// TLS on both sides: every member has a certificate of the same CA.
    Tls(SecurityConfig),
}

/// Why there is no [`Security`], or there are no certificates.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// A file cannot be read or written.
    #[error("cannot {action} {path}")]
    File {
        /// "read" or "write".
        action: &'static str,
        /// The file.
        path: String,
        /// Why.
        source: io::Error,
    },
    /// What is in the files does not do.
    #[error("the certificates in {folder} cannot be used: {reason}")]
    Unusable {
        /// The folder.
        folder: String,
        /// Why.
        reason: String,
    },
}

fn read(path: &Path) -> Result<Vec<u8>, SecurityError> {
    let failed =
        |source| SecurityError::File { action: "read", path: path.display().to_string(), source };
    fs::read(path).map_err(failed)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), SecurityError> {
    use std::{io::Write as _, os::unix::fs::OpenOptionsExt as _};
    let file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(bytes)).map_err(|source| SecurityError::File {
        action: "write",
        path: path.display().to_string(),
        source,
    })
}

impl Security {
    /// TLS with `ca.pem`, `cert.pem` and `key.pem` of a folder, as [`make_certificates`] writes it.
    pub fn from_folder(folder: &Path) -> Result<Security, SecurityError> {
        let unusable = |reason: String| SecurityError::Unusable {
            folder: folder.display().to_string(),
            reason,
        };
        let clock = Clock::system();
        let root = RootCa::from_pem(read(&folder.join("ca.pem"))?.into(), clock.now())
            .map_err(|error| unusable(error.to_string()))?;
        let key = NodeKey::from_pem(&read(&folder.join("key.pem"))?)
            .map_err(|error| unusable(error.to_string()))?;
        let credentials = Credentials::new(read(&folder.join("cert.pem"))?.into(), key)
            .map_err(|error| unusable(error.to_string()))?;
        let config = SecurityConfig::new(root, credentials, clock)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Security::Tls(config))
    }

    /// Whether this address may be used with this protection.
    ///
    /// # Errors
    /// When it is in the clear and the address is not on this machine.
    pub fn check_addr(&self, addr: SocketAddr) -> io::Result<()> {
        if matches!(self, Security::Loopback) && !addr.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!("{addr} is not a loopback address, so the members' connections need TLS"),
            ));
        }
        Ok(())
    }

    /// Connects to `host:port`. Bounded in time.
    pub(crate) async fn connect(&self, addr: &str) -> io::Result<Stream> {
        let connecting = async {
            let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
            for found in lookup_host(addr).await? {
                self.check_addr(found)?;
                match TcpStream::connect(found).await {
                    Ok(tcp) => return self.secure(tcp).await,
                    Err(error) => last = error,
                }
            }
            Err(last)
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connecting)
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, "connecting took too long"))?
    }

    async fn secure(&self, tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true)?;
        Ok(match self {
            Security::Loopback => Stream(Box::pin(tcp)),
            Security::Tls(config) => {
                let connector = TlsConnector::from(config.client_config());
                let name = PeerName::Manager.server_name();
                Stream(Box::pin(connector.connect(name, tcp).await?))
            }
        })
    }

    /// Takes a connection that came in. Bounded in time.
    pub(crate) async fn accept(&self, tcp: TcpStream) -> io::Result<Stream> {
        tcp.set_nodelay(true)?;
        let Security::Tls(config) = self else { return Ok(Stream(Box::pin(tcp))) };
        let accepting = TlsAcceptor::from(config.server_config()).accept(tcp);
        let stream = tokio::time::timeout(CONNECT_TIMEOUT, accepting).await.map_err(|_| {
            io::Error::new(io::ErrorKind::TimedOut, "the handshake took too long")
        })??;
        let leaf = stream.get_ref().1.peer_certificates().and_then(|chain| chain.first());
        let identity = leaf.map(Identity::from_certificate);
        match identity {
            Some(Ok(identity)) if identity.role == Role::Manager => Ok(Stream(Box::pin(stream))),
            _ => Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the caller has no certificate of a member",
            )),
        }
    }
}

/// Makes a CA, and a folder of [`Security::from_folder`] below `out` for each name. The CA's key is not kept: make all
/// certificates at once, and some to spare.
pub fn make_certificates(out: &Path, names: &[String]) -> Result<(), SecurityError> {
    let unusable =
        |reason: String| SecurityError::Unusable { folder: out.display().to_string(), reason };
    let now = SystemTime::now();
    let root = RootCa::generate(now).map_err(|error| unusable(error.to_string()))?;
    let cluster = skep_proto::ids::ClusterId::random(&mut rand::rng());
    for name in names {
        let folder = out.join(name);
        fs::create_dir_all(&folder).map_err(|source| SecurityError::File {
            action: "write",
            path: folder.display().to_string(),
            source,
        })?;
        let key = NodeKey::generate().map_err(|error| unusable(error.to_string()))?;
        let csr = key.request().map_err(|error| unusable(error.to_string()))?;
        let identity = Identity {
            node_id: skep_proto::ids::NodeId::random(&mut rand::rng()),
            role: Role::Manager,
            cluster_id: cluster,
        };
        let chain = root
            .issue(&csr, identity, LIFETIME, now)
            .map_err(|error| unusable(error.to_string()))?;
        write(&folder.join("ca.pem"), root.pem())?;
        write(&folder.join("cert.pem"), &chain)?;
        write(&folder.join("key.pem"), &key.to_pem())?;
    }
    Ok(())
}

trait Io: AsyncRead + AsyncWrite + Send {}
impl<T: AsyncRead + AsyncWrite + Send> Io for T {}

/// A connection, protected or not.
pub(crate) struct Stream(Pin<Box<dyn Io>>);

impl Connected for Stream {
    type ConnectInfo = ();

    fn connect_info(&self) {}
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_read(cx, buf)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.as_mut().poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.0.as_mut().poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }
}

/// A connector for tonic that always goes to this address.
pub(crate) fn connector(
    security: &Security,
    addr: &str,
) -> impl tower::Service<
    tonic::transport::Uri,
    Response = hyper_util::rt::TokioIo<Stream>,
    Error = io::Error,
    Future = impl Future<Output = io::Result<hyper_util::rt::TokioIo<Stream>>> + Send + use<>,
> + Send
+ use<> {
    let (security, addr): (Security, Arc<str>) = (security.clone(), addr.into());
    tower::service_fn(move |_| {
        let (security, addr) = (security.clone(), addr.clone());
        async move { Ok(hyper_util::rt::TokioIo::new(security.connect(&addr).await?)) }
    })
}
