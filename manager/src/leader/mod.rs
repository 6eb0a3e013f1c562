//! What only the leader does: it writes the first objects of a new cluster, then runs the control loops.
//!
//! [`lead`] is started when this manager leads and has applied everything up to its election, and dropped when it no
//! longer does. The loops end with it; they talk to each other through the store alone.

pub mod defaults;

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use skep_ca::{Clock, SecurityConfig};
use skep_proto::{
    ids::{ClusterId, NodeId},
    swarmkit::{Cluster, Network, Node, node_spec},
};
use skep_store::{By, Store, StoreError, Tx, UpdateError};
use tracing::{error, info};

use self::defaults::ClusterSeed;
use crate::{
    allocator, authority, dispatcher,
    dispatcher::{DispatcherConfig, DispatcherMetrics, DispatcherService},
    enforcer,
    group::Group,
    keys,
    logs::{self, LogBroker},
    orchestrator, roles, scheduler,
};

/// Pause before the first write of a leadership is tried again.
const BOOTSTRAP_RETRY: Duration = Duration::from_millis(200);

/// What control loops work with.
#[derive(Clone)]
pub struct LeaderContext {
    /// The objects.
    pub store: Store,
    /// The raft group.
    pub group: Arc<dyn Group>,
    /// This node's identity.
    pub security: SecurityConfig,
    /// The time of day.
    pub clock: Clock,
    /// The cluster.
    pub cluster_id: ClusterId,
    /// This node.
    pub node_id: NodeId,
    /// Set on the founder until the process ends: what the cluster begins with.
    pub seed: Option<Arc<ClusterSeed>>,
    /// Whether a founder is offered tasks.
    pub availability: node_spec::Availability,
    /// Services that are only alive while this manager leads.
    pub shared: Shared,
}

/// Services that answer on every manager and work only on the leader.
#[derive(Clone)]
pub struct Shared {
    /// Sessions of nodes.
    pub dispatcher: DispatcherService,
    /// Logs of tasks.
    pub logs: LogBroker,
    /// Certificates.
    pub authority: authority::Authority,
    /// What did not agree among networks.
    pub findings: allocator::Findings,
}

/// Runs the control loops. Returns only when one of them ends by itself, which none should.
pub async fn lead(context: LeaderContext) {
    bootstrap(&context).await;
    let book = allocator::Book::default();
    let LeaderContext { store, group, shared, cluster_id, clock, .. } = context.clone();
    tokio::select! {
        () = dispatcher::run(shared.dispatcher.clone()) => {}
        () = logs::run(shared.logs.clone()) => {}
        () = roles::run(store.clone(), group) => {}
        () = allocator::run(store.clone(), book.clone(), shared.findings.clone()) => {}
        () = keys::run(store.clone(), cluster_id, StdRng::from_os_rng()) => {}
        () = orchestrator::run(store.clone(), book, clock.clone(), StdRng::from_os_rng()) => {}
        () = scheduler::run(store.clone(), clock) => {}
        () = enforcer::run(store.clone()) => {}
        () = shared.authority.sign() => {}
        () = shared.authority.rotate() => {}
    }
}

/// Sees to it that the objects that every cluster has are there. Tried until it is written or leadership is lost.
async fn bootstrap(context: &LeaderContext) {
    loop {
        let result =
            context.store.update(|tx| write_missing(tx, context, &mut StdRng::from_os_rng())).await;
        match result {
            Ok(true) => {
                return info!(cluster = %context.cluster_id, "the cluster's first objects are written");
            }
            Ok(false) => return,
            Err(error @ (UpdateError::Refused(_) | UpdateError::Unknown)) => {
                tracing::debug!(%error, "the first write of this leadership is tried again");
            }
            Err(error) => {
                error!(%error, "the first write of this leadership failed; it is tried again")
            }
        }
        tokio::time::sleep(BOOTSTRAP_RETRY).await;
    }
}

/// Writes what is missing; says whether anything was.
fn write_missing(
    tx: &mut Tx,
    context: &LeaderContext,
    rng: &mut StdRng,
) -> Result<bool, StoreError> {
    let mut wrote = false;
    if let Some(seed) = &context.seed
        && tx.get::<Cluster>(&context.cluster_id).is_none()
    {
        tx.create(defaults::cluster(seed))?;
        tx.create(defaults::ingress(rng))?;
        wrote = true;
    }
    if tx.get::<Cluster>(&context.cluster_id).is_some()
        && tx.get::<Node>(&context.node_id).is_none()
        && context.seed.is_some()
    {
        let port = tx.get::<Cluster>(&context.cluster_id).map_or(0, |c| c.vxlanudp_port);
        tx.create(defaults::founder(context.node_id, context.availability, port))?;
        wrote = true;
    }
    for network in defaults::predefined_networks(rng) {
        let name = network.spec.as_ref().and_then(|spec| spec.annotations.as_ref());
        let name = name.map(|annotations| annotations.name.clone()).unwrap_or_default();
        if tx.find_one::<Network>(By::Name(name)).is_none() {
            tx.create(network)?;
            wrote = true;
        }
    }
    Ok(wrote)
}

impl Shared {
    /// For one manager.
    pub fn new(
        store: &Store,
        group: &Arc<dyn Group>,
        security: &SecurityConfig,
        clock: &Clock,
    ) -> Shared {
        let node_id = security.identity().node_id;
        let dispatcher = DispatcherService::new(DispatcherConfig {
            store: store.clone(),
            group: Arc::clone(group),
            node_id,
            seed: rand::random(),
            metrics: DispatcherMetrics::default(),
        });
        let authority = authority::Authority::new(store.clone(), security.clone(), clock.clone());
        let findings = allocator::Findings::default();
        Shared {
            dispatcher,
            logs: LogBroker::new(store.clone(), clock.clone()),
            authority,
            findings,
        }
    }
}
