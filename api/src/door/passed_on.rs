//! The body of a leader's answer on its way to the caller: frames as they are, and a status where the connection broke.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// Ends with trailers that say what happened when the connection to the leader breaks, where HTTP/2 alone would show
/// the caller a reset stream.
pub(super) struct PassedOn {
    /// `None` after the end.
    body: Option<Body>,
    path: &'static str,
}

impl PassedOn {
    pub(super) fn new(body: Body, path: &'static str) -> Self {
        Self { body: Some(body), path }
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
        match std::task::ready!(Pin::new(body).poll_frame(cx)) {
            Some(Err(error)) => {
                self.body = None;
                let status = Status::unavailable(format!(
                    "connection error: the connection to the leader broke during {path}: {}",
                    error.message()
                ));
                let mut trailers = HeaderMap::new();
                Poll::Ready(Some(
                    status.add_header(&mut trailers).map(|()| Frame::trailers(trailers)),
                ))
            }
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
