//! Raft messages to the other members.
//!
//! Each peer has a bounded outbox and a task of its own, so that a slow one is in nobody's way. A peer of our own kind
//! gets one long stream of frames; a SwarmKit manager, which answers `UNIMPLEMENTED` to that, gets a call for each
//! message. Snapshots go in parts, on a connection of their own, in both cases: heartbeats need not wait for them.
//!
//! Nothing is sent twice and nothing is kept for later: raft makes good what is lost, if it is told.

mod backoff;
mod frames;
mod outbox;
mod peer;
mod probe;
mod reports;
mod swarmkit;

use std::sync::{
    Arc, OnceLock,
    atomic::Ordering::{AcqRel, Release},
};

use arc_swap::ArcSwap;
use dashmap::DashMap;
use futures::{FutureExt as _, future::BoxFuture};
use skep_proto::raftpb::{self, MessageType};
use skep_raft::{Member, Membership, ProbeError, RaftId, Transport};
use tokio::{runtime::Handle, sync::Semaphore};
use tonic::Status;

pub use backoff::BACKOFF_MAX;
pub use outbox::{OUTBOX_BYTES_MAX, OUTBOX_MESSAGES_MAX};
pub use peer::SEND_TIMEOUT;
pub use probe::{PROBE_TIMEOUT, probe};
pub use reports::Reports;
pub use swarmkit::SNAPSHOT_STALL;

use self::{
    outbox::Dropped,
    peer::{Peer, resolve},
    swarmkit::{Call, send, send_snapshot},
};
use crate::{pool::ChannelPool, removed};

/// Messages for members whose address is being asked for, at a time. Seldom are there any.
const STRAYS_MAX: usize = 64;

/// The transport. All clones are the same one.
#[derive(Clone)]
pub struct GrpcTransport {
    shared: Arc<Shared>,
}

struct Shared {
    pool: ChannelPool,
    runtime: Handle,
    reports: OnceLock<Arc<dyn Reports>>,
    peers: DashMap<RaftId, Arc<Peer>>,
    members: ArcSwap<Membership>,
    strays: Arc<Semaphore>,
}

/// With the last clone every connection ends at once.
impl Drop for Shared {
    fn drop(&mut self) {
        for entry in &self.peers {
            entry.value().abort();
        }
    }
}

impl Shared {
    /// The address of the member that has been reachable longest, to ask it about another.
    fn guide(&self, about: Option<RaftId>) -> Option<String> {
        let others = self.peers.iter().filter(|entry| Some(*entry.key()) != about);
        let reachable = others
            .filter_map(|entry| Some((entry.value().reachable_since()?, entry.value().addr())));
        reachable.min().map(|(_, addr)| addr)
    }
}

impl GrpcTransport {
    /// A transport without peers. Must be made inside a tokio runtime, which its tasks then run on.
    ///
    /// Give it a pool that nothing else uses: on a connection that also carries what is passed on for thousands of
    /// workers, heartbeats would come late.
    pub fn new(pool: ChannelPool) -> Self {
        Self {
            shared: Arc::new(Shared {
                pool,
                runtime: Handle::current(),
                reports: OnceLock::new(),
                peers: DashMap::new(),
                members: ArcSwap::default(),
                strays: Arc::new(Semaphore::new(STRAYS_MAX)),
            }),
        }
    }

    /// Says who is told about lost messages: the raft node's handle, which can be made only once there is a transport.
    /// Messages are dropped before. The first one counts.
    pub fn report_to(&self, reports: Arc<dyn Reports>) {
        let _ = self.shared.reports.set(reports);
    }

    /// A message of this member has come in: if it is being left alone after a failure, it is tried again at once.
    pub fn heard_of(&self, raft_id: RaftId) {
        if let Some(peer) = self.peer(raft_id) {
            peer.nudge();
        }
    }

    fn peer(&self, raft_id: RaftId) -> Option<Arc<Peer>> {
        self.shared.peers.get(&raft_id).map(|entry| entry.value().clone())
    }

    /// The peer, made if need be.
    fn peer_at(&self, raft_id: RaftId, addr: &str, reports: &Arc<dyn Reports>) -> Arc<Peer> {
        if let Some(peer) = self.peer(raft_id) {
            return peer;
        }
        let mut made = None;
        let peer = self
            .shared
            .peers
            .entry(raft_id)
            .or_insert_with(|| made.insert(Peer::new(raft_id, addr)).clone())
            .value()
            .clone();
        if let Some(made) = made {
            // Weak: the peers' tasks end when the last clone of the transport goes.
            let shared = Arc::downgrade(&self.shared);
            let guides = Arc::new(move || shared.upgrade()?.guide(Some(raft_id)));
            let pool = self.shared.pool.clone();
            self.shared.runtime.spawn(made.run(pool, reports.clone(), guides));
        }
        peer
    }

    fn snapshot(&self, peer: Arc<Peer>, message: raftpb::Message, reports: Arc<dyn Reports>) {
        if peer.snapshot_under_way.swap(true, AcqRel) {
            reports.snapshot(peer.id, false);
            return;
        }
        let pool = self.shared.pool.clone();
        self.shared.runtime.spawn(async move {
            let addr = peer.addr();
            let outcome = match pool.apart(&addr) {
                Ok(channel) => send_snapshot(channel, message).await,
                Err(error) => Err(Status::unavailable(error.to_string())),
            };
            peer.snapshot_under_way.store(false, Release);
            match outcome {
                Ok(()) => {
                    peer.arrived(&*reports);
                    reports.snapshot(peer.id, true);
                }
                Err(status) => {
                    tracing::warn!(peer = %peer.id, addr, "snapshot not delivered: {status}");
                    if removed::is_signal(&status) {
                        reports.removed();
                    }
                    peer.lost(&*reports);
                    reports.snapshot(peer.id, false);
                }
            }
        });
    }

    /// Sends to a member that this one does not know the address of: the peer that has been reachable longest is asked.
    fn stray(&self, to: RaftId, message: raftpb::Message, reports: Arc<dyn Reports>) {
        let lost = move |reports: &dyn Reports, snapshot: bool| {
            reports.unreachable(to);
            if snapshot {
                reports.snapshot(to, false);
            }
        };
        let snapshot = message.r#type() == MessageType::MsgSnap;
        let (Some(guide), Ok(permit)) =
            (self.shared.guide(None), self.shared.strays.clone().try_acquire_owned())
        else {
            return lost(&*reports, snapshot);
        };
        let pool = self.shared.pool.clone();
        self.shared.runtime.spawn(async move {
            let _permit = permit;
            let sending = async {
                let addr = resolve(&pool, &guide, to).await?;
                let channel = pool.get(&addr).map_err(|e| Status::unavailable(e.to_string()))?;
                send(channel, message, &mut Call::Stream).await
            };
            match tokio::time::timeout(2 * SEND_TIMEOUT, sending).await {
                Ok(Ok(())) if snapshot => reports.snapshot(to, true),
                Ok(Ok(())) => {}
                failure => {
                    tracing::debug!(peer = %to, guide, "message to an unknown member lost: {failure:?}");
                    lost(&*reports, snapshot);
                }
            }
        });
    }
}

impl Transport for GrpcTransport {
    fn send(&self, to: &Member, message: raftpb::Message) {
        let Some(reports) = self.shared.reports.get() else { return };
        let snapshot = message.r#type() == MessageType::MsgSnap;
        if self.shared.members.load().is_removed(to.raft_id) {
            if snapshot {
                reports.snapshot(to.raft_id, false);
            }
            return;
        }
        if to.addr.is_empty() && self.peer(to.raft_id).is_none() {
            return self.stray(to.raft_id, message, reports.clone());
        }
        let peer = self.peer_at(to.raft_id, &to.addr, reports);
        if snapshot {
            return self.snapshot(peer, message, reports.clone());
        }
        if peer.push(message) == Err(Dropped::First) {
            peer.lost(&**reports);
        }
    }

    fn members_changed(&self, members: &Membership, own: RaftId) {
        self.shared.members.store(Arc::new(members.clone()));
        let mut gone = Vec::new();
        self.shared.peers.retain(|id, peer| {
            let stays = members.get(*id).is_some() && *id != own;
            if !stays {
                gone.push(peer.clone());
            }
            stays
        });
        for peer in gone {
            peer.close();
        }
        let Some(reports) = self.shared.reports.get() else { return };
        for member in members.members().filter(|member| member.raft_id != own) {
            self.peer_at(member.raft_id, &member.addr, reports).set_addr(&member.addr);
        }
    }

    fn probe(&self, addr: &str) -> BoxFuture<'static, Result<(), ProbeError>> {
        probe(self.shared.pool.clone(), addr.to_owned()).boxed()
    }
}
