//! One worker of a fleet: an identity, a simulated node, and an agent that comes and goes.

use std::{future::Future, sync::Arc};

use parking_lot::Mutex;
use skep_ca::{
    KeyFile, PeerName, SecurityConfig, connect,
    renewal::{self, Renewals},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::identity::{InMemory, Known};
use crate::{Agent, AgentConfig, AgentState, LocalFirst, Remotes, simulated::SimulatedNode};

/// One worker of a fleet.
pub struct Worker {
    hostname: String,
    security: SecurityConfig,
    node: Arc<SimulatedNode>,
    remotes: Arc<Remotes>,
    agent: Arc<Agent>,
    renewals: Renewals,
    running: Mutex<Option<JoinHandle<()>>>,
}

impl Worker {
    /// A worker that does nothing until it is started.
    pub(super) fn new(
        hostname: String,
        security: SecurityConfig,
        node: Arc<SimulatedNode>,
        remotes: Remotes,
        seed: u64,
    ) -> Worker {
        let remotes = Arc::new(remotes);
        let renewals = Renewals::default();
        let dial = connect::Dial::new(security.client_config(), PeerName::Manager);
        let agent = Arc::new(Agent::new(AgentConfig {
            executor: node.clone(),
            identity: Arc::new(InMemory { security: security.clone(), renewals: renewals.clone() }),
            connector: Arc::new(LocalFirst::remotes_only(remotes.clone(), Arc::new(dial))),
            remembered: None,
            seed,
        }));
        let running = Mutex::new(None);
        Worker { hostname, security, node, remotes, agent, renewals, running }
    }

    /// The name it reports.
    pub fn hostname(&self) -> &str {
        &self.hostname
    }

    /// Its id in the cluster.
    pub fn id(&self) -> &str {
        self.node.id()
    }

    /// Its tasks.
    pub fn node(&self) -> &Arc<SimulatedNode> {
        &self.node
    }

    /// Its identity, to call managers as this worker.
    pub fn security(&self) -> &SecurityConfig {
        &self.security
    }

    /// How it stands with the managers, now and later.
    pub fn watch(&self) -> watch::Receiver<AgentState> {
        self.agent.watch()
    }

    /// Starts its agent, unless it runs. Needs a runtime.
    pub fn start(&self) {
        let mut running = self.running.lock();
        if running.is_none() {
            *running = Some(tokio::spawn(self.run()));
        }
    }

    /// Cuts the worker off from the managers: its agent ends as that of a machine that lost its network does, and its
    /// tasks go on.
    pub fn disconnect(&self) {
        if let Some(running) = self.running.lock().take() {
            running.abort();
        }
    }

    /// As if the machine had lost its power: agent and tasks are gone. [`Worker::start`] brings it back, empty.
    pub fn crash(&self) {
        self.disconnect();
        self.node.crash();
    }

    fn run(&self) -> impl Future<Output = ()> + use<> {
        let agent = self.agent.clone();
        let known = Arc::new(Known(self.remotes.clone()));
        let renewing =
            renewal::run(self.security.clone(), None::<KeyFile>, known, self.renewals.clone());
        async move {
            // Dropped, not cancelled, when the worker is cut off.
            let never = CancellationToken::new();
            tokio::select! {
                () = agent.run(never) => {}
                () = renewing => {}
            }
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.disconnect();
    }
}
