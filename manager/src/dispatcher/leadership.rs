//! What the dispatcher knows for as long as this manager leads. Gone with the leadership: the next leader asks anew.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use skep_proto::{
    ids::{NodeId, SessionId},
    swarmkit::{Cluster, Node, NodeDescription, node_status::State},
};
use skep_store::{By, Store, Tables};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};
use tonic::Status;

use super::{
    DispatcherConfig, DispatcherMetrics,
    liveness::{Beat, Liveness},
    message::Common,
    node_state::NodeChange,
    node_writes::{NodeWrite, WriteError},
    sessions::{End, Session, Sessions},
    status_reports::Reports,
    timing::{
        GRACE_PERIODS, HEARTBEAT_JITTER, NODE_WRITES_QUEUED_MAX, Registrations,
        UNKNOWN_GRACE_PERIODS, configured_period, jittered,
    },
    wave::Wave,
};
use crate::group::Group;

/// One leadership of this manager.
pub(super) struct Leadership {
    pub store: Store,
    pub group: Arc<dyn Group>,
    /// This manager's node: reports are stamped with it.
    pub own_node: String,
    pub sessions: Sessions,
    pub liveness: Mutex<Liveness>,
    pub reports: Mutex<Reports>,
    /// There is something in `reports`.
    pub reported: Notify,
    pub common: watch::Sender<Arc<Common>>,
    pub metrics: DispatcherMetrics,
    /// Of the messages with assignments.
    pub wave: Mutex<Wave>,
    began: Instant,
    registrations: Mutex<HashMap<NodeId, Registrations>>,
    period_ms: AtomicU64,
    rng: Mutex<StdRng>,
    writes: mpsc::Sender<NodeWrite>,
    over: AtomicBool,
}

impl Leadership {
    /// Begins with what the store holds: nodes are unknown until they come, except for those that are down already.
    pub fn begin(config: &DispatcherConfig) -> (Arc<Leadership>, mpsc::Receiver<NodeWrite>) {
        let (writes, queue) = mpsc::channel(NODE_WRITES_QUEUED_MAX);
        let view = config.store.view();
        let leadership = Leadership {
            store: config.store.clone(),
            group: config.group.clone(),
            own_node: config.node_id.to_string(),
            sessions: Sessions::default(),
            liveness: Mutex::new(lives_at_start(&view)),
            reports: Mutex::default(),
            reported: Notify::new(),
            common: watch::Sender::default(),
            metrics: config.metrics.clone(),
            wave: Mutex::default(),
            began: Instant::now(),
            registrations: Mutex::default(),
            period_ms: AtomicU64::new(0),
            rng: Mutex::new(StdRng::seed_from_u64(config.seed)),
            writes,
            over: AtomicBool::new(false),
        };
        leadership.publish_common(&view);
        (Arc::new(leadership), queue)
    }

    /// The present moment on this leadership's own time line.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// Takes up what the cluster object and the group's membership say to all sessions.
    pub fn publish_common(&self, tables: &Tables) {
        let cluster = default_cluster(tables);
        let period = configured_period(cluster);
        let period_ms = u64::try_from(period.as_millis()).unwrap_or(u64::MAX).max(1);
        self.period_ms.store(period_ms, Ordering::Relaxed);
        let common = Common::of(cluster, &self.group.members());
        self.common.send_if_modified(|current| {
            let differs = **current != common;
            if differs {
                *current = Arc::new(common);
            }
            differs
        });
    }

    /// Registers a node: once this returns, the store holds that it is ready, and an earlier session is over.
    pub async fn register(
        &self,
        node: NodeId,
        description: Option<NodeDescription>,
        addr: String,
    ) -> Result<Arc<Session>, Status> {
        if self.store.view().get::<Node>(&node).is_none() {
            return Err(Status::unknown("node not found"));
        }
        self.count_registration(node)?;
        let grace = self.period() * UNKNOWN_GRACE_PERIODS;
        self.liveness.lock().registering(node, self.now() + grace);
        self.sessions.end(&node, End::Superseded);
        self.write(node, Some(NodeChange::Ready { description, addr })).await?;

        let beat = Beat::until(self.now() + GRACE_PERIODS * self.period());
        let session = Session::new(node, SessionId::random(&mut *self.rng.lock()), beat.clone());
        self.liveness.lock().live(node, session.id, beat);
        self.sessions.open(session.clone());
        // Whoever ends the leadership sets this before it ends the sessions: one of the two sees the other.
        if self.over.load(Ordering::SeqCst) {
            self.sessions.end(&node, End::Stopped);
            return Err(End::Stopped.into());
        }
        Ok(session)
    }

    /// Takes a heartbeat and says when the next one is due.
    pub fn beat(&self, node: &NodeId, session: &str) -> Result<Duration, Status> {
        let session = self.sessions.check(node, session)?;
        let period = jittered(self.period(), HEARTBEAT_JITTER, &mut *self.rng.lock());
        session.beat.put_off(self.now() + GRACE_PERIODS * period);
        Ok(period)
    }

    /// Writes a change of a node and waits until it is committed. Without a change it only makes sure that this manager
    /// still leads, and its store holds everything that was ever acknowledged.
    pub async fn write(&self, node: NodeId, change: Option<NodeChange>) -> Result<(), WriteError> {
        let (done, result) = oneshot::channel();
        let write = NodeWrite { node, change, done: Some(done) };
        self.writes.send(write).await.map_err(|_| WriteError::Over)?;
        result.await.map_err(|_| WriteError::Over)?
    }

    /// Has a change of a node written, some time soon.
    pub async fn write_later(&self, node: NodeId, change: NodeChange) {
        let write = NodeWrite { node, change: Some(change), done: None };
        // Refused only when nobody writes any more, because the leadership is over.
        let _ = self.writes.send(write).await;
    }

    /// The node was removed from the cluster.
    pub fn removed(&self, node: &NodeId) {
        self.sessions.end(node, End::NotRegistered);
        self.liveness.lock().forget(node);
        self.registrations.lock().remove(node);
    }

    /// Ends all sessions and opens no more.
    pub fn end(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.sessions.end_all(End::Stopped);
    }

    fn period(&self) -> Duration {
        Duration::from_millis(self.period_ms.load(Ordering::Relaxed))
    }

    fn count_registration(&self, node: NodeId) -> Result<(), Status> {
        let now = self.now();
        let mut registrations = self.registrations.lock();
        let allowed = match registrations.get_mut(&node) {
            Some(earlier) => earlier.another(now),
            None => {
                registrations.insert(node, Registrations::first(now));
                true
            }
        };
        if allowed {
            return Ok(());
        }
        let text = format!("node {node} exceeded rate limit count of registrations");
        Err(Status::unavailable(text))
    }
}

/// The cluster object of this cluster.
pub(super) fn default_cluster(tables: &Tables) -> Option<&Cluster> {
    tables.find_one::<Cluster>(By::Name("default".to_owned())).map(|cluster| &**cluster)
}

/// What a new leader assumes of each node.
fn lives_at_start(tables: &Tables) -> Liveness {
    let grace = configured_period(default_cluster(tables)) * UNKNOWN_GRACE_PERIODS;
    let mut lives = Liveness::default();
    for node in tables.all::<Node>() {
        let Ok(id) = node.id.parse() else { continue };
        match node.status.as_ref().map(|s| s.state()) {
            Some(State::Down) => lives.down(id, Duration::ZERO),
            _ => lives.unknown(id, grace),
        }
    }
    lives
}
