//! A caller that sees every header and frame of an answer.

use bytes::Bytes;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, Version};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Status, body::Body, transport::Channel};
use tower::ServiceExt as _;

use super::script::frame;

pub fn request(path: &str, headers: &[(&str, &str)], body: Body) -> Request<Body> {
    let mut request = Request::new(body);
    *request.method_mut() = Method::POST;
    *request.uri_mut() = path.parse().expect("a path");
    *request.version_mut() = Version::HTTP_2;
    let map = request.headers_mut();
    map.insert("content-type", HeaderValue::from_static("application/grpc"));
    map.insert("te", HeaderValue::from_static("trailers"));
    for (name, value) in headers {
        let name: HeaderName = name.parse().expect("a name");
        map.append(name, value.parse().expect("a value"));
    }
    request
}

/// A call with one message; gives status and headers of the answer.
pub async fn call(channel: &Channel, path: &str, headers: &[(&str, &str)]) -> Answer {
    send(channel, request(path, headers, Body::new(Full::new(frame(b""))))).await
}

/// Everything of an answer.
pub struct Answer {
    pub status: Status,
    pub headers: HeaderMap,
    pub data: Bytes,
    pub trailers: HeaderMap,
}

impl Answer {
    pub fn code(&self) -> Code {
        self.status.code()
    }

    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).and_then(|v| v.to_str().ok()).unwrap_or("(absent)")
    }

    /// The headers that the service saw and that concern forwarding, sorted.
    pub fn seen(&self) -> Vec<String> {
        let mut seen: Vec<_> = self
            .headers
            .get_all("x-seen")
            .iter()
            .filter_map(|v| v.to_str().ok().map(str::to_owned))
            .collect();
        seen.sort();
        seen
    }
}

/// Sends a request and reads the answer to its end.
pub async fn send(channel: &Channel, request: Request<Body>) -> Answer {
    let response = match channel.clone().oneshot(request).await {
        Ok(response) => response,
        Err(error) => {
            return Answer {
                status: Status::from_error(Box::new(error)),
                headers: HeaderMap::new(),
                data: Bytes::new(),
                trailers: HeaderMap::new(),
            };
        }
    };
    read(response).await
}

/// Reads an answer to its end.
pub async fn read(response: Response<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let (data, trailers) = match body.collect().await {
        Ok(collected) => {
            let trailers = collected.trailers().cloned().unwrap_or_default();
            (collected.to_bytes(), trailers)
        }
        Err(status) => {
            return Answer {
                status,
                headers: parts.headers,
                data: Bytes::new(),
                trailers: HeaderMap::new(),
            };
        }
    };
    let status = Status::from_header_map(&trailers)
        .or_else(|| Status::from_header_map(&parts.headers))
        .unwrap_or_else(|| Status::unknown("an answer without a status"));
    Answer { status, headers: parts.headers, data, trailers }
}

/// A request whose body the test writes frame by frame. Dropping the sender ends the body.
pub fn streaming(path: &str, headers: &[(&str, &str)]) -> (mpsc::Sender<Bytes>, Request<Body>) {
    let (sender, receiver) = mpsc::channel(4);
    let frames = ReceiverStream::new(receiver).map(|data| Ok::<_, Status>(Frame::data(data)));
    (sender, request(path, headers, Body::new(StreamBody::new(frames))))
}
