//! Many workers in one process, each with an identity of its own that it got from the cluster's CA with a join token, and
//! a session over a connection of its own. What they run is simulated; what goes over the wire is real.

mod identity;
mod worker;

use std::{future::Future, sync::Arc, time::Duration};

use futures::{StreamExt as _, TryStreamExt as _, stream};
use skep_ca::{
    Clock, JoinToken, RootCa, SecurityConfig,
    enroll::{self, DownloadError, EnrollError},
    tls::SecurityError,
};
use skep_proto::swarmkit::{NodeDescription, TaskState, node_spec::Availability};
use tokio::task::JoinHandle;

pub use worker::Worker;

use crate::{
    Remote, Remotes, description,
    simulated::{Nobody, SimulatedNode, SimulatedNodeConfig, Timers, Witness},
};

/// Certificates that are asked for at the same time. Each request waits for a commit of the cluster, so some together are
/// faster than one after the other; more only queue up at the CA.
const JOINS_AT_ONCE: usize = 32;
/// What a worker says that it has, unless told otherwise: room for thousands of tasks that reserve something.
const CPUS: usize = 64;
const MEMORY_BYTES: i64 = 256 << 30;

/// How workers are made.
pub struct FleetOptions {
    /// `HOST:PORT` of one or more managers.
    pub managers: Vec<String>,
    /// A worker's join token.
    pub token: JoinToken,
    /// Host names are this and a number.
    pub hostname: String,
    /// Decides everything that is left to chance, except keys.
    pub seed: u64,
    /// Judges certificates and stamps statuses.
    pub clock: Clock,
    /// Sees what the nodes are told and what they do.
    pub witness: Arc<dyn Witness>,
    /// What the worker of this number says that it is, under this host name.
    pub describe: fn(usize, &str) -> NodeDescription,
}

impl FleetOptions {
    /// Workers `worker-1`, `worker-2` and so on, of one kind.
    pub fn new(managers: Vec<String>, token: JoinToken) -> FleetOptions {
        FleetOptions {
            managers,
            token,
            hostname: "worker-".to_owned(),
            seed: 0,
            clock: Clock::system(),
            witness: Arc::new(Nobody),
            describe: |_, hostname| {
                let description = description::described(hostname, CPUS, MEMORY_BYTES);
                description::with_engine_plugins(description)
            },
        }
    }
}

/// Why workers could not join.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// There is no root to trust.
    #[error("simulated workers cannot join")]
    Root(#[from] DownloadError),
    /// A worker got no certificate.
    #[error("simulated worker {hostname} cannot join")]
    Enroll {
        /// Which.
        hostname: String,
        /// Why.
        source: EnrollError,
    },
    /// A worker got a certificate that it cannot use.
    #[error("simulated worker {hostname} cannot use its certificate")]
    Security {
        /// Which.
        hostname: String,
        /// Why.
        source: SecurityError,
    },
    /// Not all got a session.
    #[error(
        "only {registered} of {count} simulated workers have a session after {limit:?}: {last}"
    )]
    Sessions {
        /// How many have one.
        registered: usize,
        /// How many there are.
        count: usize,
        /// How long it was waited for.
        limit: Duration,
        /// What one of the others says.
        last: String,
    },
}

/// Workers of one process. They end when it is dropped.
pub struct Fleet {
    options: FleetOptions,
    root: RootCa,
    workers: Vec<Worker>,
    timers: Timers,
    ticking: JoinHandle<()>,
}

impl Fleet {
    /// So many workers join and start. Returns when all have certificates; sessions come after, see
    /// [`Fleet::wait_until_registered`]. Safe to drop: nodes that were made in the cluster stay there then, down.
    pub async fn join(options: FleetOptions, count: usize) -> Result<Fleet, FleetError> {
        let managers = enroll::Remotes::new(options.managers.clone());
        let digest = Some(options.token.root());
        let root = enroll::download_root(&managers, digest, &options.clock).await?;
        let timers = Timers::default();
        let ticking = tokio::spawn({
            let timers = timers.clone();
            async move { timers.run().await }
        });
        let mut fleet = Fleet { options, root, workers: Vec::new(), timers, ticking };
        fleet.add(count).await?;
        Ok(fleet)
    }

    /// So many more join and start.
    pub async fn add(&mut self, count: usize) -> Result<(), FleetError> {
        let first = self.workers.len();
        let joining: Vec<_> = (first..first + count).map(|number| self.worker(number)).collect();
        let joined: Vec<Worker> =
            stream::iter(joining).buffered(JOINS_AT_ONCE).try_collect().await?;
        self.workers.extend(joined);
        Ok(())
    }

    /// The workers, in the order of their numbers.
    pub fn workers(&self) -> &[Worker] {
        &self.workers
    }

    /// The worker with this node id.
    pub fn worker_of(&self, node_id: &str) -> Option<&Worker> {
        self.workers.iter().find(|worker| worker.id() == node_id)
    }

    /// How many tasks are in this state, over all workers.
    pub fn count(&self, state: TaskState) -> usize {
        self.workers.iter().map(|worker| worker.node().count(state)).sum()
    }

    /// Waits until every worker has a session.
    pub async fn wait_until_registered(&self, limit: Duration) -> Result<(), FleetError> {
        let all = async {
            for worker in &self.workers {
                // The agent is the fleet's, so the sender lives as long as this borrow.
                let _ = worker.watch().wait_for(|state| state.session_id.is_some()).await;
            }
        };
        if tokio::time::timeout(limit, all).await.is_ok() {
            return Ok(());
        }
        let without: Vec<_> = self
            .workers
            .iter()
            .map(|worker| worker.watch().borrow().clone())
            .filter(|state| state.session_id.is_none())
            .collect();
        let count = self.workers.len();
        let last = without.iter().find_map(|state| state.last_error.clone()).unwrap_or_default();
        Err(FleetError::Sessions { registered: count - without.len(), count, limit, last })
    }

    fn worker(&self, number: usize) -> impl Future<Output = Result<Worker, FleetError>> + use<> {
        let FleetOptions { managers, token, hostname, seed, clock, witness, describe } =
            &self.options;
        let hostname = format!("{hostname}{}", number + 1);
        let managers: Vec<Remote> = managers
            .iter()
            .map(|addr| Remote { node_id: String::new(), addr: addr.clone() })
            .collect();
        let description = describe(number, &hostname);
        let (token, root, clock) = (token.clone(), self.root.clone(), clock.clone());
        let (timers, witness) = (self.timers.clone(), witness.clone());
        // Each worker draws its own delays and managers.
        let seed = seed.wrapping_add(number as u64);
        async move {
            let addrs = managers.iter().map(|manager| manager.addr.clone()).collect();
            let asked = enroll::Remotes::new(addrs);
            let enrolled = enroll::join(&asked, &root, &token, Availability::Active, &clock).await;
            let enrolled = enrolled
                .map_err(|source| FleetError::Enroll { hostname: hostname.clone(), source })?;
            let security = SecurityConfig::new(root, enrolled.credentials, clock.clone())
                .map_err(|source| FleetError::Security { hostname: hostname.clone(), source })?;
            let node = SimulatedNode::new(SimulatedNodeConfig {
                node_id: security.identity().node_id.to_string(),
                description,
                seed,
                clock,
                timers,
                witness,
            });
            let worker = Worker::new(hostname, security, node, Remotes::new(managers, seed), seed);
            worker.start();
            Ok(worker)
        }
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        self.ticking.abort();
    }
}
