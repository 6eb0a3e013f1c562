//! Snapshots on the wire: the message first, the data after it in chunks, on a connection of its own so that heartbeats
//! need not wait.

use bytes::{Bytes, BytesMut};
use skep_proto::raftpb::{self, MessageType};
use tonic::{Status, Streaming, transport::Channel};

use crate::wire::{
    CHUNK_BYTES, Hello, SNAPSHOT_BYTES_MAX, SNAPSHOT_STALL, SnapshotPart, peers_client::PeersClient,
};

/// The parts of a message, none larger than a chunk and its head. The data is not copied.
fn split(hello: Hello, mut message: raftpb::Message) -> impl Iterator<Item = SnapshotPart> {
    let data = message.snapshot.as_mut().and_then(|snapshot| snapshot.data.take());
    let data = data.unwrap_or_default();
    let first = SnapshotPart {
        hello: Some(hello),
        message: Some(message),
        data_bytes: data.len() as u64,
        chunk: Bytes::new(),
    };
    let chunks = (0..data.len()).step_by(CHUNK_BYTES).map(move |start| SnapshotPart {
        chunk: data.slice(start..data.len().min(start + CHUNK_BYTES)),
        ..SnapshotPart::default()
    });
    std::iter::once(first).chain(chunks)
}

/// Sends a `MsgSnap`. The receiver gives up when it stalls.
pub async fn send(channel: Channel, hello: Hello, message: raftpb::Message) -> Result<(), Status> {
    let parts = futures::stream::iter(split(hello, message));
    PeersClient::new(channel).snapshot(parts).await.map(drop)
}

/// The message of a stream whose first part was taken off it.
pub async fn receive(
    first: SnapshotPart,
    parts: &mut Streaming<SnapshotPart>,
) -> Result<raftpb::Message, Status> {
    let mut message =
        first.message.ok_or_else(|| Status::invalid_argument("a snapshot without its message"))?;
    if message.r#type() != MessageType::MsgSnap {
        return Err(Status::invalid_argument("the message is no snapshot"));
    }
    let bytes = usize::try_from(first.data_bytes).unwrap_or(usize::MAX);
    if bytes > SNAPSHOT_BYTES_MAX {
        return Err(Status::resource_exhausted(format!(
            "a snapshot of {bytes} bytes is larger than the {SNAPSHOT_BYTES_MAX} that are taken"
        )));
    }
    // Grows as the data comes: nobody makes this member set a gibibyte aside by a claim alone.
    let mut data = BytesMut::new();
    while data.len() < bytes {
        let part = tokio::time::timeout(SNAPSHOT_STALL, parts.message())
            .await
            .map_err(|_| Status::deadline_exceeded("the snapshot has stalled"))??
            .ok_or_else(|| Status::invalid_argument("the snapshot ends early"))?;
        if part.chunk.is_empty() || part.chunk.len() > bytes - data.len() {
            return Err(Status::invalid_argument("the snapshot's chunks do not add up"));
        }
        data.extend_from_slice(&part.chunk);
    }
    message.snapshot.get_or_insert_default().data = Some(data.freeze());
    Ok(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_its_message_and_then_its_data() {
        for bytes in [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES] {
            let data: Bytes = (0..bytes).map(|n| (n * 31 % 251) as u8).collect();
            let snapshot = raftpb::Snapshot { data: Some(data.clone()), ..Default::default() };
            let message = raftpb::Message { snapshot: Some(snapshot), ..Default::default() };
            let parts: Vec<_> = split(Hello::default(), message).collect();
            assert_eq!(parts[0].data_bytes, bytes as u64);
            assert!(parts[0].message.is_some() && parts[0].chunk.is_empty());
            let whole: Vec<u8> = parts[1..].iter().flat_map(|part| part.chunk.clone()).collect();
            assert_eq!(whole, data);
            assert_eq!(parts.len(), 1 + bytes.div_ceil(CHUNK_BYTES));
        }
    }
}
