//! One connection: HTTP/2 over whatever the listener made of the socket.

use std::{convert::Infallible, time::Duration};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::{Service, ServiceExt as _};

use crate::caller::Caller;

/// Calls at a time on a manager's connection. It carries what the manager passes on for all its workers, two streams
/// each, for up to ten thousand of them.
pub const MANAGER_STREAMS_MAX: u32 = 65_536;
/// Calls at a time on a worker's connection: its few long streams, its heartbeats and reports, a stream of logs for each
/// subscription.
pub const WORKER_STREAMS_MAX: u32 = 1_024;
/// Calls at a time on a connection without a certificate, whose three open methods are unary.
pub const ANONYMOUS_STREAMS_MAX: u32 = 16;

/// How long calls may go on after the listener was told to stop.
pub const SHUTDOWN_GRACE: Duration = Duration::from_secs(8);

/// Written by the service and not yet taken by the peer, for one call.
const SEND_BUFFER_BYTES: usize = 64 * 1024;
/// All headers of a call. SwarmKit's calls have well under one kilobyte.
const HEADER_LIST_BYTES_MAX: u32 = 64 * 1024;
/// A peer that vanished without a word is noticed after this and [`KEEPALIVE_TIMEOUT`]. Rare enough for ten thousand
/// idle connections.
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(120);
/// How long the answer to a keepalive may take.
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What one connection may take of this manager, by who is at the other end.
struct Share {
    streams: u32,
    /// Received and not yet read by the service, for one call.
    stream_window_bytes: u32,
    /// The same for the connection: large against one call, so that one slow reader does not stop the others.
    connection_window_bytes: u32,
}

const MANAGERS: Share = Share {
    streams: MANAGER_STREAMS_MAX,
    stream_window_bytes: 1024 * 1024,
    connection_window_bytes: 16 * 1024 * 1024,
};
const WORKERS: Share = Share {
    streams: WORKER_STREAMS_MAX,
    stream_window_bytes: 256 * 1024,
    connection_window_bytes: 1024 * 1024,
};
const ANONYMOUS: Share = Share {
    streams: ANONYMOUS_STREAMS_MAX,
    stream_window_bytes: 64 * 1024,
    connection_window_bytes: 64 * 1024,
};

fn share(caller: &Caller) -> Share {
    if caller.is_manager() {
        MANAGERS
    } else if caller.is_anonymous() {
        ANONYMOUS
    } else {
        WORKERS
    }
}

/// Serves a connection until the peer closes it, or until `stop` and at most [`SHUTDOWN_GRACE`] longer. Dropping the
/// future closes it at once.
pub(super) async fn serve<IO, S>(io: IO, caller: Caller, service: S, stop: CancellationToken)
where
    IO: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send,
{
    let from = caller.remote_addr.clone();
    let share = share(&caller);
    let per_request = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(caller.clone());
        service.clone().oneshot(request)
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(share.streams)
        .initial_stream_window_size(share.stream_window_bytes)
        .initial_connection_window_size(share.connection_window_bytes)
        .max_send_buf_size(SEND_BUFFER_BYTES)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(io), per_request);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            match tokio::time::timeout(SHUTDOWN_GRACE, connection).await {
                Ok(ended) => ended,
                Err(_) => {
                    tracing::debug!(from = &*from, "calls still under way were cut off");
                    Ok(())
                }
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(from = &*from, "connection ended: {error}");
    }
}
