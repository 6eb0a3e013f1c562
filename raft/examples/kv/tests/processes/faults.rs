//! Clients write and read without a pause while leaders are killed, members cut off, added, removed and wiped. What they
//! saw must be linearizable, key by key, and in the end all members must hold the same.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use hyper::Method;
use parking_lot::Mutex;
use rand::{Rng as _, SeedableRng as _, rngs::StdRng, seq::IndexedRandom as _};
use skep_raft::sim::invariants::linearizability::{Action, Operation, Verdict, check};

use crate::{
    client::{Answer, get, put, request},
    cluster::{Cluster, until},
    proxies::Proxies,
};

/// For how long things go wrong, unless `SKEP_TEST_FAULT_SECONDS` says otherwise.
const SECONDS: u64 = 10;
const CLIENTS: usize = 8;
/// Keys that are in use at a time: few, so that clients meet.
const KEYS: u64 = 4;
/// Operations on a key, after which another one takes its place: as many as the check can take.
const OPERATIONS_MAX: usize = 120;
/// Between two operations of a client, at most: the check is of what is seen, not of how much.
const PAUSE_MS_MAX: u64 = 20;

fn seconds() -> Duration {
    let asked = std::env::var("SKEP_TEST_FAULT_SECONDS").ok();
    Duration::from_secs(asked.and_then(|text| text.parse().ok()).unwrap_or(SECONDS))
}

/// What all clients did, by key.
#[derive(Default)]
struct History {
    keys: Mutex<BTreeMap<u64, Vec<Option<Operation>>>>,
    clock: AtomicU64,
    next_value: AtomicU64,
    /// The keys in use.
    window: Mutex<Vec<u64>>,
}

impl History {
    fn now(&self) -> u64 {
        self.clock.fetch_add(1, Relaxed)
    }

    /// Begins an operation on one of the keys in use.
    fn call(&self, action: Action, rng: &mut StdRng) -> (u64, usize) {
        let mut window = self.window.lock();
        let mut keys = self.keys.lock();
        let at = rng.random_range(0..window.len());
        if keys.get(&window[at]).is_some_and(|done| done.len() >= OPERATIONS_MAX) {
            window[at] = keys.keys().last().map_or(0, |last| last + 1).max(KEYS);
        }
        let operations = keys.entry(window[at]).or_default();
        let called = self.now();
        operations.push(Some(Operation { action, called, returned: None }));
        (window[at], operations.len() - 1)
    }

    fn returned(&self, (key, at): (u64, usize), action: Action) {
        let now = self.now();
        let mut keys = self.keys.lock();
        if let Some(Some(operation)) = keys.get_mut(&key).and_then(|all| all.get_mut(at)) {
            operation.action = action;
            operation.returned = Some(now);
        }
    }

    /// It never happened.
    fn void(&self, (key, at): (u64, usize)) {
        if let Some(operation) = self.keys.lock().get_mut(&key).and_then(|all| all.get_mut(at)) {
            *operation = None;
        }
    }
}

#[derive(Default)]
struct Counts {
    done: AtomicU64,
    not_done: AtomicU64,
    unknown: AtomicU64,
}

/// What a client does over and over: one operation at a time, through any member.
async fn client(
    seed: u64,
    history: Arc<History>,
    counts: Arc<Counts>,
    members: Arc<Mutex<Vec<String>>>,
    stop: Arc<AtomicBool>,
) {
    let mut rng = StdRng::seed_from_u64(seed);
    while !stop.load(Relaxed) {
        let through = members.lock().choose(&mut rng).cloned().expect("there are members");
        let what = rng.random_range(0..10);
        let value = history.next_value.fetch_add(1, Relaxed) + 1;
        let action = match what {
            0..5 => Action::Read(u64::MAX),
            5..6 => Action::Write(0),
            _ => Action::Write(value),
        };
        let operation = history.call(action, &mut rng);
        let key = format!("k{}", operation.0);
        let answer = match action {
            Action::Read(_) => get(&through, &key).await,
            Action::Write(0) => request(&through, Method::DELETE, &format!("/kv/{key}"), "").await,
            Action::Write(value) => put(&through, &key, value.to_string()).await,
        };
        let count = match (action, &answer) {
            (Action::Read(_), Ok(Answer { status, body })) if *status == 200 || *status == 404 => {
                let text = std::str::from_utf8(body).expect("text was written");
                let value = if *status == 404 { 0 } else { text.parse().expect("a number") };
                history.returned(operation, Action::Read(value));
                &counts.done
            }
            (Action::Write(_), Ok(Answer { status, .. })) if *status == 200 => {
                history.returned(operation, action);
                &counts.done
            }
            // It was not done, and will not be.
            (_, Ok(Answer { status, .. })) if *status == 503 => {
                history.void(operation);
                &counts.not_done
            }
            (_, Ok(Answer { status, .. })) if *status == 504 => &counts.unknown,
            (_, Ok(answer)) => panic!("{}: {}", answer.status, answer.text()),
            (_, Err(_)) => &counts.unknown,
        };
        count.fetch_add(1, Relaxed);
        tokio::time::sleep(Duration::from_millis(rng.random_range(0..=PAUSE_MS_MAX))).await;
    }
}

/// The cluster and its network, under somebody who means it ill.
struct Trouble {
    cluster: Cluster,
    proxies: Proxies,
    members: Arc<Mutex<Vec<String>>>,
    rng: StdRng,
    said: Vec<String>,
}

impl Trouble {
    fn say(&mut self, what: String) {
        eprintln!("{what}");
        self.said.push(what);
    }

    /// After processes have come or gone.
    fn changed(&self) {
        let up = self.cluster.up();
        self.proxies.members_are(up.iter().filter_map(|id| Some((self.cluster.pid(*id)?, *id))));
    }

    async fn pause(&mut self, from_ms: u64, to_ms: u64) {
        let pause = self.rng.random_range(from_ms..to_ms);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }

    async fn leader(&self) -> u16 {
        until("a leader", async || self.cluster.leader().await).await
    }

    async fn kill_the_leader(&mut self) {
        let leader = self.leader().await;
        self.say(format!("kill -9 of {leader}, which leads"));
        self.cluster.kill(leader);
        self.pause(200, 1500).await;
        self.restart(leader);
    }

    fn restart(&mut self, id: u16) {
        match id {
            4.. => self.cluster.start_joining(id, 1),
            _ => self.cluster.start(id),
        }
        self.changed();
    }

    async fn cut_somebody_off(&mut self) {
        let up = self.cluster.up();
        let id = *up.choose(&mut self.rng).expect("somebody is up");
        match self.rng.random_range(0..3) {
            0 => {
                let other = *up.iter().find(|other| **other != id).expect("two are up");
                self.say(format!("nothing from {id} reaches {other}"));
                self.proxies.cut_one_way(id, other);
            }
            1 => {
                let leader = self.leader().await;
                self.say(format!("{leader}, which leads, is cut off"));
                self.proxies.cut_off(&[leader]);
            }
            _ => {
                self.say(format!("{id} is cut off"));
                self.proxies.cut_off(&[id]);
            }
        }
        self.pause(500, 3000).await;
        self.proxies.heal();
    }

    async fn lose_a_disk(&mut self) {
        let leader = self.leader().await;
        let up = self.cluster.up();
        let others: Vec<u16> = up.into_iter().filter(|id| *id != leader).collect();
        let id = *others.choose(&mut self.rng).expect("two are up");
        self.say(format!("{id} loses its disk"));
        self.cluster.kill(id);
        self.cluster.wipe(id);
        self.restart(id);
        self.cluster.healthy(id).await;
    }

    /// One more, and one less.
    async fn exchange(&mut self, new: u16) {
        self.say(format!("{new} joins"));
        let front = self.cluster.dialled(new);
        self.proxies.stand(new, &front, self.cluster.behind(new)).await;
        let through = self.cluster.http(1);
        until("4 is admitted", async || {
            let body = format!("{{\"id\":\"{new}\",\"addr\":\"{front}\"}}");
            let answer = request(&through, Method::POST, "/members", body).await?;
            answer.status.is_success().then_some(()).ok_or_else(|| answer.text())
        })
        .await;
        self.cluster.start_joining(new, 1);
        self.changed();
        self.cluster.healthy(new).await;
        self.members.lock().push(self.cluster.http(new));
        self.pause(200, 800).await;

        self.say("3 is removed".to_owned());
        let gone = self.cluster.http(3);
        self.members.lock().retain(|member| *member != gone);
        until("3 is removed", async || {
            let answer = request(&through, Method::DELETE, "/members/3", "").await?;
            let done = answer.status.is_success() || answer.status == 404;
            done.then_some(()).ok_or_else(|| answer.text())
        })
        .await;
        assert_eq!(self.cluster.ended(3).await.code(), Some(3));
        self.changed();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn histories_under_faults_are_linearizable() {
    let seed = rand::random();
    let mut cluster = Cluster::proxied(3);
    let proxies = Proxies::new();
    for id in 1..=3 {
        proxies.stand(id, &cluster.dialled(id), cluster.behind(id)).await;
        cluster.start(id);
    }
    for id in 1..=3 {
        cluster.healthy(id).await;
    }
    let members = Arc::new(Mutex::new((1..=3).map(|id| cluster.http(id)).collect()));
    let said = vec![format!("seed {seed}")];
    let rng = StdRng::seed_from_u64(seed);
    let mut trouble = Trouble { cluster, proxies, members: members.clone(), rng, said };
    trouble.changed();

    let history =
        Arc::new(History { window: Mutex::new((0..KEYS).collect()), ..History::default() });
    let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
    let clients: Vec<_> = (0..CLIENTS as u64)
        .map(|n| {
            let (history, counts) = (history.clone(), counts.clone());
            tokio::spawn(client(seed ^ n, history, counts, members.clone(), stop.clone()))
        })
        .collect();

    // All kinds of trouble once, and then at random for as long as there is time.
    let deadline = Instant::now() + seconds();
    trouble.kill_the_leader().await;
    trouble.cut_somebody_off().await;
    trouble.lose_a_disk().await;
    trouble.exchange(4).await;
    while Instant::now() < deadline {
        trouble.pause(300, 1500).await;
        match trouble.rng.random_range(0..5) {
            0..2 => trouble.kill_the_leader().await,
            2..4 => trouble.cut_somebody_off().await,
            _ => trouble.lose_a_disk().await,
        }
    }
    stop.store(true, Relaxed);
    for client in clients {
        client.await.expect("a client that panics has seen what must not be");
    }
    let cluster = &trouble.cluster;
    for id in cluster.up() {
        cluster.healthy(id).await;
    }
    all_hold_the_same(cluster).await;
    last_reads(&history, cluster).await;
    let (checked, undecided) = check_all(&history, &trouble.said);
    let count = |count: &AtomicU64| count.load(Relaxed);
    eprintln!(
        "{} faults; {} operations done, {} not done, {} in doubt; {checked} keys checked, {undecided} undecided",
        trouble.said.len() - 1,
        count(&counts.done),
        count(&counts.not_done),
        count(&counts.unknown),
    );
    assert!(count(&counts.done) > 100, "too little was done to say anything");
    assert!(undecided * 10 <= checked, "{undecided} of {checked} keys could not be decided");
}

/// Every member, asked for what it has itself.
async fn all_hold_the_same(cluster: &Cluster) {
    until("all members hold the same", async || {
        let mut held = Vec::new();
        for id in cluster.up() {
            let list = request(&cluster.http(id), Method::GET, "/kv?stale", "").await?;
            held.push(list.json()["items"].clone());
        }
        let same = held.windows(2).all(|two| two[0] == two[1]);
        same.then_some(()).ok_or_else(|| format!("{held:?}"))
    })
    .await;
}

/// What is there in the end belongs to the history: so nothing that was acknowledged may be missing.
async fn last_reads(history: &History, cluster: &Cluster) {
    let keys: Vec<u64> = history.keys.lock().keys().copied().collect();
    for key in keys {
        let called = history.now();
        let answer = until("a last read", async || {
            let answer = get(&cluster.http(cluster.up()[0]), &format!("k{key}")).await?;
            let known = answer.status == 200 || answer.status == 404;
            known
                .then_some(answer.status == 200)
                .map(|is| (is, answer.text()))
                .ok_or_else(String::new)
        })
        .await;
        let value = if answer.0 { answer.1.parse().expect("a number") } else { 0 };
        let returned = Some(history.now());
        let read = Operation { action: Action::Read(value), called, returned };
        history.keys.lock().entry(key).or_default().push(Some(read));
    }
}

fn check_all(history: &History, said: &[String]) -> (usize, usize) {
    let keys = history.keys.lock();
    let mut undecided = 0;
    for (key, operations) in keys.iter() {
        let happened: Vec<_> = operations.iter().flatten().copied().collect();
        match check(&happened) {
            Verdict::Linearizable => {}
            Verdict::Undecided => undecided += 1,
            Verdict::NotLinearizable => {
                panic!("k{key} has no order: {happened:#?}\nafter {said:#?}")
            }
        }
    }
    (keys.len(), undecided)
}
