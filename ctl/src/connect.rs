//! The way to the daemon: plaintext HTTP/2 over its unix socket, and the clients of the services there.
//!
//! Who may use the socket is decided by its file mode alone, so nothing here proves an identity.

use std::{io, path::Path, time::Duration};

use hyper_util::rt::TokioIo;
use skep_proto::{
    skep::{
        daemon_client::DaemonClient, networks_client::NetworksClient,
        raft_admin_client::RaftAdminClient, scheduling_client::SchedulingClient,
    },
    swarmkit::{control_client::ControlClient, logs_client::LogsClient, watch_client::WatchClient},
};
use tokio::net::UnixStream;
use tonic::{
    Request,
    transport::{Channel, Endpoint},
};

use crate::errors::Failure;

/// The largest reply taken: a listing of a big cluster is far over gRPC's default of 4 MiB.
const REPLY_BYTES_MAX: usize = 256 << 20;

/// A daemon's control socket, opened.
#[derive(Clone)]
pub struct Connection {
    channel: Channel,
    timeout: Duration,
}

impl Connection {
    /// Opens `socket`. Every call then gets `timeout` as its deadline, unless the call says otherwise.
    pub async fn open(socket: &Path, timeout: Duration) -> Result<Connection, Failure> {
        // Opened by hand: the transport would hide why it failed.
        let unreachable = |source| Failure::unreachable(socket, source);
        let mut first = Some(UnixStream::connect(socket).await.map_err(unreachable)?);

        let path = socket.to_owned();
        let dial = tower::service_fn(move |_| {
            let (opened, path) = (first.take(), path.clone());
            async move {
                match opened {
                    Some(stream) => Ok(TokioIo::new(stream)),
                    // The transport dials again when the connection was lost.
                    None => UnixStream::connect(path).await.map(TokioIo::new),
                }
            }
        });
        // The name stands in `:authority` only; no peer looks at it.
        let channel = Endpoint::from_static("http://skep")
            .connect_with_connector(dial)
            .await
            .map_err(|error| unreachable(io::Error::other(error)))?;
        Ok(Connection { channel, timeout })
    }

    /// The deadline of a usual call.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// `message` with the usual deadline, which the daemon sees as well.
    pub fn request<T>(&self, message: T) -> Request<T> {
        self.request_within(message, self.timeout)
    }

    /// `message` with a deadline of its own.
    pub fn request_within<T>(&self, message: T, limit: Duration) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(limit);
        request
    }

    /// The cluster's objects.
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    /// The daemon's own life.
    pub fn daemon(&self) -> DaemonClient<Channel> {
        DaemonClient::new(self.channel.clone())
    }

    /// The raft group as this daemon sees it.
    pub fn raft(&self) -> RaftAdminClient<Channel> {
        RaftAdminClient::new(self.channel.clone())
    }

    /// The stream of committed changes.
    pub fn watch(&self) -> WatchClient<Channel> {
        WatchClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    /// Why tasks wait, and where tasks would go.
    pub fn scheduling(&self) -> SchedulingClient<Channel> {
        SchedulingClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    /// Who uses networks, and whether what was given out agrees.
    pub fn networks(&self) -> NetworksClient<Channel> {
        NetworksClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }

    /// What containers wrote.
    pub fn logs(&self) -> LogsClient<Channel> {
        LogsClient::new(self.channel.clone()).max_decoding_message_size(REPLY_BYTES_MAX)
    }
}
