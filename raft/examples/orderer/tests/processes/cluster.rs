//! Processes of `orderer`, on a loopback address that nobody else uses, in a folder that goes with them.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rand::Rng as _;
use skep_orderer::wire::orderer_client::OrdererClient;
use skep_orderer::wire::{StatusRequest, StatusResponse};
use tempfile::TempDir;
use tonic::transport::{Channel, Endpoint};

/// The program.
pub const ORDERER: &str = env!("CARGO_BIN_EXE_orderer");
/// How long anything may take that happens by itself, on a machine that is busy with something else.
pub const LIMIT: Duration = Duration::from_secs(60);

/// An address of this machine that nobody else uses: the whole of 127.0.0.0/8 is loopback on Linux.
pub fn own_address() -> Ipv4Addr {
    loop {
        let mut rng = rand::rng();
        let ip =
            Ipv4Addr::new(127, rng.random_range(1..=254), rng.random(), rng.random_range(1..=254));
        if TcpListener::bind((ip, 7051)).is_ok() {
            return ip;
        }
    }
}

/// Waits for a condition; its error says what is there instead.
pub async fn until<T>(what: &str, mut probe: impl AsyncFnMut() -> Result<T, String>) -> T {
    let deadline = Instant::now() + LIMIT;
    loop {
        match probe().await {
            Ok(value) => return value,
            Err(last) => assert!(Instant::now() < deadline, "{what}: not in time; last: {last}"),
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

/// A client of an orderer.
pub fn client(addr: &str) -> OrdererClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{addr}")).expect("an address");
    let endpoint =
        endpoint.connect_timeout(Duration::from_secs(2)).timeout(Duration::from_secs(30));
    OrdererClient::new(endpoint.connect_lazy())
}

/// The processes, by id.
pub struct Cluster {
    pub ip: Ipv4Addr,
    pub folder: TempDir,
    /// The list that those are given that found the chain.
    founders: u16,
    proxied: bool,
    options: Vec<String>,
    running: BTreeMap<u16, Child>,
}

impl Cluster {
    /// So many that found a chain together, none of which runs yet. With `proxied` the others dial proxies.
    pub fn of(founders: u16, proxied: bool, options: &[&str]) -> Cluster {
        Cluster {
            ip: own_address(),
            folder: tempfile::tempdir().expect("a folder"),
            founders,
            proxied,
            options: options.iter().map(|option| (*option).to_owned()).collect(),
            running: BTreeMap::new(),
        }
    }

    /// Where other orderers dial this one.
    pub fn dialled(&self, id: u16) -> String {
        format!("{}:{}", self.ip, 7050 + id)
    }

    /// Where it listens behind its proxy.
    pub fn behind(&self, id: u16) -> String {
        format!("{}:{}", self.ip, 7550 + id)
    }

    /// Where clients find it.
    pub fn clients(&self, id: u16) -> String {
        format!("{}:{}", self.ip, 8050 + id)
    }

    pub fn dir(&self, id: u16) -> PathBuf {
        self.folder.path().join(format!("orderer-{id}"))
    }

    pub fn peers(&self) -> String {
        let peers = (1..=self.founders).map(|id| format!("{id}={}", self.dialled(id)));
        peers.collect::<Vec<_>>().join(",")
    }

    fn log_path(&self, id: u16) -> PathBuf {
        self.folder.path().join(format!("log-{id}"))
    }

    pub fn log(&self, id: u16) -> String {
        fs::read_to_string(self.log_path(id)).unwrap_or_default()
    }

    fn run(&mut self, id: u16, way: &[&str]) {
        let mut command = Command::new(ORDERER);
        command.env_clear().args(["--id", &id.to_string(), "--clients", &self.clients(id)]);
        command.arg("--dir").arg(self.dir(id)).args(way).args(&self.options);
        if self.proxied {
            command.args(["--listen", &self.behind(id)]);
        }
        let log = File::options().create(true).append(true).open(self.log_path(id)).expect("a log");
        let child = command.stderr(log).stdout(Stdio::null()).stdin(Stdio::null()).spawn();
        let before = self.running.insert(id, child.expect("it starts"));
        assert!(before.is_none(), "orderer {id} runs already");
    }

    /// Starts one, for the first time or again: a founder, or one that joins.
    pub fn start(&mut self, id: u16) {
        if id <= self.founders {
            self.run(id, &["--peers", &self.peers()]);
        } else {
            let others: Vec<_> = (1..=self.founders).map(|other| self.dialled(other)).collect();
            let addr = self.dialled(id);
            self.run(id, &["--join", &others.join(","), "--addr", &addr]);
        }
    }

    pub fn up(&self) -> Vec<u16> {
        self.running.keys().copied().collect()
    }

    pub fn pids(&self) -> Vec<(u32, u16)> {
        self.running.iter().map(|(id, child)| (child.id(), *id)).collect()
    }

    /// Kills without a word.
    pub fn kill(&mut self, id: u16) {
        let mut child = self.running.remove(&id).expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, id: u16) -> ExitStatus {
        let mut child = self.running.remove(&id).expect("it runs");
        until(&format!("the end of {id}"), async || {
            child.try_wait().ok().flatten().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// Loses the disk of one that does not run.
    pub fn wipe(&mut self, id: u16) {
        assert!(!self.running.contains_key(&id));
        fs::remove_dir_all(self.dir(id)).expect("there was a folder");
    }

    pub async fn status(&self, id: u16) -> Result<StatusResponse, String> {
        let status = client(&self.clients(id)).status(StatusRequest {}).await;
        status.map(tonic::Response::into_inner).map_err(|status| status.message().to_owned())
    }

    /// Waits until all that run agree on one leader and have so many members; gives the leader.
    pub async fn settled(&self, members: usize) -> u16 {
        until("one leader", async || {
            let mut leaders = Vec::new();
            for id in self.up() {
                let status = self.status(id).await?;
                if status.members.len() != members || status.consenters.len() != members {
                    return Err(format!("{id} sees {:?}, {:?}", status.members, status.consenters));
                }
                leaders.push((status.term, status.leader));
            }
            leaders.dedup();
            match leaders.as_slice() {
                [(_, leader)] => leader.parse().map_err(|_| "no leader".to_owned()),
                _ => Err(format!("{leaders:?}")),
            }
        })
        .await
    }

    /// Runs the program to its end with these arguments, asking these orderers.
    pub fn tool(&self, at: &[u16], arguments: &[&str]) -> Output {
        let at: Vec<_> = at.iter().map(|id| self.clients(*id)).collect();
        let mut command = Command::new(ORDERER);
        command.env_clear().env("ORDERER_AT", at.join(",")).args(arguments);
        command.output().expect("it runs")
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
