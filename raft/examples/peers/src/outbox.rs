//! The messages that wait for one peer: bounded, filled by the raft node, emptied by the stream that is up at the moment.
//!
//! Nothing is kept for later: while the peer is being left alone everything is dropped, because raft makes good what is
//! lost, and by then it would be out of date.

use std::{
    collections::VecDeque,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{Stream, task::AtomicWaker};
use parking_lot::Mutex;
use skep_proto::raftpb;
use tokio_util::sync::CancellationToken;

use crate::wire::{Frame, Hello};

/// Messages that wait at most: what raft has in flight to a peer, several times over.
const MESSAGES_MAX: usize = 4096;
/// Bytes of entries that wait at most: forty of the largest proposals.
const BYTES_MAX: usize = 64 * 1024 * 1024;
/// Messages in one frame at most.
const FRAME_MESSAGES_MAX: usize = 512;
/// Bytes of entries in one frame at most, but for one message alone that has more.
const FRAME_BYTES_MAX: usize = 1024 * 1024;

#[derive(Default)]
struct Queue {
    messages: VecDeque<raftpb::Message>,
    bytes: usize,
    paused: bool,
}

/// See the module.
#[derive(Default)]
pub struct Outbox {
    queue: Mutex<Queue>,
    filled: AtomicWaker,
}

impl Outbox {
    /// Takes a message, or drops it and says so.
    pub fn push(&self, message: raftpb::Message) -> bool {
        let bytes = weight(&message);
        {
            let mut queue = self.queue.lock();
            let full = queue.messages.len() >= MESSAGES_MAX || queue.bytes + bytes > BYTES_MAX;
            if full || queue.paused {
                return false;
            }
            queue.bytes += bytes;
            queue.messages.push_back(message);
        }
        self.filled.wake();
        true
    }

    /// Drops what waits, and everything that comes until [`resume`](Self::resume).
    pub fn pause(&self) {
        *self.queue.lock() = Queue { paused: true, ..Queue::default() };
    }

    /// Takes messages again.
    pub fn resume(&self) {
        self.queue.lock().paused = false;
    }

    /// Resolves when there is something to send; takes nothing. One waiter at a time.
    pub async fn filled(&self) {
        std::future::poll_fn(|cx| {
            self.filled.register(cx.waker());
            match self.queue.lock().messages.is_empty() {
                true => Poll::Pending,
                false => Poll::Ready(()),
            }
        })
        .await;
    }

    /// As much as fits into a frame, in order, and at least one message.
    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Vec<raftpb::Message>> {
        self.filled.register(cx.waker());
        let mut queue = self.queue.lock();
        if queue.messages.is_empty() {
            return Poll::Pending;
        }
        let (mut count, mut bytes) = (0, 0);
        for message in queue.messages.iter().take(FRAME_MESSAGES_MAX) {
            let weight = weight(message);
            if count > 0 && bytes + weight > FRAME_BYTES_MAX {
                break;
            }
            count += 1;
            bytes += weight;
        }
        queue.bytes -= bytes;
        Poll::Ready(queue.messages.drain(..count).collect())
    }
}

/// What a message weighs: its entries, which are all that can be large, and a little for the rest.
fn weight(message: &raftpb::Message) -> usize {
    const HEAD: usize = 64;
    let entries = message.entries.iter();
    HEAD + entries.map(|entry| 24 + entry.data.as_ref().map_or(0, |data| data.len())).sum::<usize>()
}

/// The frames of one stream: the greeting, then, once the peer has accepted, messages until the end is asked for.
pub struct Frames {
    outbox: Arc<Outbox>,
    hello: Option<Hello>,
    accepted: Pin<Box<dyn Future<Output = ()> + Send>>,
    is_accepted: bool,
}

impl Frames {
    /// A stream that waits for `accepted` before it takes anything out.
    pub fn new(outbox: Arc<Outbox>, hello: Hello, accepted: CancellationToken) -> Frames {
        let accepted = Box::pin(accepted.cancelled_owned());
        Frames { outbox, hello: Some(hello), accepted, is_accepted: false }
    }
}

impl Stream for Frames {
    type Item = Frame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Frame>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(Frame { hello: Some(hello), messages: Vec::new() }));
        }
        if !self.is_accepted {
            std::task::ready!(self.accepted.as_mut().poll(cx));
            self.is_accepted = true;
        }
        self.outbox.poll_frame(cx).map(|messages| Some(Frame { hello: None, messages }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u64, bytes: usize) -> raftpb::Message {
        let entry = raftpb::Entry { data: Some(vec![0; bytes].into()), ..Default::default() };
        raftpb::Message { index: Some(index), entries: vec![entry], ..Default::default() }
    }

    fn take(outbox: &Outbox) -> Vec<u64> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match outbox.poll_frame(&mut cx) {
            Poll::Ready(messages) => messages.iter().map(raftpb::Message::index).collect(),
            Poll::Pending => vec![],
        }
    }

    #[test]
    fn a_frame_is_what_waits_up_to_its_limits_and_at_least_one_message() {
        let outbox = Outbox::default();
        for (index, bytes) in [(1, 10), (2, 10), (3, 2 * FRAME_BYTES_MAX), (4, 10)] {
            assert!(outbox.push(message(index, bytes)));
        }
        assert_eq!(take(&outbox), [1, 2]);
        assert_eq!(take(&outbox), [3]);
        assert_eq!(take(&outbox), [4]);
        assert!(take(&outbox).is_empty());
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_room_comes_back() {
        let outbox = Outbox::default();
        for index in 0..MESSAGES_MAX as u64 {
            assert!(outbox.push(message(index, 0)));
        }
        assert!(!outbox.push(message(0, 0)));
        take(&outbox);
        assert!(outbox.push(message(1, BYTES_MAX / 2)));
        assert!(!outbox.push(message(2, BYTES_MAX / 2)));
        outbox.pause();
        assert!(!outbox.push(message(3, 0)));
        outbox.resume();
        assert!(outbox.push(message(4, BYTES_MAX / 2)));
        assert_eq!(take(&outbox), [4]);
    }
}
