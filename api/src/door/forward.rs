//! Passing a call on to the leader: the frames go through as they are, in both directions, with trailers and status.
//!
//! **At most once.** A unary call is made again only if the first one is known not to have been carried out (there was
//! no connection, it was not sent, or the manager that was asked refused it because it does not lead), or if making it
//! twice does no harm ([`Route::repeatable`]). Otherwise the caller is told that the call may or may not have been
//! carried out. SwarmKit makes any unary call again whose connection broke; a service created twice is the price.
//! A call that is answered by a stream is made again for a short while only ([`STREAM_PATIENCE`]), and never once it
//! was opened: its caller knows how to begin anew. One whose request is a stream is made once.
//!
//! **Cancellation.** Dropping the future or the response's body resets the stream to the leader; a leader that ends the
//! call early ends it for the caller. A connection that breaks becomes `UNAVAILABLE` in the trailers.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, Method, Request, Response, Uri, Version};
use http_body_util::{BodyExt as _, Full, Limited};
use tokio::time::Instant;
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::{Service, ServiceExt as _};

use super::{Around, await_leader::await_leader, passed_on::PassedOn, serve};
use crate::{
    caller::Caller,
    deadline,
    leader::Leader,
    metadata::{self, redirects},
    routes::Route,
};

/// The largest request of a unary call that is passed on, frame head included: what a SwarmKit leader takes.
pub const MAX_UNARY_BYTES: usize = super::MAX_MESSAGE_BYTES + 5;

/// How long a call without a deadline waits for a leader and tries again: two elections of a stock cluster and the
/// answer, as SwarmKit's own requests of the raft group.
pub const PATIENCE: Duration = Duration::from_secs(25);

/// How long a call that is answered by a stream is made again while the manager that it belongs to cannot be reached. A
/// worker opens its session by such a call, with 5 s for the answer; told at once that the leader which just died cannot
/// be reached, it backs off for longer, at each try, than the group takes to elect another one.
pub const STREAM_PATIENCE: Duration = Duration::from_secs(2);

/// Pause between two attempts when nothing says that the leader has changed; SwarmKit's figure.
const RETRY_INTERVAL: Duration = Duration::from_millis(500);

const REDIRECTED: &str = "more than one redirect to leader from: ";

/// What happened to one attempt that gave no answer.
enum Failure {
    /// It is certain that nothing was carried out.
    NotSent(Status),
    /// It may have been carried out.
    Unknown(Status),
    /// The caller's time is up.
    Deadline,
}

/// Serves one call of a method that belongs to the leader while this manager is not known to lead.
pub(super) async fn forward<S>(
    around: Arc<Around>,
    route: &'static Route,
    request: Request<Body>,
    services: S,
) -> Response<Body>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send,
    S::Future: Send,
{
    match try_forward(&around, route, request, services).await {
        Ok(response) => response,
        Err(status) => status.into_http(),
    }
}

async fn try_forward<S>(
    around: &Around,
    route: &'static Route,
    request: Request<Body>,
    services: S,
) -> Result<Response<Body>, Status>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = std::convert::Infallible>
        + Clone
        + Send,
    S::Future: Send,
{
    let deadline = deadline::deadline(request.headers(), Instant::now());
    let until = deadline.unwrap_or_else(|| Instant::now() + PATIENCE);
    let (parts, body) = request.into_parts();
    let caller = parts
        .extensions
        .get::<Caller>()
        .cloned()
        .ok_or_else(|| Status::internal("the door did not say who is calling"))?;

    if route.method.client_streaming {
        return match await_leader(&*around.leader, until).await? {
            Leader::Remote { addr, .. } => {
                refuse_second_redirect(&parts.headers)?;
                let headers = outgoing(&parts.headers, &caller, deadline);
                attempt(around, route, &addr, headers, body, deadline).await.map_err(Status::from)
            }
            _ => answer(serve(services, Request::from_parts(parts, body)).await),
        };
    }

    let again_until = match route.is_unary() {
        true => until,
        false => until.min(Instant::now() + STREAM_PATIENCE),
    };
    let body = tokio::time::timeout_at(until, collect(body))
        .await
        .map_err(|_| Status::deadline_exceeded("the request did not arrive in time"))??;
    loop {
        let changed = around.leader.changed();
        let Leader::Remote { addr, node_id } = await_leader(&*around.leader, until).await? else {
            let request = Request::from_parts(parts, Body::new(Full::new(body)));
            return answer(serve(services, request).await);
        };
        refuse_second_redirect(&parts.headers)?;
        let headers = outgoing(&parts.headers, &caller, deadline);
        let again = Body::new(Full::new(body.clone()));
        let status = match attempt(around, route, &addr, headers, again, deadline).await {
            Ok(response) if was_redirected_again(&response) => {
                Status::unavailable(format!("manager {node_id} at {addr} does not lead any more"))
            }
            Ok(response) => return Ok(response),
            Err(Failure::NotSent(status)) => status,
            Err(Failure::Unknown(status)) if route.repeatable => status,
            Err(failure) => return Err(failure.into()),
        };
        let next = Instant::now() + RETRY_INTERVAL;
        if next >= again_until {
            return Err(status);
        }
        tracing::debug!(
            method = route.method.path,
            leader = addr,
            "call to the leader failed and is made again: {status}"
        );
        let _ = tokio::time::timeout_at(next, changed).await;
    }
}

fn answer(
    response: Result<Response<Body>, std::convert::Infallible>,
) -> Result<Response<Body>, Status> {
    match response {
        Ok(response) => Ok(response),
        Err(never) => match never {},
    }
}

/// A call goes from manager to manager once: were two of them wrong about the leader, it would go round for ever.
fn refuse_second_redirect(headers: &HeaderMap) -> Result<(), Status> {
    match redirects(headers) {
        Some(from) => Err(Status::resource_exhausted(format!("{REDIRECTED}{from}"))),
        None => Ok(()),
    }
}

/// Whether the manager that was asked refused to pass the call on once more: then it was carried out nowhere.
fn was_redirected_again(response: &Response<Body>) -> bool {
    Status::from_header_map(response.headers()).is_some_and(|status| {
        status.code() == Code::ResourceExhausted && status.message().starts_with(REDIRECTED)
    })
}

fn outgoing(incoming: &HeaderMap, caller: &Caller, deadline: Option<Instant>) -> HeaderMap {
    let mut headers = metadata::outgoing(incoming, caller);
    deadline::write(&mut headers, deadline, Instant::now());
    headers
}

async fn collect(body: Body) -> Result<Bytes, Status> {
    match Limited::new(body, MAX_UNARY_BYTES).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            Err(Status::resource_exhausted(format!(
                "the request is larger than the {MAX_UNARY_BYTES} bytes that the leader takes"
            )))
        }
        Err(error) => Err(match error.downcast::<Status>() {
            Ok(refused) if refused.code() == Code::ResourceExhausted => *refused,
            Ok(broken) => Status::cancelled(format!("the request was not sent whole: {broken}")),
            Err(error) => Status::cancelled(format!("the request was not sent whole: {error}")),
        }),
    }
}

async fn attempt(
    around: &Around,
    route: &Route,
    addr: &str,
    headers: HeaderMap,
    body: Body,
    deadline: Option<Instant>,
) -> Result<Response<Body>, Failure> {
    let path = route.method.path;
    let channel: Channel = around.pool.get(addr).map_err(|error| {
        Failure::NotSent(Status::unavailable(format!("connection error: {error}")))
    })?;
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = Uri::from_static(route.method.path);
    *request.version_mut() = Version::HTTP_2;
    *request.headers_mut() = headers;

    let call = channel.oneshot(request).boxed();
    let outcome = match deadline {
        None => call.await,
        Some(deadline) => {
            tokio::time::timeout_at(deadline, call).await.map_err(|_| Failure::Deadline)?
        }
    };
    match outcome {
        Ok(response) => {
            let stopped = match (&around.stop, route.is_unary()) {
                (Some(stop), false) => Some(stop.clone().cancelled_owned().boxed()),
                _ => None,
            };
            Ok(response.map(|body| Body::new(PassedOn::new(body, path, stopped))))
        }
        Err(error) if is_timeout(&error) => Err(Failure::Deadline),
        Err(error) => {
            let text = full_text(&error);
            if was_not_sent(&error) {
                Err(Failure::NotSent(Status::unavailable(format!(
                    "connection error: the leader at {addr} cannot be reached: {text}"
                ))))
            } else {
                Err(Failure::Unknown(Status::unavailable(format!(
                    "connection error: the connection to the leader at {addr} broke during {path}, \
                     which may or may not have been carried out: {text}"
                ))))
            }
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Status {
        match failure {
            Failure::NotSent(status) | Failure::Unknown(status) => status,
            Failure::Deadline => Status::deadline_exceeded(
                "the leader did not answer before the caller's deadline; \
                 the call may or may not have been carried out",
            ),
        }
    }
}

fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| (*error).source())
}

fn full_text(error: &(dyn Error + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

/// No connection was made, or the one there was closed before the request went out.
fn was_not_sent(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| {
        cause.is::<tonic::ConnectError>()
            || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_canceled)
    })
}

fn is_timeout(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|cause| cause.is::<tonic::TimeoutExpired>())
}
