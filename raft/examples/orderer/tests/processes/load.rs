//! Submitters that go on whatever happens: each submits its envelopes in order, and again whatever it was not told is in the chain.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::Rng as _;
use skep_orderer::wire::Envelope;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::cluster::client;

/// How long an answer may take before the submitter asks elsewhere.
const PATIENCE: Duration = Duration::from_secs(4);

/// Several submitters.
pub struct Load {
    tasks: JoinSet<(String, BTreeMap<u64, u64>)>,
    stop: watch::Sender<bool>,
    acknowledged: Arc<AtomicU64>,
}

fn envelope(submitter: &str, number: u64) -> Envelope {
    // Now and then one that is larger than preferred.
    let bytes = if number % 97 == 50 { 30_000 } else { 50 + number as usize * 31 % 900 };
    let payload = vec![b'x'; bytes].into();
    Envelope { submitter: submitter.to_owned(), id: number.to_string(), payload }
}

impl Load {
    /// `alone` submitters with one envelope under way each, and `streams` with up to twenty.
    pub fn start(addrs: &[String], alone: usize, streams: usize) -> Load {
        let (stop, _) = watch::channel(false);
        let acknowledged = Arc::new(AtomicU64::new(0));
        let mut tasks = JoinSet::new();
        for n in 0..alone + streams {
            let under_way = if n < alone { 1 } else { 20 };
            let submitter = Submitter {
                name: format!("submitter{n}"),
                addrs: addrs.to_vec(),
                under_way,
                stop: stop.subscribe(),
                acknowledged: acknowledged.clone(),
            };
            tasks.spawn(submitter.run());
        }
        Load { tasks, stop, acknowledged }
    }

    /// How many envelopes are known to be in the chain.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// Lets everybody come to an end; gives in which block each envelope is, as its submitter was told.
    pub async fn finish(mut self) -> BTreeMap<(String, u64), u64> {
        self.stop.send_replace(true);
        let mut told = BTreeMap::new();
        while let Some(done) = self.tasks.join_next().await {
            let (name, acks) = done.expect("no submitter fails");
            told.extend(acks.into_iter().map(|(number, block)| ((name.clone(), number), block)));
        }
        told
    }
}

struct Submitter {
    name: String,
    addrs: Vec<String>,
    under_way: usize,
    stop: watch::Receiver<bool>,
    acknowledged: Arc<AtomicU64>,
}

impl Submitter {
    async fn run(self) -> (String, BTreeMap<u64, u64>) {
        let mut acks = BTreeMap::new();
        let mut next = 0;
        // Whoever was submitted once is submitted until it is known.
        let mut begun = 0;
        while !*self.stop.borrow() || next < begun {
            let addr = &self.addrs[rand::rng().random_range(0..self.addrs.len())];
            self.stream(addr, &mut next, &mut begun, &mut acks).await;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        (self.name, acks)
    }

    /// One stream at one orderer, until something goes wrong or nothing is left to do.
    async fn stream(
        &self,
        addr: &str,
        next: &mut u64,
        begun: &mut u64,
        acks: &mut BTreeMap<u64, u64>,
    ) {
        let (sender, envelopes) = mpsc::channel(self.under_way);
        let mut client = client(addr);
        let opening = client.broadcast(ReceiverStream::new(envelopes));
        let Ok(Ok(answers)) = tokio::time::timeout(PATIENCE, opening).await else { return };
        let mut answers = answers.into_inner();
        let mut sent = VecDeque::new();
        let mut number = *next;
        loop {
            while sent.len() < self.under_way && (!*self.stop.borrow() || number < *begun) {
                if sender.send(envelope(&self.name, number)).await.is_err() {
                    return;
                }
                sent.push_back(number);
                number += 1;
                *begun = (*begun).max(number);
            }
            let Some(first) = sent.front().copied() else { return };
            match tokio::time::timeout(PATIENCE, answers.message()).await {
                Ok(Ok(Some(ack))) if ack.id == first.to_string() => {
                    sent.pop_front();
                    acks.insert(first, ack.block);
                    *next = first + 1;
                    self.acknowledged.fetch_add(1, Ordering::Relaxed);
                }
                Ok(Ok(Some(ack))) => panic!("{} was told of {} before {first}", self.name, ack.id),
                _ => return,
            }
        }
    }
}
