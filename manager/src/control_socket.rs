//! The control socket of a daemon: there as long as the daemon is, whatever state it is in.
//!
//! `skep.v1.Daemon` always answers. Everything else goes to the manager that runs behind it, when one does; if not,
//! the answer says what the daemon is instead and what to do.

use std::{
    convert::Infallible,
    path::Path,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use skep_api::{ControlSocket, ServerTls};
use skep_proto::skep::daemon_server::DaemonServer;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService as _};
use tower::{Service, ServiceExt as _};

use crate::{
    daemon::{Daemon, DaemonError, DaemonService, State},
    node::NodeError,
};

/// A control socket that is bound and not served yet.
pub struct Bound {
    socket: ControlSocket,
    tls: Arc<DaemonTls>,
}

/// TLS of the node that the daemon is at the moment.
#[derive(Default)]
struct DaemonTls {
    daemon: std::sync::OnceLock<Daemon>,
}

impl ServerTls for DaemonTls {
    fn server_config(&self) -> Option<Arc<rustls::ServerConfig>> {
        match self.daemon.get()?.state() {
            State::Active(node) => Some(node.security().server_config()),
            _ => None,
        }
    }
}

/// Takes the path. Fails when another daemon answers on it.
pub fn bind(path: &Path) -> anyhow::Result<Bound> {
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        use std::os::unix::fs::DirBuilderExt as _;
        std::fs::DirBuilder::new().recursive(true).mode(0o755).create(folder)?;
    }
    let tls = Arc::new(DaemonTls::default());
    let socket = ControlSocket::bind(path, Arc::clone(&tls) as Arc<dyn ServerTls>)?;
    Ok(Bound { socket, tls })
}

/// Serves the socket for a daemon until `shutdown` fires and calls have ended.
pub async fn serve(bound: Bound, daemon: Daemon, shutdown: CancellationToken) {
    let _ = bound.tls.daemon.set(daemon.clone());
    let lifecycle = DaemonServer::new(DaemonService::new(daemon.clone()));
    bound.socket.serve(Switch { daemon, lifecycle }, shutdown).await;
}

/// Sends each request to the daemon itself or to the manager behind it.
#[derive(Clone)]
struct Switch {
    daemon: Daemon,
    lifecycle: DaemonServer<DaemonService>,
}

impl Service<Request<Body>> for Switch {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = request.uri().path().trim_start_matches('/').split('/').next();
        if service == Some(DaemonServer::<DaemonService>::NAME) {
            return self.lifecycle.clone().oneshot(request).boxed();
        }
        let status: Status = match self.daemon.state() {
            State::Active(node) => match node.manager() {
                Some(manager) => return manager.local_service().oneshot(request).boxed(),
                None => NodeError::NotManager.into(),
            },
            State::Locked => DaemonError::Locked.into(),
            State::Inactive { .. } => DaemonError::NotInSwarm.into(),
            State::Pending => {
                Status::unavailable("this node is on its way into a swarm: try again")
            }
            State::Failed(error) => Status::failed_precondition(error),
        };
        std::future::ready(Ok(status.into_http())).boxed()
    }
}
