//! What the tests with real engines share: three managers and some engines on one bridge, and looks at both sides.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    time::Duration,
};

use skep_ca::{CertificateFolder, KeyFile, PeerName, RootCa, SecurityConfig, connect, key_file};
use skep_proto::{
    skep::GetKeysResponse,
    swarmkit::{
        Cluster, HeartbeatRequest, ListClustersRequest, Node, dispatcher_client::DispatcherClient,
        node_status,
    },
};
use skep_testkit::{
    docker_hosts::{DockerHost, DockerHosts, HostsError, skipped},
    skepd_process::{SETTLE_LIMIT, Skepd, SkepdCluster, SkepdOptions},
};
use tokio::{
    sync::{Mutex, MutexGuard},
    task::block_in_place,
};
use tonic::{Request, Status};

/// How long an engine may take to do what it was told: it asks again after up to 8 s.
pub const ENGINE_LIMIT: Duration = Duration::from_secs(60);
/// The deadline of one call.
const CALL_LIMIT: Duration = Duration::from_secs(10);
/// A connection or answer takes no longer than this when there is somebody.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// The managers of each cluster.
pub const MANAGERS: usize = 3;

/// The arguments of an engine without any that matter.
pub const PLAIN: &[&str] = &[];

/// Engines take much of a machine: one test at a time has some.
static ENGINES: Mutex<()> = Mutex::const_new(());

/// A cluster of three managers, and engines beside it that are not part of it yet.
pub struct Swarm {
    pub cluster: SkepdCluster,
    // Dropped after the managers, which run in namespaces of this.
    pub engines: DockerHosts,
    _alone: MutexGuard<'static, ()>,
}

/// Starts it; nothing where engines cannot run, unless all tests are required.
pub async fn swarm(engines: usize) -> Option<Swarm> {
    swarm_with(&vec![PLAIN; engines]).await
}

/// As [`swarm`], an engine for each list of arguments of `dockerd`.
pub async fn swarm_with(engines: &[&[&str]]) -> Option<Swarm> {
    swarm_of(MANAGERS, engines).await
}

/// As [`swarm_with`], with so many managers.
pub async fn swarm_of(managers: usize, engines: &[&[&str]]) -> Option<Swarm> {
    if skipped() {
        return None;
    }
    let alone = ENGINES.lock().await;
    let mut engines = block_in_place(|| DockerHosts::start_with(engines)).unwrap();
    let options = (1..=managers).map(|n| {
        let host = engines.subnet().add_host().unwrap();
        SkepdOptions::new(env!("CARGO_BIN_EXE_skepd"), format!("manager-{n}")).on(host)
    });
    let cluster = SkepdCluster::form_with(options).await.unwrap();
    Some(Swarm { cluster, engines, _alone: alone })
}

impl Swarm {
    pub fn engine(&self, place: usize) -> &DockerHost {
        &self.engines.hosts()[place]
    }

    /// The leader and another manager.
    pub async fn leader_and_follower(&self) -> (usize, usize) {
        let leader = self.cluster.leader().await.unwrap();
        (leader, (leader + 1) % MANAGERS)
    }

    /// Has an engine join as a worker by way of this manager, and waits until it is ready.
    pub async fn join(&self, engine: &DockerHost, manager: &Skepd) -> Node {
        let token = keys(manager).await.worker_join_token;
        join(engine, manager, &token).unwrap();
        wait_until_ready(manager, engine).await
    }
}

/// `docker swarm join`.
pub fn join(engine: &DockerHost, manager: &Skepd, token: &str) -> Result<String, HostsError> {
    docker(engine, &["swarm", "join", "--token", token, &manager.addr().to_string()])
}

/// Runs `docker`.
pub fn docker(engine: &DockerHost, arguments: &[&str]) -> Result<String, HostsError> {
    block_in_place(|| engine.docker(arguments))
}

/// What the engine says of the swarm that it is in.
pub fn swarm_info(engine: &DockerHost) -> serde_json::Value {
    let text = docker(engine, &["info", "--format", "{{json .Swarm}}"]).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// Waits for a line in the engine's log that has all of these texts.
pub async fn wait_for_log(engine: &DockerHost, texts: &[&str]) -> String {
    skep_testkit::wait::until("a line of the engine's log", ENGINE_LIMIT, async || {
        let log = std::fs::read(engine.log_path()).map_err(|e| e.to_string())?;
        let log = String::from_utf8_lossy(&log);
        let line = log.lines().find(|line| texts.iter().all(|text| line.contains(text)));
        line.map(str::to_owned).ok_or_else(|| format!("no line with {texts:?}"))
    })
    .await
    .unwrap()
}

/// What a web server answers, its header included, asked from this process.
pub fn http_get(addr: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&addr, ANSWER_LIMIT)?;
    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// The node with the engine's host name, as a manager lists it.
pub async fn node_of(manager: &Skepd, engine: &DockerHost) -> Result<Node, String> {
    let nodes = manager.nodes().await.map_err(|status| status.to_string())?;
    let is_it = |node: &Node| {
        node.description.as_ref().is_some_and(|description| description.hostname == engine.name())
    };
    nodes.into_iter().find(is_it).ok_or_else(|| "it is not listed".to_owned())
}

/// What a node's state is.
pub fn state(node: &Node) -> node_status::State {
    node.status.as_ref().map_or(node_status::State::Unknown, |status| status.state())
}

/// Waits until a manager lists the engine as ready.
pub async fn wait_until_ready(manager: &Skepd, engine: &DockerHost) -> Node {
    manager
        .wait_for("the engine to be ready", ENGINE_LIMIT, async |manager| {
            let node = node_of(manager, engine).await?;
            match state(&node) {
                node_status::State::Ready => Ok(node),
                _ => Err(format!("{:?}", node.status)),
            }
        })
        .await
        .unwrap()
}

/// The join tokens.
pub async fn keys(manager: &Skepd) -> GetKeysResponse {
    manager
        .wait_for("the join tokens", SETTLE_LIMIT, async |manager| manager.keys().await)
        .await
        .unwrap()
}

/// The cluster object as operators see it.
pub async fn cluster_object(manager: &Skepd) -> Result<Cluster, Status> {
    let mut request = Request::new(ListClustersRequest::default());
    request.set_timeout(CALL_LIMIT);
    let response = manager.control_client().list_clusters(request).await?;
    Ok(response.into_inner().clusters.remove(0))
}

/// The certificate and key of an engine, read from its files.
pub fn identity_of(engine: &DockerHost) -> SecurityConfig {
    security(&engine.swarm_dir())
}

fn security(state: &Path) -> SecurityConfig {
    let folder = CertificateFolder::below(state);
    let clock = skep_ca::Clock::system();
    let root: RootCa = folder.read_root(clock.now()).unwrap().expect("the engine has a root");
    let key_file::Opened::Open(key_file): key_file::Opened = KeyFile::open(&folder).unwrap() else {
        panic!("the engine's key cannot be opened");
    };
    SecurityConfig::new(root, key_file.credentials(), clock).unwrap()
}

/// A heartbeat of a session that there is not, by the holder of this certificate: the refusal tells what the manager
/// thinks of the caller.
pub async fn heartbeat(identity: &SecurityConfig, manager: &Skepd) -> Status {
    let dial = connect::Dial::new(identity.client_config(), PeerName::Manager);
    let channel = dial.connect(&manager.addr().to_string()).await.unwrap();
    let mut request = Request::new(HeartbeatRequest { session_id: "none".to_owned() });
    request.set_timeout(CALL_LIMIT);
    DispatcherClient::new(channel).heartbeat(request).await.unwrap_err()
}
