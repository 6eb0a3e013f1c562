//! Members as processes on a loopback address of their own; killed when the value goes.

use std::{
    fs::File,
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};

use anyhow::Context as _;
use hyper::Method;
use rand::Rng as _;
use skep_testkit::wait;

use super::clients::ask_json;

/// How long a cluster may take until it serves.
const START_LIMIT: Duration = Duration::from_secs(60);
/// Where members are dialled by each other and by clients; their number is added.
const PEER_PORT: u16 = 7000;
const CLIENT_PORT: u16 = 8000;

#[derive(Clone, Copy, Debug)]
enum Kind {
    Kv,
    Etcd,
}

/// A running cluster.
pub struct Cluster {
    kind: Kind,
    ip: Ipv4Addr,
    members: Vec<Child>,
}

/// A loopback address that nobody else uses.
fn own_address() -> anyhow::Result<Ipv4Addr> {
    let mut rng = rand::rng();
    let ip = Ipv4Addr::new(127, rng.random_range(1..=254), rng.random(), rng.random_range(1..=254));
    TcpListener::bind((ip, PEER_PORT)).with_context(|| format!("{ip} is in use"))?;
    Ok(ip)
}

impl Cluster {
    /// Members of `kv`.
    pub async fn of_kv(program: &Path, count: u16, folder: &Path) -> anyhow::Result<Cluster> {
        let ip = own_address()?;
        let peers: Vec<_> = (1..=count).map(|id| format!("{id}={ip}:{}", PEER_PORT + id)).collect();
        let command = |id: u16| {
            let mut command = Command::new(program);
            command
                .args(["--id", &id.to_string(), "--peers", &peers.join(","), "--log", "warn"])
                .args(["--http", &format!("{ip}:{}", CLIENT_PORT + id), "--dir"])
                .arg(folder.join(format!("kv-{id}")));
            command
        };
        Cluster::start(Kind::Kv, ip, count, folder, command).await
    }

    /// Members of etcd, as it is by default.
    pub async fn of_etcd(program: &Path, count: u16, folder: &Path) -> anyhow::Result<Cluster> {
        let ip = own_address()?;
        let url = |port: u16| format!("http://{ip}:{port}");
        let all: Vec<_> = (1..=count).map(|id| format!("m{id}={}", url(PEER_PORT + id))).collect();
        let command = |id: u16| {
            let (peer, client) = (url(PEER_PORT + id), url(CLIENT_PORT + id));
            let mut command = Command::new(program);
            command
                .args(["--name", &format!("m{id}"), "--initial-cluster", &all.join(",")])
                .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
                .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
                .args(["--initial-cluster-state", "new", "--log-level", "error"])
                // A key is written again and again: without it the history of all of them would be kept for ever.
                .args([
                    "--auto-compaction-mode",
                    "revision",
                    "--auto-compaction-retention",
                    "10000",
                ])
                .arg("--data-dir")
                .arg(folder.join(format!("etcd-{id}")));
            command
        };
        Cluster::start(Kind::Etcd, ip, count, folder, command).await
    }

    async fn start(
        kind: Kind,
        ip: Ipv4Addr,
        count: u16,
        folder: &Path,
        command: impl Fn(u16) -> Command,
    ) -> anyhow::Result<Cluster> {
        let mut cluster = Cluster { kind, ip, members: Vec::new() };
        for id in 1..=count {
            let mut command = command(id);
            let log = File::create(folder.join(format!("{kind:?}-{id}.log")))?;
            command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
            let started = command.spawn();
            let program = command.get_program().to_owned();
            let started = started.with_context(|| format!("cannot start {}", program.display()))?;
            cluster.members.push(started);
        }
        let what = format!("{kind:?} of {count} members");
        wait::until(&what, START_LIMIT, async || {
            for id in 1..=count {
                ask_json(&cluster.client_addr(id), Method::GET, "/health", "").await?;
            }
            cluster.leader().await.map(drop)
        })
        .await?;
        Ok(cluster)
    }

    fn client_addr(&self, id: u16) -> String {
        format!("{}:{}", self.ip, CLIENT_PORT + id)
    }

    /// Where the leader takes requests.
    pub async fn leader(&self) -> anyhow::Result<String> {
        for id in (1..).take(self.members.len()) {
            let addr = self.client_addr(id);
            let leads = match self.kind {
                Kind::Kv => {
                    let status = ask_json(&addr, Method::GET, "/status", "").await?;
                    status["role"] == "leader"
                }
                Kind::Etcd => {
                    let path = "/v3/maintenance/status";
                    let status = ask_json(&addr, Method::POST, path, "{}").await?;
                    status["leader"] == status["header"]["member_id"]
                }
            };
            if leads {
                return Ok(addr);
            }
        }
        anyhow::bail!("nobody leads")
    }

    /// The members' processes.
    pub fn pids(&self) -> Vec<u32> {
        self.members.iter().map(Child::id).collect()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        for member in &mut self.members {
            // It may have ended by itself; either way it is gone afterwards.
            let _ = member.kill();
            let _ = member.wait();
        }
    }
}
