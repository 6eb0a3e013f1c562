//! The services behind a listener, which change while it listens: a control socket is there before its node is a
//! manager, and goes on being there when it is one no more.

use std::{
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use arc_swap::ArcSwap;
use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use tonic::{body::Body, service::Routes};
use tower::{Service, ServiceExt as _};

/// Services that can be replaced. All clones are the same ones; a call goes on with what it began with.
#[derive(Clone, Default)]
pub struct Services {
    routes: Arc<ArcSwap<Routes>>,
}

impl Services {
    /// These services, for now.
    pub fn new(routes: Routes) -> Self {
        Self { routes: Arc::new(ArcSwap::from_pointee(routes.prepare())) }
    }

    /// Replaces all services for calls that begin from now on.
    pub fn replace(&self, routes: Routes) {
        self.routes.store(Arc::new(routes.prepare()));
    }
}

impl Service<Request<Body>> for Services {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Routes::clone(&self.routes.load()).oneshot(request).boxed()
    }
}
