//! The control socket: a unix socket that only its owner may open.
//!
//! It takes TLS without a client certificate, which is what SwarmKit's own clients speak to it although nothing is
//! verified, and plain HTTP/2. The first byte tells them apart: a TLS handshake record begins with 0x16, the preface
//! of HTTP/2 with `P`.

use std::{
    convert::Infallible,
    fs, io,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use http::{Request, Response};
use tokio::{
    io::AsyncReadExt as _,
    net::{UnixListener, UnixStream},
    sync::Semaphore,
    task::JoinSet,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

use super::{
    connection,
    prefixed::Prefixed,
    remote::HANDSHAKE_TIMEOUT,
    stats::{ListenerStats, OpenGuard},
};
use crate::{
    caller::{Caller, MANAGER_UNIT},
    identity::ServerTls,
};

/// Open connections: the agent, operators, and whatever watches the machine.
pub const CONTROL_CONNECTIONS_MAX: usize = 1_024;

const TLS_HANDSHAKE: u8 = 0x16;
const HTTP2_PREFACE: u8 = b'P';
const MODE: u32 = 0o600;
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the control socket could not be made.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Another process answers on it.
    #[error(
        "control socket {path:?} is in use: another daemon listens on it; stop that one or choose another path"
    )]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else has that name.
    #[error(
        "control socket {path:?} cannot be made: there is a file of that name that is no socket; remove it or choose another path"
    )]
    NotASocket {
        /// The file.
        path: PathBuf,
    },
    /// The system refused.
    #[error("control socket {path:?} cannot be made")]
    Io {
        /// The socket.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// A bound, not yet serving control socket. The file is removed when it is dropped or has ended serving.
pub struct ControlSocket {
    listener: UnixListener,
    tls: Arc<dyn ServerTls>,
    stats: Arc<ListenerStats>,
    file: SocketFile,
}

impl ControlSocket {
    /// Makes the socket, mode 0600, in place of a stale one that nobody listens on. Until the node has a certificate
    /// only plain HTTP/2 is taken.
    pub fn bind(path: impl AsRef<Path>, tls: Arc<dyn ServerTls>) -> Result<Self, BindError> {
        let path = path.as_ref().to_owned();
        let io = |source| BindError::Io { path: path.clone(), source };
        refuse_living(&path)?;
        // Bound aside and moved into place, so that the name never stands for a socket that others may open.
        let aside = aside(&path);
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(io(error)),
            _ => {}
        }
        let listener = UnixListener::bind(&aside).map_err(io)?;
        fs::set_permissions(&aside, fs::Permissions::from_mode(MODE)).map_err(io)?;
        let inode = fs::symlink_metadata(&aside).map_err(io)?.ino();
        fs::rename(&aside, &path).map_err(io)?;
        let file = SocketFile { path, inode };
        Ok(Self { listener, tls, stats: Arc::default(), file })
    }

    /// The path of the socket.
    pub fn path(&self) -> &Path {
        &self.file.path
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
        let connections = Arc::new(Semaphore::new(CONTROL_CONNECTIONS_MAX));
        let mut tasks = JoinSet::new();
        loop {
            while tasks.try_join_next().is_some() {}
            let permit = tokio::select! {
                permit = connections.clone().acquire_owned() => permit,
                () = stop.cancelled() => break,
            };
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = stop.cancelled() => break,
            };
            let stream = match accepted {
                Ok((stream, _)) => stream,
                Err(error) => {
                    self.stats.accept_errors.fetch_add(1, Relaxed);
                    tracing::warn!("no connection taken on the control socket: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                    continue;
                }
            };
            self.stats.accepted.fetch_add(1, Relaxed);
            let open = OpenGuard::new(self.stats.clone());
            let (tls, stats) = (self.tls.clone(), self.stats.clone());
            let (service, stop) = (service.clone(), stop.clone());
            tasks.spawn(async move {
                let _held = (permit, open);
                if let Err(error) = serve_one(stream, tls, service, stop).await {
                    stats.handshakes_failed.fetch_add(1, Relaxed);
                    tracing::debug!("connection to the control socket closed: {error}");
                }
            });
        }
        drop(self.listener);
        while tasks.join_next().await.is_some() {}
    }
}

async fn serve_one<S>(
    mut stream: UnixStream,
    tls: Arc<dyn ServerTls>,
    service: S,
    stop: CancellationToken,
) -> io::Result<()>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let first = tokio::select! {
        first = stream.read_u8() => first?,
        () = tokio::time::sleep(HANDSHAKE_TIMEOUT) => return Err(io::ErrorKind::TimedOut.into()),
        () = stop.cancelled() => return Ok(()),
    };
    let stream = Prefixed::new(first, stream);
    // The door names the caller; as a manager it gets that many streams.
    let caller =
        Caller { units: [MANAGER_UNIT.to_owned()].into(), ..Caller::anonymous("control socket") };
    match first {
        HTTP2_PREFACE => connection::serve(stream, caller, service, stop).await,
        TLS_HANDSHAKE => {
            let config = tls.server_config().ok_or_else(|| {
                io::Error::other("TLS was asked for, and this node has no certificate yet")
            })?;
            let handshake = TlsAcceptor::from(config).accept(stream);
            let stream = tokio::time::timeout(HANDSHAKE_TIMEOUT, handshake).await??;
            connection::serve(stream, caller, service, stop).await;
        }
        other => {
            return Err(io::Error::other(format!("neither TLS nor HTTP/2: first byte {other:#x}")));
        }
    }
    Ok(())
}

/// The name under which a socket is made before it is moved into place.
fn aside(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}", std::process::id()));
    path.with_file_name(name)
}

/// Fails if the path is taken by something that may not be replaced.
fn refuse_living(path: &Path) -> Result<(), BindError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(source) => return Err(BindError::Io { path: path.to_owned(), source }),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(BindError::NotASocket { path: path.to_owned() });
        }
        Ok(_) => {}
    }
    // The socket is local: whether somebody listens is known at once.
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(BindError::Io { path: path.to_owned(), source }),
        Ok(_) => Err(BindError::InUse { path: path.to_owned() }),
    }
}

/// Removes the socket, unless another one has taken its place meanwhile.
struct SocketFile {
    path: PathBuf,
    inode: u64,
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.path).is_ok_and(|metadata| metadata.ino() == self.inode)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::debug!("control socket {:?} not removed: {error}", self.path);
        }
    }
}
