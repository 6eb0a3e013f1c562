//! One connection to a key/value store, in the way that it is asked.

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::{Method, Request, StatusCode, client::conn::http1};
use hyper_util::rt::TokioIo;
use prost::Message;
use serde_json::json;
use tokio::net::TcpStream;
use tonic::{
    client::Grpc,
    codegen::http::uri::PathAndQuery,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

/// How a store is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Speaks {
    /// `kv`'s HTTP.
    Http,
    /// etcd's v3 API.
    Grpc,
    /// etcd's v3 API as JSON over HTTP.
    Gateway,
}

/// etcd's `PutRequest`.
#[derive(Clone, PartialEq, Message)]
struct PutRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// etcd's `RangeRequest`, linearizable as it is by default.
#[derive(Clone, PartialEq, Message)]
struct RangeRequest {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
}

/// What is not looked at.
#[derive(Clone, PartialEq, Message)]
struct Answer {}

/// See the module.
pub enum Client {
    Http { sender: http1::SendRequest<Full<Bytes>>, addr: String },
    Grpc(Grpc<Channel>),
    Gateway { sender: http1::SendRequest<Full<Bytes>>, addr: String },
}

async fn http(addr: &str) -> anyhow::Result<http1::SendRequest<Full<Bytes>>> {
    let tcp = TcpStream::connect(addr).await?;
    tcp.set_nodelay(true)?;
    let (sender, connection) = http1::handshake(TokioIo::new(tcp)).await?;
    // Ends with the sender.
    tokio::spawn(connection);
    Ok(sender)
}

async fn send(
    sender: &mut http1::SendRequest<Full<Bytes>>,
    addr: &str,
    method: Method,
    path: &str,
    body: impl Into<Bytes>,
) -> anyhow::Result<StatusCode> {
    let request = Request::builder().method(method).uri(path).header("host", addr);
    sender.ready().await?;
    let answer = sender.send_request(request.body(Full::new(body.into()))?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    anyhow::ensure!(
        status.is_success() || status == StatusCode::NOT_FOUND,
        "{path}: {status}: {}",
        String::from_utf8_lossy(&body)
    );
    Ok(status)
}

impl Client {
    /// Connects.
    pub async fn connect(speaks: Speaks, addr: &str) -> anyhow::Result<Client> {
        let addr = addr.to_owned();
        Ok(match speaks {
            Speaks::Http => Client::Http { sender: http(&addr).await?, addr },
            Speaks::Gateway => Client::Gateway { sender: http(&addr).await?, addr },
            Speaks::Grpc => {
                let endpoint = Endpoint::from_shared(format!("http://{addr}"))?.tcp_nodelay(true);
                Client::Grpc(Grpc::new(endpoint.connect().await?))
            }
        })
    }

    /// Writes a value.
    pub async fn put(&mut self, key: &str, value: &[u8]) -> anyhow::Result<()> {
        let (key_bytes, value) =
            (Bytes::copy_from_slice(key.as_bytes()), Bytes::copy_from_slice(value));
        match self {
            Client::Http { sender, addr } => {
                let status = send(sender, addr, Method::PUT, &format!("/kv/{key}"), value).await?;
                anyhow::ensure!(status.is_success(), "{key}: {status}");
            }
            Client::Grpc(grpc) => {
                call(grpc, "/etcdserverpb.KV/Put", PutRequest { key: key_bytes, value }).await?;
            }
            Client::Gateway { sender, addr } => {
                let body = json!({ "key": base64(&key_bytes), "value": base64(&value) });
                send(sender, addr, Method::POST, "/v3/kv/put", body.to_string()).await?;
            }
        }
        Ok(())
    }

    /// Reads what was written last; whether there is such a key does not matter.
    pub async fn get(&mut self, key: &str) -> anyhow::Result<()> {
        let key_bytes = Bytes::copy_from_slice(key.as_bytes());
        match self {
            Client::Http { sender, addr } => {
                send(sender, addr, Method::GET, &format!("/kv/{key}"), Bytes::new()).await?;
            }
            Client::Grpc(grpc) => {
                call(grpc, "/etcdserverpb.KV/Range", RangeRequest { key: key_bytes }).await?;
            }
            Client::Gateway { sender, addr } => {
                let body = json!({ "key": base64(&key_bytes) });
                send(sender, addr, Method::POST, "/v3/kv/range", body.to_string()).await?;
            }
        }
        Ok(())
    }
}

async fn call<M: Message + 'static>(
    grpc: &mut Grpc<Channel>,
    path: &'static str,
    message: M,
) -> anyhow::Result<()> {
    grpc.ready().await.context("the connection is gone")?;
    let codec = ProstCodec::<M, Answer>::default();
    let request = tonic::Request::new(message);
    grpc.unary(request, PathAndQuery::from_static(path), codec).await?;
    Ok(())
}

fn base64(bytes: &[u8]) -> String {
    use base64::{Engine as _, prelude::BASE64_STANDARD};
    BASE64_STANDARD.encode(bytes)
}

/// One question to an HTTP server, on a connection of its own.
pub async fn ask_json(
    addr: &str,
    method: Method,
    path: &str,
    body: &'static str,
) -> anyhow::Result<serde_json::Value> {
    let mut sender = http(addr).await?;
    let request = Request::builder().method(method).uri(path).header("host", addr);
    let answer = sender.send_request(request.body(Full::new(Bytes::from(body)))?).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    anyhow::ensure!(status.is_success(), "{path}: {status}");
    Ok(serde_json::from_slice(&body)?)
}
