//! The bound on a request that is one message, looked at before the message is read.
//!
//! The servers behind the door would refuse it too, but with another code than a manager that passes the call on, and than
//! SwarmKit's.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::{Status, body::Body};

/// The largest message of a request, in bytes: what a SwarmKit manager takes.
pub const MAX_MESSAGE_BYTES: usize = 4 * 1024 * 1024;
/// What stands before a message: whether it is compressed, and its length.
const HEAD_BYTES: usize = 5;

/// The body of a request that is one message; fails with `RESOURCE_EXHAUSTED` where that is larger than
/// [`MAX_MESSAGE_BYTES`].
pub(super) struct OneMessage {
    body: Body,
    head: [u8; HEAD_BYTES],
    seen: usize,
}

impl OneMessage {
    pub(super) fn new(body: Body) -> OneMessage {
        OneMessage { body, head: [0; HEAD_BYTES], seen: 0 }
    }

    /// Looks at the beginning of the body, which may come in pieces.
    fn look(&mut self, data: &[u8]) -> Result<(), Status> {
        if self.seen == HEAD_BYTES {
            return Ok(());
        }
        let room = &mut self.head[self.seen..];
        let count = room.len().min(data.len());
        room[..count].copy_from_slice(&data[..count]);
        self.seen += count;
        if self.seen < HEAD_BYTES {
            return Ok(());
        }
        let [_, length @ ..] = self.head;
        let length = u32::from_be_bytes(length);
        match usize::try_from(length) {
            Ok(length) if length <= MAX_MESSAGE_BYTES => Ok(()),
            _ => Err(Status::resource_exhausted(format!(
                "the request takes {length} bytes; at most {MAX_MESSAGE_BYTES} are allowed"
            ))),
        }
    }
}

impl http_body::Body for OneMessage {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(data) = frame.data_ref()
            && let Err(refused) = self.look(data)
        {
            return Poll::Ready(Some(Err(refused)));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use tonic::Code;

    use super::*;

    fn looked_at(pieces: &[&[u8]]) -> Result<(), Status> {
        let mut body = OneMessage::new(Body::empty());
        pieces.iter().try_for_each(|piece| body.look(piece))
    }

    #[test]
    fn a_message_is_judged_by_its_length_however_that_comes() {
        let most = [0, 0, 0x40, 0, 0];
        let more = [0, 0, 0x40, 0, 1];
        assert!(looked_at(&[&most, &[0xff; 100]]).is_ok());
        assert!(looked_at(&[&most[..2], &[], &most[2..]]).is_ok());
        for pieces in [&[&more[..]][..], &[&more[..1], &more[1..4], &more[4..]]] {
            let refused = looked_at(pieces).unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted);
            assert_eq!(
                refused.message(),
                "the request takes 4194305 bytes; at most 4194304 are allowed"
            );
        }
        assert!(looked_at(&[&[0, 0xff, 0xff, 0xff, 0xff]]).is_err());
    }
}
