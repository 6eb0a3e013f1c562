//! The actor: works off the operator's requests, and notices when the node ends by itself.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use skep_ca::{Clock, UnlockKey};
use skep_proto::swarmkit::node_spec;

use super::State;
use crate::{
    config::Config,
    node::{
        FolderLock, FoundOptions, JoinPlan, Node, NodeError, NodeExit, NodeFiles, NodeTask, Purpose,
    },
};

/// Requests of operators that may wait; more are refused, since one at a time is worked off.
const REQUESTS_MAX: usize = 16;
/// How long a node may take to stop, hand-over of leadership included.
const STOP_TIME_MAX: Duration = Duration::from_secs(15);

/// What an operator asked for could not be done.
#[derive(Debug, thiserror::Error)]
pub enum DaemonError {
    /// The daemon is part of a cluster.
    #[error(
        "this node is already part of a swarm. Use \"skep swarm leave\" to leave this swarm and join another one."
    )]
    AlreadyInSwarm,
    /// The daemon is not part of a cluster.
    #[error(
        "this node is not part of a swarm. Use \"skep swarm init\" or \"skep swarm join\" to make it part of one."
    )]
    NotInSwarm,
    /// The key on disk is sealed.
    #[error(
        "Swarm is encrypted and needs to be unlocked before it can be used. Use \"skep swarm unlock\" to unlock it."
    )]
    Locked,
    /// Unlocking what is open.
    #[error("swarm is not locked")]
    NotLocked,
    /// The unlock key does not open the key on disk.
    #[error(
        "swarm could not be unlocked: invalid key provided. `skep swarm unlock-key` on another manager prints the right one."
    )]
    InvalidUnlockKey,
    /// Leaving would take a manager out of the group.
    #[error(
        "You are attempting to leave the swarm on a node that is participating as a manager. {detail}\
         The only way to restore a swarm that has lost consensus is to reinitialize it with `--force-new-cluster`. \
         Use `--force` to suppress this message."
    )]
    LeaveManager {
        /// What it would do to the quorum.
        detail: String,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// The node could not be brought up.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// The daemon stops or has too much to do.
    #[error("the daemon is stopping or busy with other requests: try again")]
    Unavailable,
}

/// How to found a cluster.
#[derive(Clone, Debug, Default)]
pub struct InitOptions {
    /// Overrides the configured advertise address.
    pub advertise: Option<String>,
    /// Make this manager the only one of the cluster that it is part of.
    pub force_new_cluster: bool,
    /// Overrides the configured availability.
    pub availability: Option<node_spec::Availability>,
    /// What is decided about the cluster.
    pub cluster: FoundOptions,
}

/// How to join a cluster.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// `host:port` of managers, tried in order.
    pub remotes: Vec<String>,
    /// The join token.
    pub token: String,
    /// Overrides the configured advertise address.
    pub advertise: Option<String>,
    /// Overrides the configured availability.
    pub availability: Option<node_spec::Availability>,
}

type Reply<T> = oneshot::Sender<Result<T, DaemonError>>;

enum Request {
    Init(Box<InitOptions>, Reply<Arc<Node>>),
    Join(Box<JoinOptions>, Reply<Arc<Node>>),
    Leave { force: bool, reply: Reply<()> },
    Unlock(UnlockKey, Reply<()>),
}

/// A handle on a running daemon; clones share it.
#[derive(Clone)]
pub struct Daemon {
    requests: mpsc::Sender<Request>,
    state: watch::Receiver<State>,
    config: Arc<Config>,
}

impl Daemon {
    /// Claims the state folder and starts the actor, which first goes on with what that folder holds. The future that is
    /// returned with the handle ends when `shutdown` fires and the node has stopped; it must be polled.
    pub fn start(
        config: Config,
        clock: Clock,
        shutdown: CancellationToken,
    ) -> Result<(Daemon, impl Future<Output = ()> + Send + 'static), NodeError> {
        let config = Arc::new(config);
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let (state_tx, state) = watch::channel(State::Pending);
        let files = NodeFiles::new(&config.state_dir);
        let lock = files.claim()?;
        let actor = Actor {
            config: Arc::clone(&config),
            files,
            clock,
            state: state_tx,
            running: None,
            _lock: lock,
        };
        Ok((Daemon { requests, state, config }, actor.run(inbox, shutdown)))
    }

    /// What the daemon is at the moment.
    pub fn state(&self) -> State {
        self.state.borrow().clone()
    }

    /// Follows what the daemon is.
    pub fn watch_state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// What the daemon was started with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Founds a cluster. When the future is dropped, founding goes on.
    pub async fn init(&self, options: InitOptions) -> Result<Arc<Node>, DaemonError> {
        self.ask(|reply| Request::Init(Box::new(options), reply)).await
    }

    /// Joins a cluster. When the future is dropped, joining goes on.
    pub async fn join(&self, options: JoinOptions) -> Result<Arc<Node>, DaemonError> {
        self.ask(|reply| Request::Join(Box::new(options), reply)).await
    }

    /// Leaves the cluster and deletes the node's state.
    pub async fn leave(&self, force: bool) -> Result<(), DaemonError> {
        self.ask(|reply| Request::Leave { force, reply }).await
    }

    /// Opens a locked daemon.
    pub async fn unlock(&self, key: UnlockKey) -> Result<(), DaemonError> {
        self.ask(|reply| Request::Unlock(key, reply)).await
    }

    async fn ask<T>(&self, request: impl FnOnce(Reply<T>) -> Request) -> Result<T, DaemonError> {
        let (reply, answer) = oneshot::channel();
        self.requests.try_send(request(reply)).map_err(|_| DaemonError::Unavailable)?;
        answer.await.map_err(|_| DaemonError::Unavailable)?
    }
}

struct Running {
    node: Arc<Node>,
    task: NodeTask,
}

struct Actor {
    config: Arc<Config>,
    files: NodeFiles,
    clock: Clock,
    state: watch::Sender<State>,
    running: Option<Running>,
    /// Keeps other daemons off the state folder.
    _lock: FolderLock,
}

impl Actor {
    async fn run(mut self, mut inbox: mpsc::Receiver<Request>, shutdown: CancellationToken) {
        tokio::select! {
            () = self.resume() => {}
            () = shutdown.cancelled() => {}
        }
        loop {
            let ended = async {
                match &mut self.running {
                    Some(running) => running.task.ended().await,
                    None => pending().await,
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => break,
                exit = ended => self.node_ended(exit),
                request = inbox.recv() => match request {
                    // A request that hangs (a join of an address that does not answer) must not keep the daemon up.
                    Some(request) => tokio::select! {
                        () = self.handle(request) => {}
                        () = shutdown.cancelled() => break,
                    },
                    None => break,
                },
            }
        }
        self.stop_node().await;
    }

    /// Goes on with what the state folder holds.
    async fn resume(&mut self) {
        let state = match self.files.found() {
            Ok(false) => State::Inactive { reason: None },
            Ok(true) => match self.open(None).await {
                Ok(state) => state,
                Err(error) => {
                    error!(error = %error, "the node cannot go on with its state folder");
                    State::Failed(error.to_string())
                }
            },
            Err(error) => State::Failed(error.to_string()),
        };
        info!(state = state.name(), "daemon is up");
        self.state.send_replace(state);
    }

    /// Starts the node that the state folder holds; says so when it is locked.
    async fn open(&mut self, key: Option<UnlockKey>) -> Result<State, DaemonError> {
        let given = key.is_some();
        let key = match key {
            Some(key) => Some(key),
            None => self.files.unlock_key_from_file(self.config.unlock_key_file.as_deref())?,
        };
        let purpose =
            Purpose::Resume { unlock_key: key, force_new_cluster: self.config.force_new_cluster };
        match Node::start(&self.config, self.files.clone(), self.clock.clone(), purpose).await {
            Ok((node, task)) => Ok(self.active(node, task)),
            Err(NodeError::Locked) if given => Err(DaemonError::InvalidUnlockKey),
            Err(NodeError::Locked) => {
                warn!("the manager is locked and waits: `skep swarm unlock` opens it");
                Ok(State::Locked)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn active(&mut self, node: Arc<Node>, task: NodeTask) -> State {
        self.running = Some(Running { node: Arc::clone(&node), task });
        State::Active(node)
    }

    async fn handle(&mut self, request: Request) {
        match request {
            Request::Init(options, reply) => {
                let result = self.init(*options).await;
                // A caller that went away has no use for the answer.
                let _ = reply.send(result);
            }
            Request::Join(options, reply) => {
                let result = self.join(*options).await;
                let _ = reply.send(result);
            }
            Request::Leave { force, reply } => {
                let result = self.leave(force).await;
                let _ = reply.send(result);
            }
            Request::Unlock(key, reply) => {
                let result = self.unlock(key).await;
                let _ = reply.send(result);
            }
        }
    }

    /// That the daemon may enter a cluster.
    fn check_outside(&self) -> Result<(), DaemonError> {
        match &*self.state.borrow() {
            // Entering would end in deleting what an operator may still want to save.
            State::Inactive { .. } if self.files.has_raft_log()? => {
                Err(DaemonError::InvalidArgument(
                    "the state folder holds a manager's raft log, but its certificate is missing: restore \
                     certificates/swarm-node.crt and start again, or delete the folder's contents with \
                     `skep swarm leave --force`"
                        .to_owned(),
                ))
            }
            State::Inactive { .. } => Ok(()),
            State::Active(_) => Err(DaemonError::AlreadyInSwarm),
            State::Locked => Err(DaemonError::Locked),
            State::Pending => Err(DaemonError::Unavailable),
            State::Failed(text) => Err(DaemonError::InvalidArgument(format!(
                "this node has a state folder that it cannot go on with ({text}). \
                 `skep swarm leave --force` deletes it."
            ))),
        }
    }

    async fn init(&mut self, options: InitOptions) -> Result<Arc<Node>, DaemonError> {
        if options.force_new_cluster {
            return self.force_new_cluster().await;
        }
        self.check_outside()?;
        let config = self.with_overrides(options.advertise, options.availability);
        self.enter(&config, Purpose::Found(options.cluster)).await
    }

    async fn join(&mut self, options: JoinOptions) -> Result<Arc<Node>, DaemonError> {
        self.check_outside()?;
        let config = self.with_overrides(options.advertise, options.availability);
        let plan =
            JoinPlan::new(options.remotes, &options.token).map_err(DaemonError::InvalidArgument)?;
        self.enter(&config, Purpose::Join(plan)).await
    }

    fn with_overrides(
        &self,
        advertise: Option<String>,
        availability: Option<node_spec::Availability>,
    ) -> Config {
        let mut config = (*self.config).clone();
        config.advertise = advertise.or(config.advertise);
        config.availability = availability.unwrap_or(config.availability);
        config
    }

    /// Brings a node up for the first time. What a failed attempt wrote is deleted.
    async fn enter(&mut self, config: &Config, purpose: Purpose) -> Result<Arc<Node>, DaemonError> {
        self.state.send_replace(State::Pending);
        match Node::start(config, self.files.clone(), self.clock.clone(), purpose).await {
            Ok((node, task)) => {
                let state = self.active(Arc::clone(&node), task);
                self.state.send_replace(state);
                Ok(node)
            }
            Err(error) => {
                if let Err(left) = self.files.delete_all() {
                    warn!(error = %left, "what the failed attempt wrote cannot be deleted");
                }
                self.state.send_replace(State::Inactive { reason: None });
                Err(error.into())
            }
        }
    }

    async fn force_new_cluster(&mut self) -> Result<Arc<Node>, DaemonError> {
        if matches!(&*self.state.borrow(), State::Locked) {
            return Err(DaemonError::Locked);
        }
        if !self.files.found()? {
            return Err(DaemonError::NotInSwarm);
        }
        self.state.send_replace(State::Pending);
        // A running manager was unlocked; it must not ask again for being started anew.
        let unlock_key = self.running.as_ref().and_then(|running| running.node.unlock_key());
        self.stop_node().await;
        let purpose = Purpose::Resume { unlock_key, force_new_cluster: true };
        match Node::start(&self.config, self.files.clone(), self.clock.clone(), purpose).await {
            Ok((node, task)) => {
                let state = self.active(Arc::clone(&node), task);
                self.state.send_replace(state);
                Ok(node)
            }
            Err(error) => {
                self.state.send_replace(State::Failed(error.to_string()));
                Err(error.into())
            }
        }
    }

    async fn leave(&mut self, force: bool) -> Result<(), DaemonError> {
        if !self.files.found()? {
            self.state.send_replace(State::Inactive { reason: None });
            if force && self.files.has_raft_log()? {
                return Ok(self.files.delete_all()?);
            }
            return Err(DaemonError::NotInSwarm);
        }
        if let Some(running) = &self.running {
            if !force && let Some(detail) = running.node.why_not_leave() {
                return Err(DaemonError::LeaveManager { detail });
            }
            running.node.say_goodbye().await;
        } else if !force {
            return Err(match &*self.state.borrow() {
                State::Locked => DaemonError::Locked,
                state => DaemonError::InvalidArgument(format!(
                    "this node is in state \"{}\"; `--force` deletes its state folder nevertheless",
                    state.name()
                )),
            });
        }
        self.stop_node().await;
        self.files.delete_all()?;
        info!("left the swarm; the node's state is deleted");
        self.state.send_replace(State::Inactive { reason: None });
        Ok(())
    }

    async fn unlock(&mut self, key: UnlockKey) -> Result<(), DaemonError> {
        match &*self.state.borrow() {
            State::Locked => {}
            State::Inactive { .. } => return Err(DaemonError::NotInSwarm),
            State::Active(_) | State::Pending | State::Failed(_) => {
                return Err(DaemonError::NotLocked);
            }
        }
        match self.open(Some(key)).await {
            Ok(state) => {
                info!("unlocked");
                self.state.send_replace(state);
                Ok(())
            }
            Err(DaemonError::InvalidUnlockKey) => Err(DaemonError::InvalidUnlockKey),
            Err(error) => {
                self.state.send_replace(State::Failed(error.to_string()));
                Err(error)
            }
        }
    }

    fn node_ended(&mut self, exit: NodeExit) {
        self.running = None;
        let state = match exit {
            NodeExit::Stopped => State::Inactive { reason: None },
            NodeExit::Removed { reason } => {
                warn!(%reason, "this node was removed from the swarm; its state is deleted");
                match self.files.delete_all() {
                    Ok(()) => State::Inactive { reason: Some(reason) },
                    Err(error) => State::Failed(error.to_string()),
                }
            }
            NodeExit::Failed { error } => {
                error!(%error, "the node stopped");
                State::Failed(error)
            }
        };
        self.state.send_replace(state);
    }

    async fn stop_node(&mut self) {
        let Some(mut running) = self.running.take() else { return };
        running.task.stop();
        if tokio::time::timeout(STOP_TIME_MAX, running.task.ended()).await.is_err() {
            warn!("the node did not stop within {STOP_TIME_MAX:?}; it is abandoned");
        }
    }
}
