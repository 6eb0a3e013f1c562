//! A chain under load while its leader is killed again and again, orderers are cut off, one is added, one removed, one loses its disk.

use std::time::{Duration, Instant};

use rand::Rng as _;
use skep_orderer::core::limits::Limits;
use skep_orderer::wire::{AddMemberRequest, Consenter, RemoveMemberRequest};

use crate::chain;
use crate::cluster::{Cluster, client, until};
use crate::load::Load;
use crate::proxies::Proxies;

/// How long faults go on; a whole round of them at least.
fn fault_time() -> Duration {
    let seconds = std::env::var("SKEP_TEST_FAULT_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

const OPTIONS: [&str; 8] = [
    "--messages-max",
    "20",
    "--preferred-bytes",
    "20000",
    "--timeout-ms",
    "50",
    // So few that snapshots are taken all the time, and who is behind finds no log to follow.
    "--snapshot-bytes",
    "60000",
];

fn limits() -> Limits {
    Limits { messages_max: 20, preferred_bytes: 20_000, ..Limits::default() }
}

struct Trial {
    cluster: Cluster,
    proxies: Proxies,
    load: Load,
    members: usize,
}

impl Trial {
    fn start(&mut self, id: u16) {
        self.cluster.start(id);
        self.proxies.members_are(self.cluster.pids());
    }

    /// Envelopes go on being ordered.
    async fn progress(&self) {
        let from = self.load.acknowledged();
        until("envelopes go on being ordered", async || {
            let now = self.load.acknowledged();
            (now >= from + 20).then_some(()).ok_or_else(|| format!("{now} after {from}"))
        })
        .await;
    }

    /// Everybody is there, and as far as everybody else.
    async fn healed(&self) -> u16 {
        let leader = self.cluster.settled(self.members).await;
        let goal =
            until("the leader's height", async || self.cluster.status(leader).await).await.height;
        for id in self.cluster.up() {
            until(&format!("orderer {id} is at {goal}"), async || {
                let height = self.cluster.status(id).await?.height;
                (height >= goal).then_some(()).ok_or_else(|| height.to_string())
            })
            .await;
        }
        leader
    }

    async fn kill_leader(&mut self) {
        let leader = self.healed().await;
        self.cluster.kill(leader);
        self.progress().await;
        self.start(leader);
    }

    async fn cut_off(&mut self) {
        self.healed().await;
        let up = self.cluster.up();
        let victim = up[rand::rng().random_range(0..up.len())];
        self.proxies.cut_off(&[victim]);
        self.progress().await;
        self.proxies.heal();
    }

    async fn add(&mut self, id: u16) {
        self.start(id);
        let consenter = Consenter { id: id.to_string(), addr: self.cluster.dialled(id) };
        let addr = self.cluster.clients(1);
        until("one is added", async || {
            let request = AddMemberRequest { consenter: Some(consenter.clone()) };
            match client(&addr).add_member(request).await {
                Ok(_) => Ok(()),
                Err(status) if status.code() == tonic::Code::AlreadyExists => Ok(()),
                Err(status) => Err(status.message().to_owned()),
            }
        })
        .await;
        self.members += 1;
        self.progress().await;
    }

    async fn remove(&mut self, id: u16) {
        self.healed().await;
        let addr = self.cluster.clients(if id == 1 { 2 } else { 1 });
        until("one is removed", async || {
            let request = RemoveMemberRequest { id: id.to_string() };
            match client(&addr).remove_member(request).await {
                Ok(_) => Ok(()),
                Err(status) if status.code() == tonic::Code::NotFound => Ok(()),
                Err(status) => Err(status.message().to_owned()),
            }
        })
        .await;
        self.members -= 1;
        assert_eq!(self.cluster.ended(id).await.code(), Some(3), "{}", self.cluster.log(id));
        self.progress().await;
        // It does not come back as what it was.
        self.start(id);
        assert_eq!(self.cluster.ended(id).await.code(), Some(3));
        self.cluster.wipe(id);
        self.proxies.members_are(self.cluster.pids());
    }

    /// One loses its disk; started again with an empty one, it takes its own place.
    async fn wipe(&mut self, id: u16) {
        self.healed().await;
        self.cluster.kill(id);
        self.cluster.wipe(id);
        self.progress().await;
        self.start(id);
        self.healed().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_chain_survives_faults() {
    let mut cluster = Cluster::of(3, true, &OPTIONS);
    let proxies = Proxies::new();
    for id in 1..=4 {
        proxies.stand(id, &cluster.dialled(id), cluster.behind(id)).await;
    }
    (1..=3).for_each(|id| cluster.start(id));
    proxies.members_are(cluster.pids());
    cluster.settled(3).await;
    let addrs: Vec<_> = (1..=4).map(|id| cluster.clients(id)).collect();
    let load = Load::start(&addrs, 4, 2);
    let mut trial = Trial { cluster, proxies, load, members: 3 };

    let until = Instant::now() + fault_time();
    let mut rounds = 0;
    while rounds == 0 || Instant::now() < until {
        trial.kill_leader().await;
        trial.cut_off().await;
        trial.add(4).await;
        trial.kill_leader().await;
        trial.wipe(2).await;
        trial.cut_off().await;
        trial.remove(4).await;
        rounds += 1;
    }

    trial.healed().await;
    let Trial { cluster, load, .. } = trial;
    let told = load.finish().await;
    let leader = cluster.settled(3).await;
    let height = cluster.status(leader).await.expect("it answers").height;
    let mut first: Option<chain::Chain> = None;
    for id in cluster.up() {
        crate::cluster::until("everybody has the whole chain", async || {
            let found = cluster.status(id).await?.height;
            (found >= height).then_some(()).ok_or_else(|| format!("{id} has {found} of {height}"))
        })
        .await;
        let chain = chain::read(&cluster.clients(id), height, &limits()).await;
        let first = first.get_or_insert_with(|| chain.clone());
        assert_eq!(first.hashes, chain.hashes, "orderer {id} has another chain");
    }
    let chain = first.expect("some run");
    for (envelope, block) in &told {
        assert_eq!(chain.envelopes.get(envelope), Some(block), "{envelope:?}");
    }
    assert!(cluster.log(2).contains("pulls them"), "a wiped orderer had to pull its ledger");
    println!(
        "{rounds} rounds of faults: {} envelopes acknowledged, {} in the chain, {height} blocks",
        told.len(),
        chain.envelopes.len()
    );
}
