//! Calls to other nodes, each on a connection of its own that is closed afterwards, but for those to the leader, which
//! are many.

use std::{collections::HashMap, time::Duration};

use bytes::Bytes;
use parking_lot::Mutex;
use tonic::{
    Request, Status,
    transport::{Channel, Endpoint},
};

use crate::{
    CallError, Security,
    security::connector,
    wire::{
        CALL_TIMEOUT, CallRequest, JoinReply, JoinRequest, MESSAGE_BYTES_MAX, Nothing,
        PING_INTERVAL, PING_TIMEOUT, RemoveRequest, WHO_TIMEOUT, Whoami, call_reply::Outcome,
        peers_client::PeersClient,
    },
};

/// Received and not yet read, for one stream and for a connection.
const WINDOW_BYTES: u32 = 4 * 1024 * 1024;
/// Connections to leaders that are kept at most: more than a group has members.
const CHANNELS_MAX: usize = 64;

/// A connection to `host:port` that is made when it is first used.
pub fn dial(security: &Security, addr: &str) -> Result<Channel, Status> {
    let invalid = || Status::invalid_argument(format!("{addr:?} is no address: host:port"));
    let (_, port) = addr.rsplit_once(':').ok_or_else(invalid)?;
    port.parse::<u16>().map_err(|_| invalid())?;
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).map_err(|_| invalid())?;
    Ok(endpoint
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .http2_keep_alive_interval(PING_INTERVAL)
        .keep_alive_timeout(PING_TIMEOUT)
        .keep_alive_while_idle(true)
        .connect_with_connector_lazy(connector(security, addr)))
}

fn client(channel: Channel) -> PeersClient<Channel> {
    PeersClient::new(channel).max_decoding_message_size(MESSAGE_BYTES_MAX)
}

async fn within<T>(
    limit: Duration,
    call: impl Future<Output = Result<tonic::Response<T>, Status>>,
) -> Result<T, Status> {
    let outcome = tokio::time::timeout(limit, call).await;
    let late = |_| Status::deadline_exceeded(format!("no answer within {limit:?}"));
    outcome.map_err(late)?.map(tonic::Response::into_inner)
}

/// Who is at an address?
pub async fn who(security: &Security, addr: &str) -> Result<Whoami, Status> {
    let mut client = client(dial(security, addr)?);
    within(WHO_TIMEOUT, client.who(Nothing {})).await
}

/// Asks the node at an address to be admitted.
pub async fn join(
    security: &Security,
    addr: &str,
    request: JoinRequest,
) -> Result<JoinReply, Status> {
    let mut client = client(dial(security, addr)?);
    within(CALL_TIMEOUT, client.join(request)).await
}

/// Asks the node at an address to have a member removed.
pub async fn remove(security: &Security, addr: &str, request: RemoveRequest) -> Result<(), Status> {
    let mut client = client(dial(security, addr)?);
    within(CALL_TIMEOUT, client.remove(request)).await.map(drop)
}

/// Connections for calls to whoever leads.
#[derive(Default)]
pub struct Leaders {
    channels: Mutex<HashMap<String, Channel>>,
}

impl Leaders {
    fn channel(&self, security: &Security, addr: &str) -> Result<Channel, Status> {
        let mut channels = self.channels.lock();
        if let Some(channel) = channels.get(addr) {
            return Ok(channel.clone());
        }
        let channel = dial(security, addr)?;
        if channels.len() >= CHANNELS_MAX {
            channels.clear();
        }
        channels.insert(addr.to_owned(), channel.clone());
        Ok(channel)
    }

    /// Has the leader at an address do something.
    pub async fn call(
        &self,
        security: &Security,
        addr: &str,
        body: Bytes,
    ) -> Result<Bytes, CallError> {
        let channel = self
            .channel(security, addr)
            .map_err(|status| CallError::NotDone(status.message().to_owned()))?;
        let request = Request::new(CallRequest { body });
        match within(CALL_TIMEOUT, client(channel).call(request)).await {
            Ok(reply) => match reply.outcome {
                Some(Outcome::Answer(answer)) => Ok(answer),
                Some(Outcome::NotDone(why)) => Err(CallError::NotDone(why)),
                Some(Outcome::Unknown(why)) => Err(CallError::Unknown(why)),
                None => Err(CallError::Unknown("the leader's answer cannot be read".to_owned())),
            },
            Err(status) => {
                let text = format!("the leader at {addr} does not answer: {}", status.message());
                match never_left(&status) {
                    true => Err(CallError::NotDone(text)),
                    false => Err(CallError::Unknown(text)),
                }
            }
        }
    }
}

/// Whether the request cannot have reached anybody, because there was no connection to send it on.
fn never_left(status: &Status) -> bool {
    let mut source = std::error::Error::source(status);
    while let Some(error) = source {
        if error.is::<tonic::ConnectError>() {
            return true;
        }
        source = error.source();
    }
    false
}
