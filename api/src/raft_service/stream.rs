//! Our `RaftStream` service: frames of messages, handed to the raft node as they come.

use std::sync::Arc;

use futures::stream::{self, BoxStream, StreamExt as _};
use skep_proto::skep::{RaftFrame, RaftFrameAck, raft_stream_server::RaftStream};
use tonic::{Code, Request, Response, Status, Streaming, async_trait};

use super::{RaftServices, receiver::Receiver};

#[async_trait]
impl RaftStream for RaftServices {
    type ExchangeStream = BoxStream<'static, Result<RaftFrameAck, Status>>;

    async fn exchange(
        &self,
        request: Request<Streaming<RaftFrame>>,
    ) -> Result<Response<Self::ExchangeStream>, Status> {
        let receiver = self.receiver()?;
        let stop = self.stop.clone().cancelled_owned();
        let acks = stream::try_unfold(
            (request.into_inner(), receiver),
            |(mut frames, receiver)| async move {
                while let Some(frame) = frames.message().await? {
                    take(&receiver, frame.messages)?;
                    if frame.ack != 0 {
                        let ack = RaftFrameAck { ack: frame.ack };
                        return Ok(Some((ack, (frames, receiver))));
                    }
                }
                Ok(None)
            },
        );
        Ok(Response::new(acks.take_until(stop).boxed()))
    }
}

/// Hands over the messages of one frame. What raft makes good by itself does not end the stream.
fn take(
    receiver: &Arc<Receiver>,
    messages: Vec<skep_proto::raftpb::Message>,
) -> Result<(), Status> {
    let group = receiver.group();
    if let Some(first) = messages.first() {
        receiver.heard_of(first);
    }
    for message in messages {
        match receiver.receive_now(&group, message) {
            Ok(()) => {}
            Err(status)
                if matches!(status.code(), Code::InvalidArgument | Code::ResourceExhausted) =>
            {
                tracing::debug!("raft message dropped: {status}");
            }
            Err(status) => return Err(status),
        }
    }
    Ok(())
}
