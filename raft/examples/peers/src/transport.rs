//! The way to the other members, as the raft node sees it.

use std::sync::{
    Arc, OnceLock,
    atomic::Ordering::{AcqRel, Release},
};

use futures::future::BoxFuture;
use parking_lot::Mutex;
use skep_proto::raftpb::{self, MessageType};
use skep_raft::{Member, Membership, NodeHandle, ProbeError, RaftId, Transport};
use std::collections::BTreeMap;

use crate::{
    Security,
    ask::{self, Leaders},
    peer::Peer,
    snapshot,
    wire::Hello,
};

/// Peers that are spoken to at most. Members number a handful; this bounds what strangers who call could leave behind.
const PEERS_MAX: usize = 128;

/// What the node's transport, the service and the group share.
pub struct Shared {
    pub security: Security,
    pub name: String,
    pub incarnation: u64,
    pub addr: String,
    /// The nodes that this one was told to found a group with, in the words of all of them.
    pub listed: String,
    /// It had not been a member of any group when it started.
    pub fresh: bool,
    pub leaders: Leaders,
    /// Set once this node is a member.
    pub membership: OnceLock<Joined>,
    peers: Mutex<BTreeMap<RaftId, Arc<Peer>>>,
}

/// What there is once the node is a member.
pub struct Joined {
    pub cluster: u64,
    pub node: NodeHandle,
}

impl Shared {
    pub fn new(
        security: Security,
        name: String,
        incarnation: u64,
        addr: String,
        listed: String,
        fresh: bool,
    ) -> Arc<Shared> {
        Arc::new(Shared {
            security,
            name,
            incarnation,
            addr,
            listed,
            fresh,
            leaders: Leaders::default(),
            membership: OnceLock::new(),
            peers: Mutex::default(),
        })
    }

    fn hello(&self, joined: &Joined) -> Hello {
        Hello { cluster: joined.cluster, from: joined.node.own().0, addr: self.addr.clone() }
    }

    /// The peer, made if need be.
    fn peer(&self, raft_id: RaftId) -> Option<Arc<Peer>> {
        let joined = self.membership.get()?;
        let mut peers = self.peers.lock();
        if let Some(peer) = peers.get(&raft_id) {
            return Some(peer.clone());
        }
        if peers.len() >= PEERS_MAX || raft_id == joined.node.own() {
            return None;
        }
        let peer = Peer::new(raft_id);
        peers.insert(raft_id, peer.clone());
        let (stop, security) = (peer.stop.clone(), self.security.clone());
        let running = peer.clone().run(
            joined.node.clone(),
            move |addr: &str| ask::dial(&security, addr),
            self.hello(joined),
        );
        tokio::spawn(async move {
            tokio::select! {
                () = running => {}
                () = stop.cancelled() => {}
            }
        });
        Some(peer)
    }

    /// A stream of this peer has begun: it is there, and says where.
    pub fn called_by(&self, raft_id: RaftId, addr: &str) {
        if let Some(peer) = self.peer(raft_id) {
            peer.called_from(addr);
        }
    }

    /// Ends every stream.
    pub fn stop(&self) {
        for (_, peer) in std::mem::take(&mut *self.peers.lock()) {
            peer.stop.cancel();
        }
    }

    fn send_snapshot(&self, peer: Arc<Peer>, joined: &Joined, message: raftpb::Message) {
        let node = joined.node.clone();
        let channel = peer.addr().map(|addr| ask::dial(&self.security, &addr));
        let Some(Ok(channel)) = channel else { return node.report_snapshot(peer.id, false) };
        if peer.snapshot_under_way.swap(true, AcqRel) {
            return node.report_snapshot(peer.id, false);
        }
        let hello = self.hello(joined);
        let stop = peer.stop.clone();
        tokio::spawn(async move {
            let sending = snapshot::send(channel, hello, message);
            let outcome = tokio::select! {
                outcome = sending => outcome,
                () = stop.cancelled() => Err(tonic::Status::cancelled("the member has left")),
            };
            peer.snapshot_under_way.store(false, Release);
            if let Err(status) = &outcome {
                tracing::warn!(peer = %peer.id, "a snapshot was not delivered: {status}");
            }
            node.report_snapshot(peer.id, outcome.is_ok());
        });
    }
}

/// The transport of one node. Its tasks end with [`Shared::stop`].
pub struct PeersTransport(pub Arc<Shared>);

impl Transport for PeersTransport {
    fn send(&self, to: &Member, message: raftpb::Message) {
        // Without a handle nobody could be told what becomes of it: the node sends nothing of weight that early.
        let Some(joined) = self.0.membership.get() else { return };
        let is_snapshot = message.r#type() == MessageType::MsgSnap;
        let Some(peer) = self.0.peer(to.raft_id) else {
            if is_snapshot {
                joined.node.report_snapshot(to.raft_id, false);
            }
            return;
        };
        if !to.addr.is_empty() {
            peer.set_known(&to.addr);
        }
        if is_snapshot {
            self.0.send_snapshot(peer, joined, message);
        } else if !peer.outbox.push(message) {
            peer.lost(&joined.node);
        }
    }

    fn members_changed(&self, members: &Membership, own: RaftId) {
        for member in members.members().filter(|member| member.raft_id != own) {
            if let Some(peer) = self.0.peer(member.raft_id) {
                peer.set_known(&member.addr);
            }
        }
        self.0.peers.lock().retain(|raft_id, peer| {
            let stays = !members.is_removed(*raft_id);
            if !stays {
                peer.stop.cancel();
            }
            stays
        });
    }

    fn probe(&self, addr: &str) -> BoxFuture<'static, Result<(), ProbeError>> {
        let (shared, addr) = (self.0.clone(), addr.to_owned());
        Box::pin(async move {
            let own = shared.membership.get().map(|joined| joined.cluster);
            let found = ask::who(&shared.security, &addr).await;
            let found =
                found.map_err(|status| ProbeError(format!("{addr}: {}", status.message())))?;
            match found.cluster {
                0 => Ok(()),
                cluster if Some(cluster) == own => Ok(()),
                _ => Err(ProbeError(format!("{addr} is a member of another group"))),
            }
        })
    }
}
