//! One peer: its outbox, and the task that empties it in the dialect that the peer speaks.

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use parking_lot::Mutex;
use skep_proto::{
    raftpb::{self, MessageType},
    skep::raft_stream_client::RaftStreamClient,
    swarmkit::{ResolveAddressRequest, raft_client::RaftClient},
};
use skep_raft::RaftId;
use tokio::{sync::Notify, time::Instant};
use tokio_util::sync::CancellationToken;
use tonic::{Code, Status, transport::Channel};

use super::{
    backoff::Backoff,
    frames::{Frames, Link},
    outbox::{Dropped, Outbox},
    reports::Reports,
    swarmkit::{self, Call},
};
use crate::{pool::ChannelPool, removed};

/// How long a message, or the acknowledgement of one, may take. SwarmKit gives up after two seconds; a little more
/// spares a busy machine a new connection.
pub const SEND_TIMEOUT: Duration = Duration::from_secs(3);
/// How long another member may take to say where the peer is: not long, since the peer may come back meanwhile.
const ASK_TIMEOUT: Duration = Duration::from_millis(500);
/// How often a stream is looked at for having stopped. Not in the way of any message.
const STALL_CHECK: Duration = Duration::from_secs(1);
/// How long the last messages for a member that left may take to go out; SwarmKit's figure.
const DRAIN: Duration = Duration::from_secs(16);

/// Gives the address of a member that can be asked about others, if any can be reached.
pub(super) type Guides = Arc<dyn Fn() -> Option<String> + Send + Sync>;

/// Asks a manager for the address of a member.
pub(super) async fn resolve(pool: &ChannelPool, guide: &str, to: RaftId) -> Result<String, Status> {
    let channel = pool.get(guide).map_err(|error| Status::unavailable(error.to_string()))?;
    let request = ResolveAddressRequest { raft_id: to.0 };
    let answer = RaftClient::new(channel).resolve_address(request).await?;
    Ok(answer.into_inner().addr)
}

/// Why sending ended.
enum End {
    /// The outbox was closed and is empty.
    Drained,
    /// The peer does not know our stream.
    OtherKind,
    /// The peer has another address now.
    Moved,
    /// It failed.
    Failed(Status),
}

/// Where the peer is.
struct Addr {
    /// As this manager's membership has it.
    known: String,
    /// As another member says, when nothing arrives at the known one: a manager that is behind does not know of a move, and would
    /// never hear of it, because its answers are lost. For one attempt: the other may be behind even more.
    told: Option<String>,
}

pub(super) struct Peer {
    pub id: RaftId,
    pub outbox: Arc<Outbox>,
    addr: Mutex<Addr>,
    moved: Notify,
    /// Ends a pause after a failure: the peer was heard of, or a vote is urgent.
    retry: Notify,
    pausing: AtomicBool,
    reachable_since: Mutex<Option<Instant>>,
    /// A snapshot is on its way; there is never more than one.
    pub snapshot_under_way: AtomicBool,
    stop: CancellationToken,
}

impl Peer {
    pub fn new(id: RaftId, addr: &str) -> Arc<Self> {
        Arc::new(Self {
            id,
            outbox: Arc::default(),
            addr: Mutex::new(Addr { known: addr.to_owned(), told: None }),
            moved: Notify::new(),
            retry: Notify::new(),
            pausing: AtomicBool::new(false),
            reachable_since: Mutex::new(None),
            snapshot_under_way: AtomicBool::new(false),
            stop: CancellationToken::new(),
        })
    }

    pub fn addr(&self) -> String {
        let addr = self.addr.lock();
        addr.told.as_ref().unwrap_or(&addr.known).clone()
    }

    /// Sends to another address from now on.
    pub fn set_addr(&self, addr: &str) {
        let mut current = self.addr.lock();
        if current.known != addr {
            *current = Addr { known: addr.to_owned(), told: None };
            self.moved.notify_one();
            self.retry.notify_one();
        }
    }

    /// Takes a message. Gives whether the first of those that were lost was this one.
    pub fn push(&self, message: raftpb::Message) -> Result<(), Dropped> {
        let kind = message.r#type();
        // Votes do not wait for the end of a pause: an election is short, and seldom.
        if matches!(kind, MessageType::MsgVote | MessageType::MsgPreVote) {
            self.nudge();
        }
        self.outbox.push(message)
    }

    /// Tries the peer again at once if it is being left alone.
    pub fn nudge(&self) {
        if self.pausing.load(Relaxed) {
            self.outbox.resume();
            self.retry.notify_one();
        }
    }

    /// Since when messages have been arriving without a break.
    pub fn reachable_since(&self) -> Option<Instant> {
        *self.reachable_since.lock()
    }

    /// Lets the last messages go out, and ends.
    pub fn close(&self) {
        self.outbox.close();
        self.retry.notify_one();
    }

    /// Ends at once.
    pub fn abort(&self) {
        self.stop.cancel();
    }

    pub fn arrived(&self, reports: &dyn Reports) {
        self.reachable_since.lock().get_or_insert_with(Instant::now);
        reports.reachable(self.id);
    }

    pub fn lost(&self, reports: &dyn Reports) {
        *self.reachable_since.lock() = None;
        reports.unreachable(self.id);
    }

    /// The task: sends until the outbox is closed and drained, or the peer is aborted.
    ///
    /// `guides` gives the address of another member that can be asked where this one is.
    pub async fn run(
        self: Arc<Self>,
        pool: ChannelPool,
        reports: Arc<dyn Reports>,
        guides: Guides,
    ) {
        let stop = self.stop.clone();
        tokio::select! {
            () = self.send_all(pool, reports, guides) => {}
            () = stop.cancelled() => {}
        }
    }

    async fn send_all(&self, pool: ChannelPool, reports: Arc<dyn Reports>, guides: Guides) {
        let mut backoff = Backoff::new();
        let mut stock = false;
        while poll_fn(|cx| self.outbox.poll_filled(cx)).await {
            let addr = self.addr();
            let outcome = match pool.get(&addr) {
                Err(error) => End::Failed(Status::unavailable(error.to_string())),
                Ok(channel) if stock => self.send_calls(channel, &*reports, &mut backoff).await,
                Ok(channel) => self.send_frames(channel, &*reports, &mut backoff).await,
            };
            let status = match outcome {
                End::Drained => return,
                End::Moved => {
                    pool.forget(&addr);
                    stock = false;
                    continue;
                }
                End::OtherKind => {
                    stock = true;
                    continue;
                }
                End::Failed(status) => status,
            };
            if removed::is_signal(&status) {
                tracing::warn!(peer = %self.id, addr, "the peer says that this manager was removed from the group");
                reports.removed();
            }
            // The manager that comes back may be one of the other kind; and a connection on which nothing moves any more
            // would not be noticed by the next attempt.
            stock = false;
            pool.forget(&addr);
            let first = self.reachable_since().is_some();
            self.lost(&*reports);
            self.outbox.pause();
            // What has just stopped has not moved yet.
            if !first {
                self.ask_where(&pool, &guides).await;
            }
            self.pause(backoff.next(), &addr, &status).await;
        }
    }

    /// Asks another member where this one is, or, if that was of no use, forgets the answer.
    async fn ask_where(&self, pool: &ChannelPool, guides: &Guides) {
        if self.addr.lock().told.take().is_some() {
            return;
        }
        let Some(guide) = guides() else { return };
        let Ok(Ok(told)) = tokio::time::timeout(ASK_TIMEOUT, resolve(pool, &guide, self.id)).await
        else {
            return;
        };
        let mut addr = self.addr.lock();
        if !told.is_empty() && told != addr.known {
            tracing::info!(peer = %self.id, known = addr.known, told, "another manager knows a newer address of the peer");
            addr.told = Some(told);
        }
    }

    async fn pause(&self, pause: Duration, addr: &str, status: &Status) {
        tracing::debug!(peer = %self.id, addr, ?pause, "messages to the peer do not arrive: {status}");
        self.outbox.pause();
        self.pausing.store(true, Relaxed);
        let _ = tokio::time::timeout(pause, self.retry.notified()).await;
        self.pausing.store(false, Relaxed);
        self.outbox.resume();
    }

    /// Sends over one long stream.
    async fn send_frames(
        &self,
        channel: Channel,
        reports: &dyn Reports,
        backoff: &mut Backoff,
    ) -> End {
        let link = Link::new();
        let frames = Frames::new(self.outbox.clone(), link.clone());
        let mut client = RaftStreamClient::new(channel);
        let opening = tokio::time::timeout(SEND_TIMEOUT, client.exchange(frames)).await;
        let mut acks = match opening {
            Ok(Ok(acks)) => acks.into_inner(),
            Ok(Err(status)) if status.code() == Code::Unimplemented => return End::OtherKind,
            Ok(Err(status)) => return End::Failed(status),
            Err(_) => return End::Failed(Status::unavailable("no answer from the peer")),
        };
        link.accept();
        backoff.reset();
        self.arrived(reports);
        let mut check = tokio::time::interval(STALL_CHECK);
        check.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut drained_by = None;
        loop {
            tokio::select! {
                ack = acks.message() => match ack {
                    Ok(Some(ack)) => {
                        link.acknowledge(ack.ack);
                        self.arrived(reports);
                    }
                    Ok(None) if self.outbox.is_closed() && self.outbox.is_empty() => return End::Drained,
                    Ok(None) => return End::Failed(Status::unavailable("the peer ended the stream")),
                    Err(status) if status.code() == Code::Unimplemented => return End::OtherKind,
                    Err(status) => return End::Failed(status),
                },
                now = check.tick() => {
                    if link.owed_for(now) > SEND_TIMEOUT {
                        return End::Failed(Status::unavailable("the peer acknowledges nothing"));
                    }
                    if self.outbox.is_closed() && now > *drained_by.get_or_insert(now + DRAIN) {
                        return End::Drained;
                    }
                },
                () = self.moved.notified() => return End::Moved,
            }
        }
    }

    /// Sends one call for each message, as SwarmKit's managers do among themselves.
    async fn send_calls(
        &self,
        channel: Channel,
        reports: &dyn Reports,
        backoff: &mut Backoff,
    ) -> End {
        let mut call = Call::Stream;
        let mut told: Option<Instant> = None;
        loop {
            let batch = tokio::select! {
                batch = poll_fn(|cx| self.outbox.poll_batch(cx, 1, usize::MAX)) => batch,
                () = self.moved.notified() => return End::Moved,
            };
            let Some(batch) = batch else { return End::Drained };
            for message in batch {
                let sending = swarmkit::send(channel.clone(), message, &mut call);
                match tokio::time::timeout(SEND_TIMEOUT, sending).await {
                    Ok(Ok(())) => {}
                    Ok(Err(status)) => return End::Failed(status),
                    Err(_) => return End::Failed(Status::unavailable("no answer from the peer")),
                }
            }
            backoff.reset();
            let now = Instant::now();
            if told.is_none_or(|told| now - told >= STALL_CHECK) {
                told = Some(now);
                self.arrived(reports);
            }
        }
    }
}
