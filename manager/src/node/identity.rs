//! What the door and the connection pool ask of a node, answered from its certificate and its store.

use std::{sync::Arc, time::Instant};

use arc_swap::ArcSwap;
use futures::{FutureExt as _, future::BoxFuture};
use skep_api::{Blacklist, IdentitySource, Leader, LeaderRoute, OwnIdentity};
use skep_ca::SecurityConfig;
use skep_proto::{
    ids::ClusterId,
    swarmkit::{Cluster, Node, NodeRole},
};
use skep_raft::{NodeHandle, RaftId};
use skep_store::Store;

/// The certificate as the door sees it.
pub struct NodeIdentity {
    security: SecurityConfig,
    addr: ArcSwap<String>,
    current: ArcSwap<OwnIdentity>,
    generation: parking_lot::Mutex<tokio::sync::watch::Receiver<u64>>,
}

impl NodeIdentity {
    /// For a node with this certificate, reached at `addr`.
    pub fn new(security: SecurityConfig, addr: String) -> NodeIdentity {
        let generation = parking_lot::Mutex::new(security.watch());
        let current = ArcSwap::from_pointee(own(&security, &addr));
        NodeIdentity { security, addr: ArcSwap::from_pointee(addr), current, generation }
    }

    /// The node is reached elsewhere from now on.
    pub fn set_addr(&self, addr: String) {
        self.current.store(Arc::new(own(&self.security, &addr)));
        self.addr.store(Arc::new(addr));
    }
}

fn own(security: &SecurityConfig, addr: &str) -> OwnIdentity {
    let identity = security.identity();
    OwnIdentity {
        node_id: identity.node_id.as_str().into(),
        cluster_id: identity.cluster_id.as_str().into(),
        units: Arc::new([identity.role.organizational_unit().to_owned()]),
        addr: addr.into(),
    }
}

impl IdentitySource for NodeIdentity {
    fn identity(&self) -> Option<Arc<OwnIdentity>> {
        let mut generation = self.generation.lock();
        if generation.has_changed().unwrap_or(false) {
            generation.mark_unchanged();
            self.current.store(Arc::new(own(&self.security, &self.addr.load())));
        }
        Some(self.current.load_full())
    }
}

/// The cluster object's list of removed nodes, and the roles of the others.
pub struct StoreBlacklist {
    store: Store,
    cluster_id: ClusterId,
}

impl StoreBlacklist {
    /// Of this cluster.
    pub fn new(store: Store, cluster_id: ClusterId) -> StoreBlacklist {
        StoreBlacklist { store, cluster_id }
    }
}

impl Blacklist for StoreBlacklist {
    fn is_removed(&self, node_id: &str) -> bool {
        self.store
            .view()
            .get::<Cluster>(&self.cluster_id)
            .is_some_and(|cluster| cluster.blacklisted_certificates.contains_key(node_id))
    }

    /// It has the role of a worker and is to have it. On its way up or down a node is a manager: a founder's role comes a
    /// moment after it leads.
    fn is_demoted(&self, node_id: &str) -> bool {
        self.store.view().get_text::<Node>(node_id).is_some_and(|node| {
            node.role() == NodeRole::Worker
                && node.spec.as_ref().is_some_and(|spec| spec.desired_role() == NodeRole::Worker)
        })
    }
}

/// Who leads, from the raft node's status.
pub struct RaftLeader {
    raft: NodeHandle,
    /// Since when nobody is known to lead.
    leaderless: parking_lot::Mutex<Option<Instant>>,
}

impl RaftLeader {
    /// Over this node.
    pub fn new(raft: NodeHandle) -> RaftLeader {
        RaftLeader { raft, leaderless: parking_lot::Mutex::new(None) }
    }
}

impl LeaderRoute for RaftLeader {
    fn leader(&self) -> Leader {
        let status = self.raft.status();
        let known = if status.leads() {
            Some(Leader::Local)
        } else {
            let other =
                status.leader.filter(|leader| *leader != status.own && *leader != RaftId(0));
            other.and_then(|leader| status.members.get(leader)).map(|member| Leader::Remote {
                addr: member.addr.clone(),
                node_id: member.node_id.clone(),
            })
        };
        let mut leaderless = self.leaderless.lock();
        match known {
            Some(leader) => {
                *leaderless = None;
                leader
            }
            None => {
                let since = leaderless.get_or_insert_with(Instant::now);
                let for_ticks = u32::try_from(since.elapsed().as_secs()).unwrap_or(u32::MAX);
                Leader::Unknown { for_ticks }
            }
        }
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut status = self.raft.watch_status();
        status.mark_unchanged();
        let seen = |status: &skep_raft::Status| (status.leader, status.epoch);
        let before = seen(&status.borrow());
        async move {
            let changed = status.wait_for(|status| seen(status) != before).await.is_ok();
            if !changed {
                // The node has ended; its listeners are about to.
                std::future::pending::<()>().await;
            }
        }
        .boxed()
    }
}
