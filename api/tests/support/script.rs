//! A service that answers on every path, as the request's `x-script` says:
//!
//! - nothing: `OK`, an empty answer;
//! - `echo`: sends back every frame as it comes, and a trailer;
//! - `fail`: `FAILED_PRECONDITION` with a text and a trailer;
//! - `hang`: answers with headers and then nothing, until the caller goes away;
//! - `silent`: never answers;
//! - `break`: answers with headers, and then resets the stream.
//!
//! The answer's headers say who the door says is calling, and `x-seen` every header that came, one a value.

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
};

use bytes::Bytes;
use futures::{StreamExt as _, future::BoxFuture, stream};
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt as _, StreamBody};
use skep_api::{Caller, CallerKind};
use tonic::{Status, body::Body};
use tower::Service;

#[derive(Clone, Default)]
pub struct Script {
    pub calls: Arc<AtomicUsize>,
    /// Callers that went away before they had an answer.
    pub cancelled: Arc<AtomicUsize>,
}

impl Script {
    pub fn calls(&self) -> usize {
        self.calls.load(SeqCst)
    }

    pub fn cancelled(&self) -> usize {
        self.cancelled.load(SeqCst)
    }
}

struct OnDrop(Arc<AtomicUsize>);

impl Drop for OnDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, SeqCst);
    }
}

impl Service<Request<Body>> for Script {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response<Body>, Infallible>>;

    fn poll_ready(
        &mut self,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Infallible>> {
        std::task::Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.calls.fetch_add(1, SeqCst);
        let cancelled = self.cancelled.clone();
        Box::pin(async move { Ok(answer(request, cancelled).await) })
    }
}

async fn answer(request: Request<Body>, cancelled: Arc<AtomicUsize>) -> Response<Body> {
    let seen = describe(&request);
    let script = request.headers().get("x-script").cloned();
    let script = script.as_ref().and_then(|s| s.to_str().ok()).unwrap_or_default().to_owned();
    let body = match script.as_str() {
        "echo" => Body::new(request.into_body().with_trailers(async { Some(Ok(trailers())) })),
        "hang" => {
            let guard = OnDrop(cancelled);
            let never = stream::pending::<Result<Frame<Bytes>, Status>>().map(move |frame| {
                let _held = &guard;
                frame
            });
            Body::new(StreamBody::new(never))
        }
        "silent" => {
            let _guard = OnDrop(cancelled);
            std::future::pending::<()>().await;
            Body::empty()
        }
        "break" => {
            let frames: [Result<Frame<Bytes>, Status>; 1] =
                [Err(Status::internal("broken on purpose"))];
            Body::new(StreamBody::new(stream::iter(frames)))
        }
        "fail" => {
            let mut status = Status::failed_precondition("not today");
            status.metadata_mut().insert("x-why", "because".parse().expect("ascii"));
            let mut response = status.into_http();
            response.headers_mut().extend(seen);
            return response;
        }
        _ => {
            // As services do: read the request before answering it.
            let _ = request.into_body().collect().await;
            let mut response = Status::ok("").into_http();
            response.headers_mut().extend(seen);
            return response;
        }
    };
    let mut response = Response::new(body);
    response
        .headers_mut()
        .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response.headers_mut().extend(seen);
    response
}

fn trailers() -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    trailers.insert("x-trailer", HeaderValue::from_static("the end"));
    trailers
}

fn describe(request: &Request<Body>) -> HeaderMap {
    let mut seen = HeaderMap::new();
    let text = |text: &str| HeaderValue::from_str(text).expect("printable");
    if let Some(caller) = request.extensions().get::<Caller>() {
        let kind = match &caller.kind {
            CallerKind::Anonymous => "anonymous".to_owned(),
            CallerKind::Certificate => "certificate".to_owned(),
            CallerKind::Forwarded { by } => format!("forwarded by {by}"),
            CallerKind::Local => "local".to_owned(),
        };
        seen.insert("x-kind", text(&kind));
        seen.insert("x-node", text(&caller.node_id));
        seen.insert("x-cluster", text(&caller.cluster_id));
        seen.insert("x-units", text(&caller.units.join(",")));
        seen.insert("x-remote", text(&caller.remote_addr));
    }
    for (name, value) in request.headers() {
        let line = format!("{name}: {}", String::from_utf8_lossy(value.as_bytes()));
        seen.append("x-seen", text(&line));
    }
    seen
}

/// A message with gRPC's head.
pub fn frame(message: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&(message.len() as u32).to_be_bytes());
    frame.extend_from_slice(message);
    frame.into()
}
