//! Processes of `kv`, on a loopback address that nobody else uses, in a folder that goes with them.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    net::{Ipv4Addr, TcpListener},
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    time::{Duration, Instant},
};

use hyper::Method;
use rand::Rng as _;
use tempfile::TempDir;

use crate::client::request;

/// The program.
pub const KV: &str = env!("CARGO_BIN_EXE_kv");
/// How long anything may take that happens by itself.
pub const LIMIT: Duration = Duration::from_secs(40);

/// An address of this machine that nobody else uses: the whole of 127.0.0.0/8 is loopback on Linux.
pub fn own_address() -> Ipv4Addr {
    loop {
        let mut rng = rand::rng();
        let ip =
            Ipv4Addr::new(127, rng.random_range(1..=254), rng.random(), rng.random_range(1..=254));
        if TcpListener::bind((ip, 7001)).is_ok() {
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

/// The processes, by id.
pub struct Cluster {
    pub ip: Ipv4Addr,
    pub folder: TempDir,
    /// The list that those are given that form the group.
    peers: String,
    /// Whether members listen on other ports than those they are dialled at: test proxies stand there.
    proxied: bool,
    running: BTreeMap<u16, Child>,
}

impl Cluster {
    /// A group of so many, none of which runs yet.
    pub fn of(count: u16) -> Cluster {
        let ip = own_address();
        let peers: Vec<_> = (1..=count).map(|id| format!("{id}={ip}:{}", 7000 + id)).collect();
        Cluster {
            ip,
            folder: tempfile::tempdir().expect("a folder"),
            peers: peers.join(","),
            proxied: false,
            running: BTreeMap::new(),
        }
    }

    /// As [`of`](Self::of), for members that are dialled through proxies.
    pub fn proxied(count: u16) -> Cluster {
        let mut cluster = Cluster::of(count);
        cluster.proxied = true;
        cluster
    }

    /// A group of so many that serves.
    pub async fn formed(count: u16) -> Cluster {
        let mut cluster = Cluster::of(count);
        for id in 1..=count {
            cluster.start(id);
        }
        for id in 1..=count {
            cluster.healthy(id).await;
        }
        cluster
    }

    /// Where other members dial this one.
    pub fn dialled(&self, id: u16) -> String {
        format!("{}:{}", self.ip, 7000 + id)
    }

    /// Where this member listens behind its proxy.
    pub fn behind(&self, id: u16) -> String {
        format!("{}:{}", self.ip, 7500 + id)
    }

    /// Where clients find this member.
    pub fn http(&self, id: u16) -> String {
        format!("{}:{}", self.ip, 8000 + id)
    }

    pub fn dir(&self, id: u16) -> PathBuf {
        self.folder.path().join(format!("member-{id}"))
    }

    fn command(&self, id: u16, group: &[&str]) -> Command {
        let mut command = Command::new(KV);
        command.env_clear().args(["--id", &id.to_string(), "--http", &self.http(id), "--dir"]);
        command.arg(self.dir(id)).args(group);
        if self.proxied {
            command.args(["--listen", &self.behind(id)]);
        }
        let log = File::options().create(true).append(true).open(self.log_path(id)).expect("a log");
        command.stderr(log).stdin(Stdio::null());
        command
    }

    fn run(&mut self, id: u16, mut command: Command) {
        let child = command.spawn().expect("kv starts");
        assert!(self.running.insert(id, child).is_none(), "member {id} runs already");
    }

    /// Starts a member of those that form the group, for the first time or again.
    pub fn start(&mut self, id: u16) {
        let command = self.command(id, &["--peers", &self.peers]);
        self.run(id, command);
    }

    /// As [`start`](Self::start), with another way into the group or more options.
    pub fn start_with(&mut self, id: u16, options: &[&str]) {
        let command = self.command(id, options);
        self.run(id, command);
    }

    /// Starts one that joins through another.
    pub fn start_joining(&mut self, id: u16, through: u16) {
        let (through, addr) = (self.dialled(through), self.dialled(id));
        self.start_with(id, &["--join", &through, "--addr", &addr]);
    }

    pub fn peers(&self) -> &str {
        &self.peers
    }

    pub fn pid(&self, id: u16) -> Option<u32> {
        self.running.get(&id).map(Child::id)
    }

    pub fn up(&self) -> Vec<u16> {
        self.running.keys().copied().collect()
    }

    /// Kills without a word.
    pub fn kill(&mut self, id: u16) {
        let mut child = self.running.remove(&id).expect("it runs");
        child.kill().expect("it can be killed");
        child.wait().expect("it ends");
    }

    /// Asks it to stop, and waits.
    pub async fn stop(&mut self, id: u16) -> ExitStatus {
        let pid = self.pid(id).expect("it runs");
        let asked = Command::new("kill").arg(pid.to_string()).status().expect("kill");
        assert!(asked.success());
        self.ended(id).await
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, id: u16) -> ExitStatus {
        let mut child = self.running.remove(&id).expect("it runs");
        until(&format!("the end of {id}"), async || {
            child.try_wait().ok().flatten().ok_or_else(|| "it runs".to_owned())
        })
        .await
    }

    /// Loses the disk of a member that does not run.
    pub fn wipe(&mut self, id: u16) {
        assert!(!self.running.contains_key(&id));
        fs::remove_dir_all(self.dir(id)).expect("there was a folder");
    }

    fn log_path(&self, id: u16) -> PathBuf {
        self.folder.path().join(format!("log-{id}"))
    }

    pub fn log(&self, id: u16) -> String {
        fs::read_to_string(self.log_path(id)).unwrap_or_default()
    }

    pub async fn healthy(&self, id: u16) {
        until(&format!("health of {id}"), async || {
            let answer = request(&self.http(id), Method::GET, "/health", "").await?;
            answer.status.is_success().then_some(()).ok_or_else(|| answer.text())
        })
        .await;
    }

    /// What a member says of itself.
    pub async fn status(&self, id: u16) -> Result<serde_json::Value, String> {
        let answer = request(&self.http(id), Method::GET, "/status", "").await?;
        answer.status.is_success().then(|| answer.json()).ok_or_else(|| answer.text())
    }

    /// Who leads, as the members say that do.
    pub async fn leader(&self) -> Result<u16, String> {
        for id in self.up() {
            if let Ok(status) = self.status(id).await
                && status["role"] == "leader"
            {
                return Ok(id);
            }
        }
        Err("nobody leads".to_owned())
    }

    /// The ids of the members, as one of them has it.
    pub async fn members(&self, id: u16) -> Result<Vec<String>, String> {
        let status = self.status(id).await?;
        let members = status["members"].as_array().cloned().unwrap_or_default();
        let members = members.iter().filter(|member| member["member"] == true);
        Ok(members.filter_map(|member| Some(member["id"].as_str()?.to_owned())).collect())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for child in self.running.values_mut() {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() {
            for id in 1..=9 {
                let log = self.log(id);
                let tail = log.len().saturating_sub(3_000);
                if let Some(tail) = log.get(tail..).filter(|tail| !tail.is_empty()) {
                    eprintln!("--- end of the log of {id}\n{tail}");
                }
            }
        }
    }
}
