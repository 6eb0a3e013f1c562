//! The body of a leader's answer on its way to the caller: frames as they are, and a status where the connection broke.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// Ends with trailers that say what happened when the connection to the leader breaks or this manager stops, where
/// HTTP/2 alone would show the caller a reset stream.
pub(super) struct PassedOn {
    /// `None` after the end.
    body: Option<Body>,
    path: &'static str,
    /// Resolves when this manager stops; for streams, which would not end by themselves.
    stopped: Option<BoxFuture<'static, ()>>,
}

impl PassedOn {
    pub(super) fn new(
        body: Body,
        path: &'static str,
        stopped: Option<BoxFuture<'static, ()>>,
    ) -> Self {
        Self { body: Some(body), path, stopped }
    }

    /// Ends the body with this status.
    fn end(&mut self, status: &Status) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.body = None;
        let mut trailers = HeaderMap::new();
        Poll::Ready(Some(status.add_header(&mut trailers).map(|()| Frame::trailers(trailers))))
    }
}

impl http_body::Body for PassedOn {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let path = self.path;
        let Some(body) = self.body.as_mut() else { return Poll::Ready(None) };
        let polled = Pin::new(body).poll_frame(cx);
        if polled.is_pending()
            && let Some(stopped) = self.stopped.as_mut()
            && stopped.as_mut().poll(cx).is_ready()
        {
            return self.end(&Status::unavailable(
                "connection error: this manager is stopping; call another one",
            ));
        }
        match std::task::ready!(polled) {
            Some(Err(error)) => self.end(&Status::unavailable(format!(
                "connection error: the connection to the leader broke during {path}: {}",
                error.message()
            ))),
            None => {
                self.body = None;
                Poll::Ready(None)
            }
            frame => Poll::Ready(frame),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}
