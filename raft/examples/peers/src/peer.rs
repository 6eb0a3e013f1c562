//! One peer: its outbox, and the task that keeps a stream to it open while there is something to say.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use skep_raft::{NodeHandle, RaftId};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tonic::{Status, transport::Channel};

use crate::{
    outbox::{Frames, Outbox},
    wire::{Hello, MESSAGE_BYTES_MAX, WHO_TIMEOUT, is_removed_signal, peers_client::PeersClient},
};

/// The pause after a failure; doubles from one to the next …
const PAUSE_MIN: Duration = Duration::from_millis(50);
/// … up to this: a member that comes back says so itself, which ends the pause.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// Where a peer is.
#[derive(Default)]
struct Addr {
    /// As the membership has it; empty when this member has not heard of the peer in the log yet.
    known: String,
    /// As the peer itself said when it last called: newer than the log, if different.
    told: Option<String>,
}

/// See the module.
pub struct Peer {
    pub id: RaftId,
    pub outbox: Arc<Outbox>,
    addr: Mutex<Addr>,
    /// Ends a pause, or a stream to an address where the peer is no more.
    nudge: Notify,
    /// Messages are being lost; said once for a run of them.
    losing: AtomicBool,
    pub snapshot_under_way: AtomicBool,
    pub stop: CancellationToken,
}

impl Peer {
    pub fn new(id: RaftId) -> Arc<Peer> {
        Arc::new(Peer {
            id,
            outbox: Arc::default(),
            addr: Mutex::default(),
            nudge: Notify::new(),
            losing: AtomicBool::new(false),
            snapshot_under_way: AtomicBool::new(false),
            stop: CancellationToken::new(),
        })
    }

    /// Where to dial it, if anybody has said.
    pub fn addr(&self) -> Option<String> {
        let addr = self.addr.lock();
        addr.told.clone().or_else(|| Some(addr.known.clone()).filter(|known| !known.is_empty()))
    }

    /// The membership says where it is.
    pub fn set_known(&self, known: &str) {
        let mut addr = self.addr.lock();
        if addr.known != known {
            let moved = !addr.known.is_empty();
            *addr = Addr { known: known.to_owned(), told: None };
            if moved {
                self.nudge.notify_one();
            }
        }
    }

    /// The peer itself has called, and says where it is: it is there, so a pause makes no sense.
    pub fn called_from(&self, told: &str) {
        let mut addr = self.addr.lock();
        addr.told = (addr.known != told).then(|| told.to_owned());
        drop(addr);
        if self.losing.load(Relaxed) {
            self.nudge.notify_one();
        }
    }

    pub fn arrived(&self, node: &NodeHandle) {
        self.losing.store(false, Relaxed);
        node.report_reachable(self.id);
    }

    /// A message was lost.
    pub fn lost(&self, node: &NodeHandle) {
        if !self.losing.swap(true, Relaxed) {
            node.report_unreachable(self.id);
        }
    }

    /// Sends what is in the outbox, for as long as the peer is one.
    pub async fn run(
        self: Arc<Peer>,
        node: NodeHandle,
        dial: impl Fn(&str) -> Result<Channel, Status>,
        hello: Hello,
    ) {
        let mut pause = PAUSE_MIN;
        loop {
            self.outbox.filled().await;
            let status = match self.addr() {
                None => Status::unavailable("nobody has said where it is"),
                Some(addr) => match dial(&addr) {
                    Ok(channel) => self.stream(channel, &node, &hello, &mut pause).await,
                    Err(status) => status,
                },
            };
            if is_removed_signal(&status) {
                node.report_removed();
            }
            tracing::debug!(peer = %self.id, ?pause, "messages to the peer do not arrive: {status}");
            self.lost(&node);
            self.outbox.pause();
            let _ = tokio::time::timeout(pause, self.nudge.notified()).await;
            self.outbox.resume();
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    /// One stream, until it ends; gives why.
    async fn stream(
        &self,
        channel: Channel,
        node: &NodeHandle,
        hello: &Hello,
        pause: &mut Duration,
    ) -> Status {
        let accepted = CancellationToken::new();
        let frames = Frames::new(self.outbox.clone(), hello.clone(), accepted.clone());
        let mut client = PeersClient::new(channel).max_encoding_message_size(2 * MESSAGE_BYTES_MAX);
        let mut end = match tokio::time::timeout(WHO_TIMEOUT, client.exchange(frames)).await {
            Ok(Ok(answer)) => answer.into_inner(),
            Ok(Err(status)) => return status,
            Err(_) => return Status::unavailable("no answer"),
        };
        accepted.cancel();
        self.arrived(node);
        *pause = PAUSE_MIN;
        tokio::select! {
            end = end.message() => match end {
                Ok(_) => Status::unavailable("the peer has ended the stream"),
                Err(status) => status,
            },
            // Told while the stream was up: it has moved.
            () = self.nudge.notified() => Status::unavailable("the peer has moved"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_says_of_itself_counts_until_the_log_says_something_new() {
        let peer = Peer::new(RaftId(7));
        assert_eq!(peer.addr(), None);
        peer.called_from("127.0.0.1:1");
        assert_eq!(peer.addr().as_deref(), Some("127.0.0.1:1"));
        peer.set_known("127.0.0.1:2");
        assert_eq!(peer.addr().as_deref(), Some("127.0.0.1:2"));
        peer.called_from("127.0.0.1:3");
        peer.set_known("127.0.0.1:2");
        assert_eq!(peer.addr().as_deref(), Some("127.0.0.1:3"));
    }
}
