//! The frames of one stream to a peer of our own kind: taken from the outbox as the connection is ready for more, so
//! that what piles up meanwhile goes out as one.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{
            AtomicBool, AtomicU64,
            Ordering::{Acquire, Relaxed, Release},
        },
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use futures::{Stream, task::AtomicWaker};
use parking_lot::Mutex;
use skep_proto::skep::RaftFrame;
use tokio::time::Instant;

use super::outbox::Outbox;

/// Messages in one frame at most.
const FRAME_MESSAGES_MAX: usize = 512;
/// Bytes of entries in one frame at most, but for one message alone that has more: what a peer reads at once.
const FRAME_BYTES_MAX: usize = 1024 * 1024;
/// How long after an acknowledgement the next one is asked for: they only show that the peer lives.
const ACK_INTERVAL: Duration = Duration::from_millis(500);

/// What the sender's task and the frames of its stream share.
pub(super) struct Link {
    accepted: AtomicBool,
    on_accept: AtomicWaker,
    asked: AtomicU64,
    acknowledged: AtomicU64,
    asked_at: Mutex<Instant>,
}

impl Link {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            accepted: AtomicBool::new(false),
            on_accept: AtomicWaker::new(),
            asked: AtomicU64::new(0),
            acknowledged: AtomicU64::new(0),
            asked_at: Mutex::new(Instant::now()),
        })
    }

    /// The peer knows the service: messages may follow.
    pub fn accept(&self) {
        self.accepted.store(true, Release);
        self.on_accept.wake();
    }

    pub fn acknowledge(&self, ack: u64) {
        self.acknowledged.fetch_max(ack, Relaxed);
    }

    /// For how long an acknowledgement has been owed.
    pub fn owed_for(&self, now: Instant) -> Duration {
        if self.asked.load(Relaxed) <= self.acknowledged.load(Relaxed) {
            return Duration::ZERO;
        }
        now.saturating_duration_since(*self.asked_at.lock())
    }

    /// The number to ask for with the next frame; 0 for none.
    fn ask(&self, now: Instant) -> u64 {
        let asked = self.asked.load(Relaxed);
        if asked > self.acknowledged.load(Relaxed) {
            return 0;
        }
        let mut asked_at = self.asked_at.lock();
        if asked > 0 && now.saturating_duration_since(*asked_at) < ACK_INTERVAL {
            return 0;
        }
        *asked_at = now;
        self.asked.store(asked + 1, Relaxed);
        asked + 1
    }
}

/// The frames of one stream. Dropping them leaves what was not yet taken in the outbox.
pub(super) struct Frames {
    outbox: Arc<Outbox>,
    link: Arc<Link>,
    greeted: bool,
}

impl Frames {
    pub fn new(outbox: Arc<Outbox>, link: Arc<Link>) -> Self {
        Self { outbox, link, greeted: false }
    }
}

impl Stream for Frames {
    type Item = RaftFrame;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<RaftFrame>> {
        if !self.greeted {
            self.greeted = true;
            let ack = self.link.ask(Instant::now());
            return Poll::Ready(Some(RaftFrame { messages: Vec::new(), ack }));
        }
        if !self.link.accepted.load(Acquire) {
            self.link.on_accept.register(cx.waker());
            if !self.link.accepted.load(Acquire) {
                return Poll::Pending;
            }
        }
        let batch = ready!(self.outbox.poll_batch(cx, FRAME_MESSAGES_MAX, FRAME_BYTES_MAX));
        Poll::Ready(
            batch.map(|messages| RaftFrame { messages, ack: self.link.ask(Instant::now()) }),
        )
    }
}
