//! The door: every request passes here on its way to a service, on both listeners.
//!
//! In this order: is there such a method on this listener; who is calling; may they; does the call belong to the
//! leader, and if that is somebody else, pass it on. The listener puts the [`Caller`] of the connection into the
//! request's extensions; the door replaces it by the effective one, which is what services read. Metadata about
//! forwarding never reaches a service.

mod authorize;
mod await_leader;
mod forward;
mod one_message;
mod passed_on;

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::{Status, body::Body};
use tower::{Service, ServiceExt as _};

use crate::{
    caller::{Caller, CallerKind},
    deadline,
    identity::{Blacklist, IdentitySource, OwnIdentity},
    leader::{Leader, LeaderRoute},
    metadata,
    pool::ChannelPool,
    routes::{self, Exposure, Listener, Route},
};
pub use authorize::{Denied, FormerManagers, authorize};
pub use await_leader::NO_LEADER;
pub use forward::{MAX_UNARY_BYTES, PATIENCE, STREAM_PATIENCE};
pub use one_message::MAX_MESSAGE_BYTES;
use one_message::OneMessage;

/// What the door has to know of the rest of the manager.
#[derive(Clone)]
pub struct Surroundings {
    /// This node's own identity.
    pub identity: Arc<dyn IdentitySource>,
    /// The removed nodes.
    pub blacklist: Arc<dyn Blacklist>,
    /// The leader.
    pub leader: Arc<dyn LeaderRoute>,
    /// Connections to other managers.
    pub pool: ChannelPool,
}

/// [`Surroundings`], and when to stop.
#[derive(Clone)]
struct Around {
    given: Surroundings,
    stop: Option<CancellationToken>,
}

impl std::ops::Deref for Around {
    type Target = Surroundings;

    fn deref(&self) -> &Surroundings {
        &self.given
    }
}

/// The door in front of the services `S` of one listener. Cheap to clone; always ready.
#[derive(Clone)]
pub struct Door<S> {
    listener: Listener,
    around: Arc<Around>,
    services: S,
}

impl<S> Door<S> {
    /// The door of the remote listener.
    pub fn remote(around: Surroundings, services: S) -> Self {
        Self::of(Listener::Remote, around, services)
    }

    /// The door of the control socket: whoever may open the socket speaks as this node.
    pub fn local(around: Surroundings, services: S) -> Self {
        Self::of(Listener::Local, around, services)
    }

    fn of(listener: Listener, given: Surroundings, services: S) -> Self {
        Self { listener, around: Arc::new(Around { given, stop: None }), services }
    }

    /// Ends streams that are passed on to the leader when this manager stops, with `UNAVAILABLE`, so that their callers
    /// go to another manager at once rather than after the listener's grace. Streams of this manager's own services
    /// are ended by those.
    #[must_use]
    pub fn until(mut self, stop: CancellationToken) -> Self {
        self.around = Arc::new(Around { stop: Some(stop), ..Around::clone(&self.around) });
        self
    }

    /// Decides about a request and leaves the effective caller in its extensions.
    fn admit(&self, request: &mut Request<Body>) -> Result<&'static Route, Status> {
        let path = request.uri().path();
        let route = routes::route(path)
            .filter(|route| route.on(self.listener) != Exposure::Absent)
            .ok_or_else(|| Status::unimplemented(format!("unknown method {path}")))?;
        let own = self.around.identity.identity();
        let caller =
            match self.listener {
                Listener::Local => own_caller(own.as_deref()),
                Listener::Remote => {
                    let peer = request.extensions_mut().remove::<Caller>().ok_or_else(|| {
                        Status::internal("the listener did not say who is calling")
                    })?;
                    let own = own.ok_or_else(|| {
                        Status::unavailable("this node has no certificate yet; try again later")
                    })?;
                    let claim = metadata::claim(request.headers());
                    let (access, former) = (route.method.access, self.former_managers(route));
                    authorize(access, &peer, claim, &own, &*self.around.blacklist, former)
                        .inspect_err(|denied| {
                            tracing::debug!(
                                method = route.method.path,
                                node = &*peer.node_id,
                                from = &*peer.remote_addr,
                                "call refused: {denied}"
                            );
                        })?
                }
            };
        metadata::strip(request.headers_mut());
        request.extensions_mut().insert(caller);
        Ok(route)
    }
}

impl<S> Door<S> {
    /// Members of the raft group know each other better than the store does. And where this manager only passes calls on,
    /// its store may be behind, and take one that was just promoted for a worker; the leader looks again.
    fn former_managers(&self, route: &Route) -> FormerManagers {
        let decided_here = route.on(self.listener) == Exposure::Here
            || self.around.leader.leader() == Leader::Local;
        match decided_here && !route.is_of_raft() {
            true => FormerManagers::Refused,
            false => FormerManagers::Admitted,
        }
    }
}

/// The caller that a request on the control socket counts as. Without a certificate it has no name yet.
fn own_caller(own: Option<&OwnIdentity>) -> Caller {
    let Some(own) = own else {
        return Caller { kind: CallerKind::Local, ..Caller::anonymous("127.0.0.1:0") };
    };
    Caller {
        node_id: own.node_id.clone(),
        cluster_id: own.cluster_id.clone(),
        units: own.units.clone(),
        remote_addr: own.addr.clone(),
        kind: CallerKind::Local,
    }
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        let route = match self.admit(&mut request) {
            Ok(route) => route,
            Err(status) => return std::future::ready(Ok(status.into_http())).boxed(),
        };
        if !route.takes_large_messages() {
            request = request.map(|body| Body::new(OneMessage::new(body)));
        }
        let services = self.services.clone();
        let here = route.on(self.listener) == Exposure::Here
            || self.around.leader.leader() == Leader::Local;
        if here {
            serve(services, request).boxed()
        } else {
            forward::forward(self.around.clone(), route, request, services).map(Ok).boxed()
        }
    }
}

/// Lets a service of this manager answer, within the caller's deadline.
async fn serve<S>(services: S, request: Request<Body>) -> Result<Response<Body>, Infallible>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    let deadline = deadline::deadline(request.headers(), Instant::now());
    let answer = services.oneshot(request);
    let Some(deadline) = deadline else { return answer.await };
    match tokio::time::timeout_at(deadline, answer).await {
        Ok(answer) => answer,
        Err(_) => {
            Ok(Status::deadline_exceeded("the caller's deadline passed before there was an answer")
                .into_http())
        }
    }
}
