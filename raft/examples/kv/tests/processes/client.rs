//! A client that says for certain what it knows of each request.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

/// How long a request may take, a change of leader and a busy machine included.
pub const REQUEST_LIMIT: Duration = Duration::from_secs(15);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub body: Bytes,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }
}

/// One request on a connection of its own. `Err` when there was no answer, or no whole one.
pub async fn request(
    addr: &str,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> Result<Answer, String> {
    let body = body.into();
    let asking = async {
        let tcp = TcpStream::connect(addr).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) =
            http1::handshake(TokioIo::new(tcp)).await.map_err(|error| error.to_string())?;
        let running = tokio::spawn(connection);
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", addr)
            .header("content-type", "application/json")
            .body(Full::new(body))
            .map_err(|error| error.to_string())?;
        let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let body = answer.into_body().collect().await.map_err(|error| error.to_string())?;
        running.abort();
        Ok(Answer { status, body: body.to_bytes() })
    };
    let limit = tokio::time::timeout(REQUEST_LIMIT, asking).await;
    limit.unwrap_or_else(|_| Err("no answer in time".to_owned()))
}

pub async fn put(addr: &str, key: &str, value: impl Into<Bytes>) -> Result<Answer, String> {
    request(addr, Method::PUT, &format!("/kv/{key}"), value).await
}

pub async fn get(addr: &str, key: &str) -> Result<Answer, String> {
    request(addr, Method::GET, &format!("/kv/{key}"), "").await
}
