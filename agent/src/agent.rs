//! The agent: one session after the other, for as long as it runs.

use std::{path::PathBuf, sync::Arc, time::Duration};

use parking_lot::Mutex;
use rand::{SeedableRng, rngs::StdRng};
use skep_proto::swarmkit::{Node, NodeDescription, SessionMessage};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::{
    backoff::Backoff,
    connector::{Connection, Connector},
    executor::Executor,
    identity::IdentityEvents,
    remembered,
    remotes::Remotes,
    reports::Reporter,
    session::{self, Followed, Redescribe, SessionError},
};

/// What an agent works with.
pub struct AgentConfig {
    /// Runs the tasks and describes the node.
    pub executor: Arc<dyn Executor>,
    /// Acts on what the managers say about this node's identity.
    pub identity: Arc<dyn IdentityEvents>,
    /// Finds managers.
    pub connector: Arc<dyn Connector>,
    /// Where the known managers are remembered, and which they are; none remembers nothing.
    pub remembered: Option<(PathBuf, Arc<Remotes>)>,
    /// Decides the delays between registrations.
    pub seed: u64,
}

/// How the agent stands with the managers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AgentState {
    /// The session's id, while there is one.
    pub session_id: Option<String>,
    /// The node object as the managers last sent it.
    pub node: Option<Arc<Node>>,
    /// Why the last session ended or did not begin; none once a session has begun.
    pub last_error: Option<String>,
}

/// What the sessions of an agent share.
pub(crate) struct Shared {
    pub executor: Arc<dyn Executor>,
    pub identity: Arc<dyn IdentityEvents>,
    pub connector: Arc<dyn Connector>,
    pub reporter: Reporter,
    state: watch::Sender<AgentState>,
}

impl Shared {
    /// What the node is now.
    pub fn description(&self) -> NodeDescription {
        let tls_info = self.identity.tls_info();
        NodeDescription { tls_info, ..self.executor.describe() }
    }

    /// A session has begun.
    pub fn registered(&self, session_id: &str) {
        tracing::info!(session_id, "registered with a manager");
        self.executor.registered(session_id);
        self.state.send_modify(|state| {
            state.session_id = Some(session_id.to_owned());
            state.last_error = None;
        });
    }

    /// Passes on what is new in a session message.
    pub fn seen_message(&self, seen: &mut Followed, message: &SessionMessage) {
        self.connector.managers(&message.managers);
        for change in seen.identity.update(message) {
            change.tell(&*self.identity);
        }
        let mut keys = message.network_bootstrap_keys.clone();
        keys.sort_by_key(|key| key.lamport_time);
        if keys != seen.keys {
            self.executor.set_network_keys(&keys);
            seen.keys = keys;
        }
        if message.node.is_some() && message.node != seen.node {
            seen.node.clone_from(&message.node);
            if let Some(node) = &message.node {
                self.executor.configure(node);
                self.state.send_modify(|state| state.node = Some(Arc::new(node.clone())));
            }
        }
    }
}

/// The worker side of the protocol.
pub struct Agent {
    shared: Shared,
    remembered: Option<(PathBuf, Arc<Remotes>)>,
    rng: Mutex<StdRng>,
}

impl Agent {
    /// An agent that does nothing until it is run.
    pub fn new(config: AgentConfig) -> Agent {
        let AgentConfig { executor, identity, connector, remembered, seed } = config;
        let state = watch::Sender::default();
        let reporter = Reporter::default();
        Agent {
            shared: Shared { executor, identity, connector, reporter, state },
            remembered,
            rng: Mutex::new(StdRng::seed_from_u64(seed)),
        }
    }

    /// How it stands with the managers, now and later.
    pub fn watch(&self) -> watch::Receiver<AgentState> {
        self.shared.state.subscribe()
    }

    /// Where an executor may report to at any time.
    pub fn reporter(&self) -> Reporter {
        self.shared.reporter.clone()
    }

    /// Keeps a session with a manager until `stop`. Safe to drop: the session then ends as a broken connection does.
    pub async fn run(&self, stop: CancellationToken) {
        let remember = async {
            if let Some((path, remotes)) = &self.remembered {
                remembered::keep(path.clone(), remotes.clone()).await;
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = remember => {}
            () = self.sessions() => {}
        }
        self.shared.state.send_modify(|state| state.session_id = None);
    }

    async fn sessions(&self) {
        let mut backoff = Backoff::default();
        let mut resume = String::new();
        loop {
            tokio::time::sleep(self.delay(&backoff)).await;
            match self.session(&mut backoff, std::mem::take(&mut resume)).await {
                Ok(Redescribe { session_id }) => {
                    tracing::info!("this node describes itself anew");
                    resume = session_id;
                }
                Err(error) => {
                    backoff.failed();
                    tracing::warn!(%error, "no session with a manager; trying again");
                    self.shared.state.send_modify(|state| {
                        state.session_id = None;
                        state.last_error = Some(error.to_string());
                    });
                }
            }
        }
    }

    async fn session(
        &self,
        backoff: &mut Backoff,
        resume: String,
    ) -> Result<Redescribe, SessionError> {
        let Connection { channel, via } = self.shared.connector.connect().await?;
        let before = self.shared.state.borrow().session_id.clone();
        let description = self.shared.description();
        let ended = session::serve(&self.shared, channel, resume, description).await;
        let registered = self.shared.state.borrow().session_id != before || ended.is_ok();
        if registered {
            backoff.worked();
            self.shared.connector.observe(&via, true);
        }
        if ended.is_err() {
            self.shared.connector.observe(&via, false);
        }
        ended
    }

    fn delay(&self, backoff: &Backoff) -> Duration {
        backoff.delay(&mut *self.rng.lock())
    }
}
