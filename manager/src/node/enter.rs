//! How a node comes to be: it founds a cluster, joins one, or goes on with its state folder.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use skep_agent::{Remote as KnownManager, Remotes, remembered};
use skep_ca::{
    Clock, Credentials, Identity, JoinToken, Kek, KeyFile, NodeKey, PeerName, Role, RootCa,
    SecurityConfig, UnlockKey, connect,
    enroll::{self, EnrollError},
    key_file::{KeyFileError, Opened},
};
use skep_proto::{
    ids::{ClusterId, NodeId},
    swarmkit::{
        self, JoinTokens, ListNodesRequest, RemoveNodeRequest, control_client::ControlClient,
    },
};
use tokio::{net::UdpSocket, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tracing::{info, warn};

use super::{
    FoundOptions, JoinPlan, Node, NodeError, NodeExit, NodeFiles, Purpose,
    error::chain,
    manager::ManagerStart,
    remote::Remote,
    supervise::{self, FirstManager, Parts},
};
use crate::{
    config::Config,
    leader::defaults::{ClusterSeed, DEFAULT_DATA_PATH_PORT},
};

/// How long a first certificate may take: the CA signs within moments, an external one may be slow.
const ENROLL_TIME_MAX: Duration = Duration::from_secs(60);
/// How long a joined node waits for its first session before it goes on in the background (Docker's figure).
const SESSION_TIME_MAX: Duration = Duration::from_secs(20);
/// How long undoing a failed join may take.
const UNDO_TIME_MAX: Duration = Duration::from_secs(10);

/// The task behind a [`Node`].
pub struct NodeTask {
    task: JoinHandle<NodeExit>,
    stop: CancellationToken,
}

impl NodeTask {
    /// Resolves when the node has ended. Safe to drop and call again until it resolved.
    pub async fn ended(&mut self) -> NodeExit {
        match (&mut self.task).await {
            Ok(exit) => exit,
            Err(error) => NodeExit::Failed { error: format!("the node's task failed: {error}") },
        }
    }

    /// Asks it to stop, handing leadership over.
    pub fn stop(&self) {
        self.stop.cancel();
    }
}

impl Drop for NodeTask {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

impl Node {
    /// Brings a node up. A founder has led and written the first objects when this returns; a joiner is a member and
    /// has the cluster's objects. When it fails, what it wrote to the state folder is still there for the caller to
    /// delete; what it left in the cluster is taken back as far as that can be reached.
    pub async fn start(
        config: &Config,
        files: NodeFiles,
        clock: Clock,
        purpose: Purpose,
    ) -> Result<(Arc<Node>, NodeTask), NodeError> {
        let entry = Entry { config, files, clock };
        match purpose {
            Purpose::Found(options) => entry.found(options).await,
            Purpose::Join(plan) => entry.join(plan).await,
            Purpose::Resume { unlock_key, force_new_cluster } => {
                entry.resume(unlock_key, force_new_cluster).await
            }
        }
    }
}

struct Entry<'a> {
    config: &'a Config,
    files: NodeFiles,
    clock: Clock,
}

impl Entry<'_> {
    async fn found(self, options: FoundOptions) -> Result<(Arc<Node>, NodeTask), NodeError> {
        let advertise_ip = self.advertise_ip(None).await?;
        let now = self.clock.now();
        let identity_error = |error: &dyn std::error::Error| NodeError::Identity(error.to_string());
        let root = RootCa::generate(now).map_err(|e| identity_error(&e))?;
        let rng = &mut StdRng::from_os_rng();
        let identity = Identity {
            node_id: NodeId::random(rng),
            role: Role::Manager,
            cluster_id: ClusterId::random(rng),
        };
        let key = NodeKey::generate().map_err(|e| identity_error(&e))?;
        let csr = key.request().map_err(|e| identity_error(&e))?;
        let chain = root
            .issue(&csr, identity, options.node_cert_expiry, now)
            .map_err(|e| identity_error(&e))?;
        let credentials = Credentials::new(chain, key).map_err(|e| identity_error(&e))?;
        let unlock_key = options.autolock.then(UnlockKey::generate);
        let seed = ClusterSeed {
            cluster_id: identity.cluster_id,
            root_ca: wire_root(&root)?,
            unlock_key: unlock_key.as_ref().map(|key| key.raw().expose().to_vec().into()),
            default_address_pool: options.default_address_pool,
            subnet_size: options.subnet_size,
            data_path_port: match options.data_path_port {
                0 => DEFAULT_DATA_PATH_PORT,
                port => port,
            },
            node_cert_expiry: options.node_cert_expiry,
            heartbeat_period: options.heartbeat_period,
            snapshot_interval: options.snapshot_interval,
            swarmkit_compatible: options.swarmkit_compatible,
        };
        let security = SecurityConfig::new(
            root.clone().without_signer(),
            credentials.clone(),
            self.clock.clone(),
        )
        .map_err(|e| identity_error(&e))?;
        let remote = Remote::bind(self.config.listen, &security).await?;
        let advertise = self.advertise(advertise_ip, remote.addr.port());
        let kek = Kek { key: unlock_key, version: 0 };
        let key_file = self.write(&root, credentials, kek).await?;
        info!(cluster = %identity.cluster_id, node = %identity.node_id, "founding a cluster");
        let first =
            FirstManager { start: ManagerStart::Found(Box::new(seed)), remote: Some(remote) };
        self.run(security, key_file, Vec::new(), advertise, Some(first)).await
    }

    async fn join(self, plan: JoinPlan) -> Result<(Arc<Node>, NodeTask), NodeError> {
        let JoinPlan { remotes, token } = plan;
        let managers = enroll::Remotes::new(remotes.clone());
        let root = enroll::download_root(&managers, Some(token.root()), &self.clock)
            .await
            .map_err(|error| join_error(&remotes, Code::InvalidArgument, &error))?;
        let enrolling =
            enroll::join(&managers, &root, &token, self.config.availability, &self.clock);
        let enrolled = tokio::time::timeout(ENROLL_TIME_MAX, enrolling)
            .await
            .map_err(|_| NodeError::TimedOut {
                what: "the issue of a certificate",
                seconds: ENROLL_TIME_MAX.as_secs(),
                hint: "see the managers' logs: the swarm may be without a leader",
            })?
            .map_err(|error| enroll_error(&remotes, error))?;
        let security =
            SecurityConfig::new(root.clone(), enrolled.credentials.clone(), self.clock.clone())
                .map_err(|error| NodeError::Identity(error.to_string()))?;
        let identity = security.identity();
        info!(node = %identity.node_id, role = identity.role.organizational_unit(), "the cluster issued a certificate");
        let undo = Undo { security: security.clone(), remotes: remotes.clone() };
        let entered = self.enter_joined(root, enrolled, security, remotes).await;
        if entered.is_err() && identity.role == Role::Manager {
            undo.run().await;
        }
        entered
    }

    async fn enter_joined(
        self,
        root: RootCa,
        enrolled: enroll::Enrolled,
        security: SecurityConfig,
        remotes: Vec<String>,
    ) -> Result<(Arc<Node>, NodeTask), NodeError> {
        let known: Vec<_> = remotes
            .iter()
            .map(|addr| KnownManager { node_id: String::new(), addr: addr.clone() })
            .collect();
        let is_manager = security.identity().role == Role::Manager;
        let (first, advertise) = if is_manager {
            let ip = self.advertise_ip(remotes.first().map(String::as_str)).await?;
            let remote = Remote::bind(self.config.listen, &security).await?;
            let advertise = self.advertise(ip, remote.addr.port());
            (
                Some(FirstManager { start: ManagerStart::Join(remotes), remote: Some(remote) }),
                advertise,
            )
        } else {
            (None, self.config.advertise.clone().unwrap_or_default())
        };
        let key_file = self.write(&root, enrolled.credentials, enrolled.kek).await?;
        let (node, task) = self.run(security, key_file, known, advertise, first).await?;
        if !is_manager {
            node.wait_for_session(SESSION_TIME_MAX).await;
        }
        Ok((node, task))
    }

    async fn resume(
        self,
        unlock_key: Option<UnlockKey>,
        force_new_cluster: bool,
    ) -> Result<(Arc<Node>, NodeTask), NodeError> {
        let folder = self.files.certificates();
        let now = self.clock.now();
        let opened = blocking(move || {
            let root = folder.read_root(now).map_err(|error| NodeError::Identity(chain(&error)))?;
            let opened = match KeyFile::open(&folder).map_err(key_file_error)? {
                Opened::Locked(locked) => match unlock_key {
                    Some(key) => match locked.unlock(&key) {
                        Ok(file) => file,
                        Err(KeyFileError::InvalidKey) => return Err(NodeError::Locked),
                        Err(error) => return Err(key_file_error(error)),
                    },
                    None => return Err(NodeError::Locked),
                },
                Opened::Open(file) => file,
                Opened::Absent => {
                    return Err(NodeError::Files {
                        path: folder.key().display().to_string(),
                        reason: "the node's key is missing: restore it, or `skep swarm leave --force` and join again"
                            .to_owned(),
                    });
                }
            };
            Ok((root, opened))
        })
        .await?;
        let (root, key_file) = opened;
        let root = root.ok_or_else(|| NodeError::Files {
            path: self.files.certificates().root().display().to_string(),
            reason: "the cluster's root CA is missing: restore it from another node".to_owned(),
        })?;
        let security = SecurityConfig::new(root, key_file.credentials(), self.clock.clone())
            .map_err(|error| NodeError::Identity(error.to_string()))?;
        let known = match remembered::load(&self.files.remotes()) {
            Ok(known) => known,
            Err(error) => {
                warn!(%error, "the list of known managers cannot be read; the node goes on without it");
                Vec::new()
            }
        };
        let identity = security.identity();
        info!(cluster = %identity.cluster_id, node = %identity.node_id,
            role = identity.role.organizational_unit(), "going on as a node of the cluster");
        let (first, advertise) = if identity.role == Role::Manager {
            let towards = known.first().map(|known| known.addr.clone());
            let ip = self.advertise_ip(towards.as_deref()).await?;
            let remote = Remote::bind(self.config.listen, &security).await?;
            let advertise = self.advertise(ip, remote.addr.port());
            let start = if force_new_cluster {
                ManagerStart::ForceNewCluster
            } else {
                ManagerStart::Restart
            };
            (Some(FirstManager { start, remote: Some(remote) }), advertise)
        } else if force_new_cluster {
            return Err(NodeError::NotManager);
        } else {
            (None, self.config.advertise.clone().unwrap_or_default())
        };
        self.run(security, key_file, known, advertise, first).await
    }

    /// Writes root, certificate and key, with keys for a raft log.
    async fn write(
        &self,
        root: &RootCa,
        credentials: Credentials,
        kek: Kek,
    ) -> Result<KeyFile, NodeError> {
        let folder = self.files.certificates();
        let root = root.clone();
        blocking(move || {
            folder.write_root(&root).map_err(|error| NodeError::Identity(chain(&error)))?;
            KeyFile::create(&folder, credentials, kek).map_err(key_file_error)
        })
        .await
    }

    async fn run(
        self,
        security: SecurityConfig,
        key_file: KeyFile,
        known: Vec<KnownManager>,
        advertise: String,
        first: Option<FirstManager>,
    ) -> Result<(Arc<Node>, NodeTask), NodeError> {
        let parts = Parts {
            config: self.config.clone(),
            files: self.files,
            clock: self.clock,
            security,
            key_file,
            remotes: Arc::new(Remotes::new(known, rand::random())),
            advertise,
        };
        let stop = CancellationToken::new();
        let (node, task) = supervise::start(parts, first, stop.clone()).await?;
        Ok((node, NodeTask { task, stop }))
    }

    /// The host that others reach this node by; `None` when a leader may fill it in.
    async fn advertise_ip(&self, towards: Option<&str>) -> Result<Option<String>, NodeError> {
        let listen = self.config.listen.ip();
        if self.config.advertise.is_some() {
            return Ok(None);
        }
        if !listen.is_unspecified() {
            return Ok(Some(host(listen)));
        }
        // A joiner lets the leader take the address that its request comes from.
        if towards.is_some() {
            return Ok(Some(host(listen)));
        }
        // Connecting a datagram socket sends nothing; it asks the routing table. The address is for documentation
        // (RFC 5737), so it is reached by the default route.
        let route = async {
            let socket = UdpSocket::bind((listen, 0)).await?;
            let probe: SocketAddr = match listen.is_ipv6() {
                true => (std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into(),
                false => (std::net::Ipv4Addr::new(192, 0, 2, 1), 9).into(),
            };
            socket.connect(probe).await?;
            socket.local_addr()
        };
        match route.await {
            Ok(addr) => Ok(Some(host(addr.ip()))),
            Err(error) => Err(NodeError::Advertise {
                reason: format!("the machine has no default route: {error}"),
            }),
        }
    }

    fn advertise(&self, ip: Option<String>, port: u16) -> String {
        match (&self.config.advertise, ip) {
            (Some(advertise), _) => advertise.clone(),
            (None, Some(ip)) => format!("{ip}:{port}"),
            (None, None) => self.config.listen.to_string(),
        }
    }
}

fn host(ip: std::net::IpAddr) -> String {
    match ip {
        std::net::IpAddr::V4(ip) => ip.to_string(),
        std::net::IpAddr::V6(ip) => format!("[{ip}]"),
    }
}

fn key_file_error(error: KeyFileError) -> NodeError {
    NodeError::Identity(chain(&error))
}

async fn blocking<R: Send + 'static>(
    work: impl FnOnce() -> Result<R, NodeError> + Send + 'static,
) -> Result<R, NodeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(NodeError::Ended(error.to_string())),
    }
}

/// The authority as the cluster object holds it.
fn wire_root(root: &RootCa) -> Result<swarmkit::RootCa, NodeError> {
    let signer = root
        .signer()
        .ok_or_else(|| NodeError::Identity("a new root CA came without its key".to_owned()))?;
    let token = || JoinToken::generate(root.digest(), false).expose().to_owned();
    Ok(swarmkit::RootCa {
        ca_key: signer.key().to_pem().to_vec().into(),
        ca_cert: root.pem().clone(),
        ca_cert_hash: root.digest().to_string(),
        join_tokens: Some(JoinTokens { worker: token(), manager: token() }),
        root_rotation: None,
        last_forced_rotation: 0,
    })
}

fn join_error(
    remotes: &[String],
    code: Code,
    error: &(dyn std::error::Error + 'static),
) -> NodeError {
    NodeError::Join { code, message: format!("{}: {}", remotes.join(", "), chain(error)) }
}

fn enroll_error(remotes: &[String], error: EnrollError) -> NodeError {
    let code = match &error {
        EnrollError::Refused(status) | EnrollError::UnlockKey(status) => status.code(),
        EnrollError::Connect(_) => Code::Unavailable,
        _ => Code::FailedPrecondition,
    };
    join_error(remotes, code, &error)
}

/// Takes back what a join left in the cluster: the node object that was made with the certificate.
struct Undo {
    security: SecurityConfig,
    remotes: Vec<String>,
}

impl Undo {
    async fn run(self) {
        let node_id = self.security.identity().node_id.to_string();
        let removing = async {
            let dial = connect::Dial::new(self.security.client_config(), PeerName::Manager);
            for addr in &self.remotes {
                // Followers answer what is read and pass nothing on, but they know who leads.
                let Ok(channel) = dial.connect(addr).await else { continue };
                let mut control = ControlClient::new(channel);
                let nodes = control.list_nodes(ListNodesRequest::default()).await;
                let Ok(nodes) = nodes else { continue };
                let mut managers =
                    nodes.into_inner().nodes.into_iter().filter_map(|node| node.manager_status);
                let Some(leader) = managers.find(|manager| manager.leader) else { continue };
                let Ok(channel) = dial.connect(&leader.addr).await else { continue };
                let request = RemoveNodeRequest { node_id: node_id.clone(), force: true };
                match ControlClient::new(channel).remove_node(request).await {
                    Ok(_) => return true,
                    Err(status) => {
                        tracing::debug!(addr, %status, "the failed join is not taken back here")
                    }
                }
            }
            false
        };
        match tokio::time::timeout(UNDO_TIME_MAX, removing).await {
            Ok(true) => info!(node = %node_id, "the failed join is taken back"),
            _ => warn!(
                node = %node_id,
                "the failed join could not be taken back: remove the node with `skep node rm --force` on a manager"
            ),
        }
    }
}
