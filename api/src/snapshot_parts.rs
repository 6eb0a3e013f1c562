//! Snapshots on the wire: a message that is too large for one is sent in parts, each the whole message with a slice of
//! the snapshot's data. SwarmKit's scheme, on both sides.

use bytes::{Bytes, BytesMut};
use prost::Message as _;
use skep_proto::{
    raftpb::{self, MessageType},
    swarmkit::StreamRaftMessageRequest,
};
use tonic::Status;

use crate::MAX_MESSAGE_BYTES;

/// The largest snapshot that is put together. A hundred thousand tasks are about a tenth of it.
pub const SNAPSHOT_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Splits a message so that no part's encoding is larger than [`MAX_MESSAGE_BYTES`]. Anything but a snapshot is one
/// part. The data is not copied.
pub fn split(mut message: raftpb::Message) -> Vec<StreamRaftMessageRequest> {
    let whole = StreamRaftMessageRequest { message: Some(message.clone()) };
    let size = whole.encoded_len();
    let data = message.snapshot.as_mut().and_then(|snapshot| snapshot.data.take());
    let Some(data) = data else { return vec![whole] };
    if size <= MAX_MESSAGE_BYTES || message.r#type() != MessageType::MsgSnap {
        return vec![whole];
    }
    let head = size - data.len();
    // Nothing that a node makes has a head of megabytes; then parts of one byte are late rather than lost.
    let part_bytes = MAX_MESSAGE_BYTES.saturating_sub(head).max(1);
    (0..data.len())
        .step_by(part_bytes)
        .map(|start| {
            let mut part = message.clone();
            if let Some(snapshot) = part.snapshot.as_mut() {
                snapshot.data = Some(data.slice(start..data.len().min(start + part_bytes)));
            }
            StreamRaftMessageRequest { message: Some(part) }
        })
        .collect()
}

/// Puts the parts of one call together again.
#[derive(Default)]
pub struct Assembly {
    first: Option<raftpb::Message>,
    data: BytesMut,
    parts: usize,
}

impl Assembly {
    /// Takes the next part. Every part of a snapshot has the same index; nothing else comes in parts.
    pub fn push(&mut self, part: StreamRaftMessageRequest) -> Result<(), Status> {
        let message = part
            .message
            .ok_or_else(|| Status::invalid_argument("Raft message chunk without a message"))?;
        self.parts += 1;
        let Some(first) = &self.first else {
            self.first = Some(message);
            return Ok(());
        };
        if first.r#type() != MessageType::MsgSnap || message.r#type() != MessageType::MsgSnap {
            return Err(Status::invalid_argument(format!(
                "Raft message chunk is not a snapshot, and only snapshots come in chunks: {:?}",
                message.r#type()
            )));
        }
        if first.index() != message.index() {
            return Err(Status::invalid_argument(format!(
                "Raft message chunk has index {}, and the chunks before it have {}",
                message.index(),
                first.index()
            )));
        }
        if self.parts == 2 {
            let start = first.snapshot.as_ref().and_then(|s| s.data.clone()).unwrap_or_default();
            self.data.extend_from_slice(&start);
        }
        let data: Bytes = message.snapshot.and_then(|s| s.data).unwrap_or_default();
        if self.data.len() + data.len() > SNAPSHOT_BYTES_MAX {
            return Err(Status::resource_exhausted(format!(
                "Raft message chunks add up to more than the {SNAPSHOT_BYTES_MAX} bytes that a \
                 snapshot may have"
            )));
        }
        self.data.extend_from_slice(&data);
        Ok(())
    }

    /// The message, once the stream has ended.
    pub fn finish(self) -> Result<raftpb::Message, Status> {
        let mut message = self
            .first
            .ok_or_else(|| Status::invalid_argument("Raft message stream without a message"))?;
        if self.parts > 1
            && let Some(snapshot) = message.snapshot.as_mut()
        {
            snapshot.data = Some(self.data.freeze());
        }
        Ok(message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn snapshot(bytes: usize) -> raftpb::Message {
        let data: Vec<u8> = (0..bytes).map(|i| (i * 31 % 251) as u8).collect();
        raftpb::Message {
            r#type: Some(MessageType::MsgSnap.into()),
            to: Some(2),
            from: Some(1),
            term: Some(7),
            index: Some(99),
            snapshot: Some(raftpb::Snapshot {
                data: Some(data.into()),
                metadata: Some(raftpb::SnapshotMetadata {
                    index: Some(99),
                    term: Some(6),
                    ..Default::default()
                }),
            }),
            ..Default::default()
        }
    }

    fn join(parts: Vec<StreamRaftMessageRequest>) -> Result<raftpb::Message, Status> {
        let mut assembly = Assembly::default();
        for part in parts {
            assembly.push(part)?;
        }
        assembly.finish()
    }

    #[test]
    fn ten_mebibytes_go_in_three_parts_none_too_large_and_come_back_whole() {
        let message = snapshot(10 * 1024 * 1024);
        let parts = split(message.clone());
        let sizes: Vec<_> = parts.iter().map(|part| part.encoded_len()).collect();
        assert_eq!(sizes.len(), 3);
        assert!(sizes.iter().all(|size| *size <= MAX_MESSAGE_BYTES), "{sizes:?}");
        // SwarmKit measures the head on the whole message, so a part may be a few bytes short of the limit.
        assert!(sizes[0] > MAX_MESSAGE_BYTES - 16, "{sizes:?}");
        assert!(join(parts).expect("whole") == message);
    }

    #[test]
    fn what_fits_is_one_part() {
        assert_eq!(split(snapshot(1000)).len(), 1);
        let exact = {
            let head = StreamRaftMessageRequest { message: Some(snapshot(4_000_000)) }
                .encoded_len()
                - 4_000_000;
            snapshot(MAX_MESSAGE_BYTES - head)
        };
        assert_eq!(split(exact.clone()).len(), 1);
        assert!(join(split(exact.clone())).expect("whole") == exact);
        let heartbeat = raftpb::Message {
            r#type: Some(MessageType::MsgHeartbeat.into()),
            ..Default::default()
        };
        assert_eq!(
            split(heartbeat.clone()),
            vec![StreamRaftMessageRequest { message: Some(heartbeat) }]
        );
    }

    #[test]
    fn parts_that_do_not_belong_together_are_refused() {
        let mut other = snapshot(5);
        other.index = Some(100);
        let part = |message| StreamRaftMessageRequest { message: Some(message) };
        let mixed = join(vec![part(snapshot(5)), part(other)]);
        assert!(
            mixed.expect_err("mixed").message().starts_with("Raft message chunk has index 100")
        );
        let heartbeat = raftpb::Message {
            r#type: Some(MessageType::MsgHeartbeat.into()),
            ..Default::default()
        };
        let two = join(vec![part(heartbeat.clone()), part(heartbeat)]);
        assert!(two.expect_err("no snapshot").message().starts_with("Raft message chunk is not"));
        assert!(join(vec![]).is_err());
        assert!(join(vec![StreamRaftMessageRequest { message: None }]).is_err());
    }
}
