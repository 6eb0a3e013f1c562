//! The remote listener of a manager: up before the raft node is, because the leader dials back while this manager
//! joins. Until then only Health answers.

use std::{
    convert::Infallible,
    io,
    net::SocketAddr,
    sync::{Arc, OnceLock},
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use skep_api::{Door, Health, Leader, LeaderRoute, RemoteListener, Surroundings};
use skep_ca::SecurityConfig;
use skep_proto::swarmkit::health_server::HealthServer;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body, server::NamedService as _, service::Routes};
use tower::{Service, ServiceExt as _};

use super::{NodeError, identity::RaftLeader};

/// Services that are not there from the start.
#[derive(Clone)]
pub struct LateServices {
    health: HealthServer<Health>,
    services: Arc<OnceLock<Routes>>,
}

impl LateServices {
    /// Only Health for now.
    pub fn new(health: &Health) -> LateServices {
        LateServices { health: health.service(), services: Arc::default() }
    }

    /// From now on these answer too; the first call counts.
    pub fn complete(&self, services: Routes) {
        let _ = self.services.set(services);
    }
}

impl Service<Request<Body>> for LateServices {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let service = request.uri().path().trim_start_matches('/').split('/').next();
        if service == Some(HealthServer::<Health>::NAME) {
            return self.health.clone().oneshot(request).boxed();
        }
        match self.services.get() {
            Some(services) => services.clone().oneshot(request).boxed(),
            None => {
                let status = Status::unavailable("this manager is still starting: try again");
                std::future::ready(Ok(status.into_http())).boxed()
            }
        }
    }
}

/// Who leads, once there is a raft node to ask.
#[derive(Clone, Default)]
pub struct LateLeader {
    leader: Arc<OnceLock<RaftLeader>>,
    known: Arc<tokio::sync::Notify>,
}

impl LateLeader {
    /// From now on this one knows; the first call counts.
    pub fn complete(&self, leader: RaftLeader) {
        let _ = self.leader.set(leader);
        self.known.notify_waiters();
    }
}

impl LeaderRoute for LateLeader {
    fn leader(&self) -> Leader {
        self.leader.get().map_or(Leader::Unknown { for_ticks: 0 }, LeaderRoute::leader)
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let known = Arc::clone(&self.known);
        let mut notified = Box::pin(known.notified_owned());
        notified.as_mut().enable();
        match self.leader.get() {
            Some(leader) => leader.changed(),
            None => notified.boxed(),
        }
    }
}

/// A remote listener that is bound, and served from [`serve`](Self::serve) on.
pub struct Remote {
    listener: RemoteListener,
    /// Where it listens.
    pub addr: SocketAddr,
}

impl Remote {
    /// Binds. Port 0 lets the system choose.
    pub async fn bind(addr: SocketAddr, security: &SecurityConfig) -> Result<Remote, NodeError> {
        let bound = async {
            let listener = RemoteListener::bind(addr, Arc::new(security.clone())).await?;
            let addr = listener.local_addr()?;
            Ok(Remote { listener, addr })
        };
        bound.await.map_err(|error: io::Error| NodeError::Listen {
            addr: addr.to_string(),
            reason: format!("{error}; choose another --listen address, or stop what uses this one"),
        })
    }

    /// Serves behind the door until `closing`. At `stop` the streams that are passed on to the leader end.
    pub async fn serve(
        self,
        around: Surroundings,
        services: LateServices,
        stop: CancellationToken,
        closing: CancellationToken,
    ) {
        self.listener.serve(Door::remote(around, services).until(stop), closing).await;
    }
}
