//! The messages that wait for one peer: bounded, filled by the raft node, emptied by whatever is sending at the moment.
//!
//! The sender takes as many at once as are there, so that messages that pile up while the connection is busy go out
//! together; nobody waits for a batch to fill.

use std::{
    collections::VecDeque,
    task::{Context, Poll},
};

use futures::task::AtomicWaker;
use parking_lot::Mutex;
use skep_proto::raftpb;

/// Messages that wait at most; SwarmKit's figure.
pub const OUTBOX_MESSAGES_MAX: usize = 4096;
/// Bytes of entries that wait at most: forty of the largest proposals. A peer that is so far behind is served better by
/// raft's own flow control.
pub const OUTBOX_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The message was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    /// The first one since messages last went out: worth a report.
    First,
    /// One more.
    Further,
}

#[derive(Default)]
struct Queue {
    messages: VecDeque<raftpb::Message>,
    bytes: usize,
    /// The peer is not being tried at the moment: nothing is taken.
    paused: bool,
    /// No more will come.
    closed: bool,
    dropped: bool,
}

#[derive(Default)]
pub(super) struct Outbox {
    queue: Mutex<Queue>,
    filled: AtomicWaker,
}

impl Outbox {
    /// Takes a message, or drops it.
    pub fn push(&self, message: raftpb::Message) -> Result<(), Dropped> {
        let bytes = weight(&message);
        {
            let mut queue = self.queue.lock();
            let full = queue.messages.len() >= OUTBOX_MESSAGES_MAX
                || queue.bytes.saturating_add(bytes) > OUTBOX_BYTES_MAX;
            if full || queue.paused || queue.closed {
                let first = !std::mem::replace(&mut queue.dropped, true);
                return Err(if first { Dropped::First } else { Dropped::Further });
            }
            queue.bytes += bytes;
            queue.messages.push_back(message);
        }
        self.filled.wake();
        Ok(())
    }

    /// As many messages as are there, in order, up to the limits and at least one. `None` when closed and empty. One
    /// consumer at a time.
    pub fn poll_batch(
        &self,
        cx: &mut Context<'_>,
        messages_max: usize,
        bytes_max: usize,
    ) -> Poll<Option<Vec<raftpb::Message>>> {
        self.filled.register(cx.waker());
        let mut queue = self.queue.lock();
        if queue.messages.is_empty() {
            return if queue.closed { Poll::Ready(None) } else { Poll::Pending };
        }
        let mut bytes = 0;
        let mut count = 0;
        for message in queue.messages.iter().take(messages_max) {
            let weight = weight(message);
            if count > 0 && bytes + weight > bytes_max {
                break;
            }
            bytes += weight;
            count += 1;
        }
        queue.bytes -= bytes;
        queue.dropped = false;
        let batch = if count == queue.messages.len() {
            std::mem::take(&mut queue.messages).into()
        } else {
            queue.messages.drain(..count).collect()
        };
        Poll::Ready(Some(batch))
    }

    /// Resolves to true when there is something to send, to false when closed and empty. Takes nothing.
    pub fn poll_filled(&self, cx: &mut Context<'_>) -> Poll<bool> {
        self.filled.register(cx.waker());
        let queue = self.queue.lock();
        match (queue.messages.is_empty(), queue.closed) {
            (false, _) => Poll::Ready(true),
            (true, true) => Poll::Ready(false),
            (true, false) => Poll::Pending,
        }
    }

    /// Drops what waits, and everything that comes until [`resume`](Self::resume): by then it would be out of date.
    pub fn pause(&self) {
        let mut queue = self.queue.lock();
        queue.messages.clear();
        queue.bytes = 0;
        queue.paused = true;
    }

    /// Takes messages again.
    pub fn resume(&self) {
        let mut queue = self.queue.lock();
        queue.paused = false;
        queue.dropped = false;
    }

    /// Takes no more; what waits may still go out.
    pub fn close(&self) {
        self.queue.lock().closed = true;
        self.filled.wake();
    }

    pub fn is_closed(&self) -> bool {
        self.queue.lock().closed
    }

    pub fn is_empty(&self) -> bool {
        self.queue.lock().messages.is_empty()
    }
}

/// What a message weighs: its entries, which are all that can be large, and a little for the rest.
fn weight(message: &raftpb::Message) -> usize {
    const HEAD: usize = 64;
    const ENTRY_HEAD: usize = 24;
    let entries = message.entries.iter();
    HEAD + entries.map(|e| ENTRY_HEAD + e.data.as_ref().map_or(0, |d| d.len())).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(index: u64, bytes: usize) -> raftpb::Message {
        let entry = raftpb::Entry { data: Some(vec![0; bytes].into()), ..Default::default() };
        raftpb::Message { index: Some(index), entries: vec![entry], ..Default::default() }
    }

    fn take(outbox: &Outbox, messages_max: usize, bytes_max: usize) -> Option<Vec<u64>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        match outbox.poll_batch(&mut cx, messages_max, bytes_max) {
            Poll::Ready(batch) => Some(batch?.iter().map(raftpb::Message::index).collect()),
            Poll::Pending => Some(vec![]),
        }
    }

    #[test]
    fn a_batch_is_what_is_there_up_to_its_limits_and_at_least_one() {
        let outbox = Outbox::default();
        for index in 1..=5 {
            outbox.push(message(index, 1000)).expect("room");
        }
        assert_eq!(take(&outbox, 2, usize::MAX), Some(vec![1, 2]));
        assert_eq!(take(&outbox, 10, 1), Some(vec![3]));
        assert_eq!(take(&outbox, 10, usize::MAX), Some(vec![4, 5]));
        assert_eq!(take(&outbox, 10, usize::MAX), Some(vec![]));
    }

    #[test]
    fn what_finds_no_room_is_dropped_and_reported_once() {
        let outbox = Outbox::default();
        for index in 0..OUTBOX_MESSAGES_MAX as u64 {
            outbox.push(message(index, 0)).expect("room");
        }
        assert_eq!(outbox.push(message(0, 0)), Err(Dropped::First));
        assert_eq!(outbox.push(message(0, 0)), Err(Dropped::Further));
        take(&outbox, 1, usize::MAX);
        assert_eq!(outbox.push(message(0, 0)), Ok(()));
        assert_eq!(outbox.push(message(0, 0)), Err(Dropped::First));
    }

    #[test]
    fn bytes_are_bounded_too_and_given_back() {
        let outbox = Outbox::default();
        outbox.push(message(1, OUTBOX_BYTES_MAX - 1000)).expect("room");
        assert!(outbox.push(message(2, 2000)).is_err());
        assert_eq!(take(&outbox, 9, 9), Some(vec![1]));
        outbox.push(message(3, OUTBOX_BYTES_MAX - 1000)).expect("room");
        outbox.pause();
        assert!(outbox.push(message(4, 0)).is_err());
        outbox.resume();
        outbox.push(message(5, OUTBOX_BYTES_MAX - 1000)).expect("room");
    }

    #[test]
    fn a_closed_outbox_ends_once_it_is_empty() {
        let outbox = Outbox::default();
        outbox.push(message(1, 0)).expect("room");
        outbox.close();
        assert!(outbox.push(message(2, 0)).is_err());
        assert_eq!(take(&outbox, 9, 9), Some(vec![1]));
        assert_eq!(take(&outbox, 9, 9), None);
    }
}
