//! Raft messages as SwarmKit's managers take them: a call for each message, a snapshot in as many parts as it needs.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use futures::Stream;
use parking_lot::Mutex;
use skep_proto::{
    raftpb,
    swarmkit::{ProcessRaftMessageRequest, StreamRaftMessageRequest, raft_client::RaftClient},
};
use tokio::time::Instant;
use tonic::{Code, Status, transport::Channel};

use crate::snapshot_parts::split;

/// How long a part of a snapshot may take to go out, and the receiver to take in the whole.
pub const SNAPSHOT_STALL: Duration = Duration::from_secs(15);

/// Which call the peer knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `StreamRaftMessage`.
    Stream,
    /// `ProcessRaftMessage`, of managers from before there was the other.
    Unary,
}

/// Sends one message; learns which call the peer knows.
pub(super) async fn send(
    channel: Channel,
    message: raftpb::Message,
    call: &mut Call,
) -> Result<(), Status> {
    let mut client = RaftClient::new(channel);
    if *call == Call::Stream {
        let parts = futures::stream::iter(split(message.clone()));
        match client.stream_raft_message(parts).await {
            Err(status) if status.code() == Code::Unimplemented => *call = Call::Unary,
            outcome => return outcome.map(drop),
        }
    }
    let request = ProcessRaftMessageRequest { message: Some(message) };
    client.process_raft_message(request).await.map(drop)
}

/// Sends a snapshot, for as long as it makes progress.
pub(super) async fn send_snapshot(
    channel: Channel,
    message: raftpb::Message,
) -> Result<(), Status> {
    let progress = Arc::new(Mutex::new(Instant::now()));
    let parts = Parts { parts: split(message).into_iter(), progress: progress.clone() };
    let mut client = RaftClient::new(channel);
    let sending = client.stream_raft_message(parts);
    tokio::pin!(sending);
    loop {
        let until = *progress.lock() + SNAPSHOT_STALL;
        tokio::select! {
            outcome = sending.as_mut() => return outcome.map(drop),
            () = tokio::time::sleep_until(until) => {
                if *progress.lock() + SNAPSHOT_STALL <= Instant::now() {
                    return Err(Status::unavailable(format!(
                        "the snapshot made no progress for {SNAPSHOT_STALL:?}"
                    )));
                }
            }
        }
    }
}

/// The parts, with a note of when the last one was taken.
struct Parts {
    parts: std::vec::IntoIter<StreamRaftMessageRequest>,
    progress: Arc<Mutex<Instant>>,
}

impl Stream for Parts {
    type Item = StreamRaftMessageRequest;

    fn poll_next(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<StreamRaftMessageRequest>> {
        *self.progress.lock() = Instant::now();
        Poll::Ready(self.parts.next())
    }
}
