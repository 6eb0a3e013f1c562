//! Runs a node: its agent and its renewals always, a manager while its certificate says manager.
//!
//! ```text
//!   certificate says manager ──▶ manager runs ──▶ removed from the raft group ─┐
//!         ▲                          │                                         │ log deleted
//!         └── renewed ◀── worker ◀───┴── certificate says worker ◀─────────────┘
//! ```

use std::{sync::Arc, time::Duration};

use skep_agent::{Agent, AgentState, Remotes};
use skep_ca::{
    Clock, KeyFile, Role, SecurityConfig, connect,
    enroll::{self, EnrollError, Managers},
    renewal::{self, Renewals},
};
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::{Code, transport::Channel};
use tracing::{info, warn};

use super::{
    Manager, Node, NodeError, NodeExit, NodeFiles,
    agent::{IdentityHooks, RenewalManagers, agent},
    lock::keyring,
    manager::{ManagerConfig, ManagerExit, ManagerStart, ManagerTask},
    remote::Remote,
};
use crate::config::Config;

/// How long a manager that was removed from the raft group waits for its worker certificate before it asks (SwarmKit's
/// figure).
const ROLE_CHANGE_TIME_MAX: Duration = Duration::from_secs(16);
/// Pause before a manager that did not come up is started again.
const RESTART_PAUSE: Duration = Duration::from_secs(2);
/// The words by which a manager refuses a node that was removed (SwarmKit's text).
const REMOVED: &str = "was removed from swarm";
/// The words by which the CA refuses a request that proves nothing (SwarmKit's text).
const NEEDS_TOKEN: &str = "A valid join token is necessary to join this cluster";

/// What a node is made of.
pub struct Parts {
    /// The daemon's settings.
    pub config: Config,
    /// The state folder.
    pub files: NodeFiles,
    /// The time of day.
    pub clock: Clock,
    /// Certificate, key and roots in use.
    pub security: SecurityConfig,
    /// Certificate and key on disk.
    pub key_file: KeyFile,
    /// The known managers.
    pub remotes: Arc<Remotes>,
    /// `host:port` for the others.
    pub advertise: String,
}

/// The manager that a node begins with.
pub struct FirstManager {
    /// How it comes to be.
    pub start: ManagerStart,
    /// Its listener, bound.
    pub remote: Option<Remote>,
}

/// Starts a node. With a first manager it returns when that one is ready; the error of one that is not is the caller's.
pub async fn start(
    parts: Parts,
    first: Option<FirstManager>,
    stop: CancellationToken,
) -> Result<(Arc<Node>, JoinHandle<NodeExit>), NodeError> {
    let (manager_tx, manager) = watch::channel(None);
    let (local_tx, local) = watch::channel(None);
    let supervisor = Supervisor { parts, manager: manager_tx, local: local_tx };
    let first = match first {
        Some(FirstManager { start, remote }) => {
            Some(supervisor.start_manager(start, remote).await?)
        }
        None => None,
    };
    let Parts { config, files, security, key_file, remotes, advertise, .. } = &supervisor.parts;
    let renewals = Renewals::default();
    let hooks = IdentityHooks {
        security: security.clone(),
        folder: files.certificates(),
        renewals: renewals.clone(),
    };
    let agent = agent(&config.hostname, hooks, local.clone(), remotes, files.remotes());
    let managers: Arc<dyn Managers> =
        Arc::new(RenewalManagers { remotes: Arc::clone(remotes), local, manager: manager.clone() });
    let node = Arc::new(Node {
        security: security.clone(),
        key_file: key_file.clone(),
        remotes: Arc::clone(remotes),
        manager,
        agent: agent.watch(),
        advertise: advertise.clone(),
    });
    let task = tokio::spawn(supervisor.run(agent, managers, renewals, first, stop));
    Ok((node, task))
}

struct Supervisor {
    parts: Parts,
    manager: watch::Sender<Option<Arc<Manager>>>,
    local: watch::Sender<Option<Channel>>,
}

impl Supervisor {
    async fn run(
        self,
        agent: Agent,
        managers: Arc<dyn Managers>,
        renewals: Renewals,
        first: Option<ManagerTask>,
        stop: CancellationToken,
    ) -> NodeExit {
        let security = self.parts.security.clone();
        let renewing = tokio::spawn(renewal::run(
            security.clone(),
            self.parts.key_file.clone(),
            Arc::clone(&managers),
            renewals.clone(),
        ));
        let session = agent.watch();
        let agent_stop = CancellationToken::new();
        let agent_task = tokio::spawn({
            let stop = agent_stop.clone();
            async move { agent.run(stop).await }
        });
        let exit = tokio::select! {
            exit = self.follow_role(first, &*managers, &renewals, &stop) => exit,
            reason = expelled(session, &*managers, &security) => NodeExit::Removed { reason },
        };
        self.forget_manager();
        renewing.abort();
        agent_stop.cancel();
        // Its end is only a matter of closing a connection.
        let _ = agent_task.await;
        exit
    }

    /// Runs a manager whenever the certificate says so, until `stop`.
    async fn follow_role(
        &self,
        first: Option<ManagerTask>,
        managers: &dyn Managers,
        renewals: &Renewals,
        stop: &CancellationToken,
    ) -> NodeExit {
        let mut running = first;
        loop {
            if stop.is_cancelled() {
                return NodeExit::Stopped;
            }
            let Some(mut manager) = running.take() else {
                tokio::select! {
                    () = role_becomes(&self.parts.security, Role::Manager) => {}
                    () = stop.cancelled() => return NodeExit::Stopped,
                }
                let started = tokio::select! {
                    started = self.start_manager(ManagerStart::Join(Vec::new()), None) => started,
                    () = stop.cancelled() => return NodeExit::Stopped,
                };
                match started {
                    Ok(manager) => running = Some(manager),
                    Err(error) => {
                        warn!(%error, "the manager of this node does not come up; it is tried again");
                        tokio::select! {
                            () = tokio::time::sleep(RESTART_PAUSE) => {}
                            () = stop.cancelled() => return NodeExit::Stopped,
                        }
                    }
                }
                continue;
            };
            let exit = tokio::select! {
                exit = manager.ended() => exit,
                () = role_becomes(&self.parts.security, Role::Worker) => {
                    info!("this node is a worker from now on; its manager stops");
                    manager.stop();
                    match manager.ended().await {
                        failed @ ManagerExit::Failed(_) => failed,
                        ManagerExit::Stopped | ManagerExit::Removed => ManagerExit::Removed,
                    }
                }
                () = stop.cancelled() => {
                    manager.stop();
                    manager.ended().await
                }
            };
            self.forget_manager();
            match exit {
                ManagerExit::Stopped => return NodeExit::Stopped,
                ManagerExit::Failed(error) => return NodeExit::Failed { error },
                ManagerExit::Removed => {
                    if let Err(error) = self.delete_raft().await {
                        return NodeExit::Failed { error: error.to_string() };
                    }
                    if let Some(reason) = self.await_worker_role(managers, renewals, stop).await {
                        return NodeExit::Removed { reason };
                    }
                }
            }
        }
    }

    /// After the raft group has let this member go: waits for the worker certificate that should follow. Says why when
    /// the cluster no longer knows the node at all.
    async fn await_worker_role(
        &self,
        managers: &dyn Managers,
        renewals: &Renewals,
        stop: &CancellationToken,
    ) -> Option<String> {
        for _ in 0..2 {
            tokio::select! {
                () = role_becomes(&self.parts.security, Role::Worker) => return None,
                () = stop.cancelled() => return None,
                () = tokio::time::sleep(ROLE_CHANGE_TIME_MAX) => {}
            }
            if let Some(reason) = disowned(managers, &self.parts.security).await {
                return Some(reason);
            }
            renewals.renew_now();
        }
        warn!("this node's certificate still says manager; its manager joins the raft group anew");
        None
    }

    /// Starts a manager and waits until it is ready.
    async fn start_manager(
        &self,
        start: ManagerStart,
        remote: Option<Remote>,
    ) -> Result<ManagerTask, NodeError> {
        let Parts { config, files, clock, security, key_file, remotes, advertise } = &self.parts;
        let remote = match remote {
            Some(remote) => remote,
            None => Remote::bind(config.listen, security).await?,
        };
        // Asking oneself would only wait: nobody leads here.
        let own = security.identity().node_id;
        let known = || -> Vec<String> {
            let remotes = remotes.watch();
            let others = remotes.borrow();
            let others = others.iter().filter(|known| known.node_id != own.as_str());
            others.map(|known| known.addr.clone()).collect()
        };
        let start = match start {
            // An earlier attempt may have got as far as a log; it is gone on with.
            ManagerStart::Join(addrs) if addrs.is_empty() && files.has_raft_log()? => {
                ManagerStart::Restart
            }
            ManagerStart::Join(addrs) if addrs.is_empty() => ManagerStart::Join(known()),
            // Its log was lost, or the daemon was stopped before it had one; nobody can tell which.
            ManagerStart::Restart if !files.has_raft_log()? => ManagerStart::Rejoin(known()),
            start => start,
        };
        let advertise = match (advertise.is_empty(), &config.advertise) {
            (false, _) => advertise.clone(),
            (true, Some(advertise)) => advertise.clone(),
            (true, None) => remote.addr.to_string(),
        };
        let founder = matches!(start, ManagerStart::Found(_));
        let config = ManagerConfig {
            security: security.clone(),
            key_file: key_file.clone(),
            keyring: keyring(key_file).await?,
            clock: clock.clone(),
            raft_dir: files.raft(),
            remote,
            advertise,
            availability: config.availability,
        };
        let waits = !matches!(start, ManagerStart::Restart | ManagerStart::ForceNewCluster);
        let (manager, task) = Manager::start(config, start).await?;
        if waits {
            // A manager that goes on may have to wait for the others, and its operator wants to talk to it meanwhile.
            manager.ready(founder).await?;
        }
        self.manager.send_replace(Some(manager));
        self.local.send_replace(Some(connect::unix(&self.parts.config.control)));
        Ok(task)
    }

    fn forget_manager(&self) {
        self.local.send_replace(None);
        self.manager.send_replace(None);
    }

    /// Deletes the raft log and the keys that it was sealed with.
    async fn delete_raft(&self) -> Result<(), NodeError> {
        let (files, key_file) = (self.parts.files.clone(), self.parts.key_file.clone());
        let deleting = tokio::task::spawn_blocking(move || {
            files.delete_raft()?;
            key_file.set_data_keys(None).map_err(|error| NodeError::Identity(super::chain(&error)))
        });
        deleting.await.map_err(|error| NodeError::Ended(error.to_string()))?
    }
}

async fn role_becomes(security: &SecurityConfig, role: Role) {
    let mut changes = security.watch();
    loop {
        changes.mark_unchanged();
        if security.identity().role == role {
            return;
        }
        if changes.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Resolves when a manager refuses this node's session because it was removed, and the CA confirms it.
async fn expelled(
    mut session: watch::Receiver<AgentState>,
    managers: &dyn Managers,
    security: &SecurityConfig,
) -> String {
    loop {
        let refused = |state: &AgentState| {
            state.last_error.as_ref().is_some_and(|error| error.contains(REMOVED))
        };
        if session.wait_for(refused).await.is_err() {
            return std::future::pending().await;
        }
        if let Some(reason) = disowned(managers, security).await {
            return reason;
        }
        if session.changed().await.is_err() {
            return std::future::pending().await;
        }
    }
}

/// Asks the CA, over verified TLS, whether the cluster still knows this node; says why not.
async fn disowned(managers: &dyn Managers, security: &SecurityConfig) -> Option<String> {
    match enroll::renew(managers, security, true).await {
        Err(EnrollError::Refused(status)) => {
            let text = status.message();
            let gone = match status.code() {
                Code::PermissionDenied => text.contains(REMOVED),
                Code::NotFound => text.contains("not found when attempting to renew"),
                // To who was removed the CA's door is open as to anybody: what it asks for then is a token.
                Code::InvalidArgument => text.contains(NEEDS_TOKEN),
                _ => false,
            };
            gone.then(|| text.to_owned())
        }
        Err(EnrollError::Removed(node)) => Some(format!("node {node} {REMOVED}")),
        // A certificate that nobody takes up does no harm: the next renewal replaces it.
        Ok(_) | Err(_) => None,
    }
}

impl Node {
    /// Waits until a manager has taken this node into session, for so long; says whether one has.
    pub async fn wait_for_session(&self, limit: Duration) -> bool {
        let mut agent = self.agent.clone();
        let registered = agent.wait_for(|state| state.session_id.is_some());
        let registered = tokio::time::timeout(limit, registered).await.is_ok_and(|r| r.is_ok());
        if !registered {
            warn!("no manager has taken this node into session yet; it keeps trying");
        }
        registered
    }
}
