//! Clients of the store: puts, deletes, conditional puts and reads of a few keys. What they see must be linearizable.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::AtomicU64},
};

use bytes::Bytes;
use prost::Message as _;
use rand::{Rng as _, rngs::StdRng};
use skep_kv::{
    command::{Action, Command, Delete, Outcome, Put},
    store::{Store, WriteError},
};
use skep_raft::{
    ReadError, StateMachine as _,
    sim::{
        Host, Program, ReadToken, Turn, Violation, Watched,
        invariants::linearizability::{Action as Did, Operation, Verdict, check},
    },
};
use tokio::sync::oneshot;

use crate::replica::Replica;

/// Few keys, so that operations meet.
const KEYS: u8 = 3;
/// Operations under way at most.
const CLIENTS: usize = 6;
/// A client that has heard nothing for so long goes on; what it did may still happen.
const PATIENCE_MS: u64 = 3_000;
/// Operations on one key, as many as the check can take.
const OPERATIONS_MAX: usize = 150;
/// Writes of a burst, more than a leader takes.
const BURST: usize = 10;

type Answer = oneshot::Receiver<Result<Outcome, WriteError>>;

enum Doing {
    Nothing { until_ms: u64 },
    Writing { key: u8, operation: usize, conditional: bool, answer: Answer, since_ms: u64 },
    Reading { key: u8, operation: usize, read: ReadToken, since_ms: u64 },
}

/// The program.
pub struct Clients {
    clients: Vec<Doing>,
    history: BTreeMap<u8, Vec<Operation>>,
    /// Operations that never happened.
    void: BTreeMap<u8, Vec<usize>>,
    clock: u64,
    next_value: u64,
    calm: bool,
    calm_writes: u32,
    calm_reads: u32,
    watchers: Arc<AtomicU64>,
    seen: Vec<Watched>,
    wrong: Option<String>,
}

impl Default for Clients {
    fn default() -> Clients {
        Clients {
            clients: (0..CLIENTS).map(|_| Doing::Nothing { until_ms: 0 }).collect(),
            history: BTreeMap::new(),
            void: BTreeMap::new(),
            clock: 0,
            next_value: 0,
            calm: false,
            calm_writes: 0,
            calm_reads: 0,
            watchers: Arc::default(),
            seen: Vec::new(),
            wrong: None,
        }
    }
}

fn name(key: u8) -> Bytes {
    Bytes::from(vec![b'k', key])
}

/// The number that a key's value begins with; 0 for a key that is not there.
fn value_of(store: &Store, key: u8) -> u64 {
    let item = store.get(&name(key));
    item.and_then(|item| Some(u64::from_le_bytes(item.value.get(..8)?.try_into().ok()?)))
        .unwrap_or(0)
}

fn put(key: u8, value: u64, padding: usize, if_revision: Option<u64>) -> Action {
    let mut bytes = value.to_le_bytes().to_vec();
    bytes.resize(8 + padding, b'.');
    Action::Put(Put { key: name(key), value: bytes.into(), if_revision })
}

/// A command whose number comes from the seed alone.
fn propose(store: &Store, action: Action, rng: &mut StdRng) -> Option<Answer> {
    let command = Command { request: rng.random(), action: Some(action) };
    store.propose(command.encode_to_vec().into()).ok()
}

impl Clients {
    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn call(&mut self, key: u8, action: Did) -> usize {
        let called = self.now();
        let history = self.history.entry(key).or_default();
        history.push(Operation { action, called, returned: None });
        history.len() - 1
    }

    fn returned(&mut self, key: u8, operation: usize, action: Option<Did>) {
        let now = self.now();
        let operation = &mut self.history.get_mut(&key).expect("it was called")[operation];
        operation.returned = Some(now);
        operation.action = action.unwrap_or(operation.action);
    }

    fn begin(&mut self, client: usize, turn: &mut Turn<'_, Replica>) {
        let up = turn.up();
        let key = turn.rng.random_range(0..KEYS);
        let full = self.history.get(&key).map_or(0, Vec::len) >= OPERATIONS_MAX;
        if up.is_empty() || (full && !self.calm) {
            return;
        }
        let since_ms = turn.now_ms;
        if turn.rng.random_bool(0.45) {
            let place = up[turn.rng.random_range(0..up.len())];
            let read = turn.read(place);
            let operation = self.call(key, Did::Read(u64::MAX));
            self.clients[client] = Doing::Reading { key, operation, read, since_ms };
            return;
        }
        let leaders: Vec<Store> = up
            .into_iter()
            .filter_map(|place| Some(turn.machine(place)?.store().clone()))
            .filter(Store::leads)
            .collect();
        if leaders.is_empty() {
            return;
        }
        let store = leaders[turn.rng.random_range(0..leaders.len())].clone();
        if turn.rng.random_range(0..40) == 0 {
            self.burst(&store, turn.rng);
        }
        self.next_value += 1;
        let value = self.next_value;
        let padding = if turn.rng.random_range(0..20) == 0 { 20_000 } else { 0 };
        let (action, did, conditional) = match turn.rng.random_range(0..10) {
            // The reader of an absent key sees 0.
            0..2 => {
                let delete = Delete { key: name(key), if_revision: None };
                (Action::Delete(delete), Did::Write(0), false)
            }
            2..4 => {
                let revision = store.get(&name(key)).map_or(0, |item| item.revision);
                (put(key, value, padding, Some(revision)), Did::Write(value), true)
            }
            _ => (put(key, value, padding, None), Did::Write(value), false),
        };
        let operation = self.call(key, did);
        match propose(&store, action, turn.rng) {
            Some(answer) => {
                self.clients[client] =
                    Doing::Writing { key, operation, conditional, answer, since_ms };
            }
            None => self.void.entry(key).or_default().push(operation),
        }
    }

    /// Many large writes at once that nobody waits for, so that a leader refuses some.
    fn burst(&mut self, store: &Store, rng: &mut StdRng) {
        for _ in 0..BURST {
            let key = rng.random_range(0..KEYS);
            self.next_value += 1;
            let value = self.next_value;
            self.call(key, Did::Write(value));
            let _nobody = propose(store, put(key, value, 15_000, None), rng);
        }
    }

    /// Asks a write whether it is done.
    fn go_on(&mut self, client: usize, now_ms: u64) {
        let Doing::Writing { key, operation, conditional, answer, since_ms } =
            &mut self.clients[client]
        else {
            return;
        };
        let (key, operation, conditional) = (*key, *operation, *conditional);
        match answer.try_recv() {
            Err(oneshot::error::TryRecvError::Empty) if now_ms - *since_ms <= PATIENCE_MS => return,
            // A conditional write whose outcome nobody knows may also have been in conflict, which is the same as that it
            // has not happened.
            Err(_) | Ok(Err(WriteError::Unknown)) => {}
            Ok(Ok(outcome)) if outcome.conflict => {
                assert!(conditional, "only a condition can be in conflict");
                self.void.entry(key).or_default().push(operation);
            }
            Ok(Ok(_)) => {
                self.returned(key, operation, None);
                self.calm_writes += u32::from(self.calm);
            }
            Ok(Err(WriteError::Refused(_))) => self.void.entry(key).or_default().push(operation),
        }
        self.clients[client] = Doing::Nothing { until_ms: now_ms };
    }

    fn collect(&mut self, replica: &mut Replica) {
        self.seen.append(&mut replica.seen);
        self.wrong = self.wrong.take().or_else(|| replica.wrong.take());
    }
}

impl Program for Clients {
    type Machine = Replica;

    fn machine(&mut self, host: Host) -> Replica {
        Replica::new(&host, self.watchers.clone())
    }

    fn turn(&mut self, turn: &mut Turn<'_, Replica>) {
        let now_ms = turn.now_ms;
        for client in 0..CLIENTS {
            match self.clients[client] {
                Doing::Writing { .. } => self.go_on(client, now_ms),
                Doing::Reading { since_ms, .. } if now_ms - since_ms > PATIENCE_MS => {
                    self.clients[client] = Doing::Nothing { until_ms: now_ms };
                }
                Doing::Nothing { until_ms } if until_ms <= now_ms => {
                    let until_ms = now_ms + turn.rng.random_range(0..400);
                    self.clients[client] = Doing::Nothing { until_ms };
                    if !(self.calm && self.content()) {
                        self.begin(client, turn);
                    }
                }
                _ => {}
            }
        }
        for place in turn.up() {
            if let Some(replica) = turn.machine(place) {
                self.collect(replica);
            }
        }
    }

    fn read_done(
        &mut self,
        token: ReadToken,
        outcome: Result<u64, ReadError>,
        replica: &mut Replica,
        now_ms: u64,
    ) {
        let waiting = self
            .clients
            .iter()
            .position(|doing| matches!(doing, Doing::Reading { read, .. } if *read == token));
        let Some(client) = waiting else { return };
        let Doing::Reading { key, operation, .. } = self.clients[client] else { return };
        self.clients[client] = Doing::Nothing { until_ms: now_ms };
        if outcome.is_ok() {
            let value = value_of(replica.store(), key);
            self.returned(key, operation, Some(Did::Read(value)));
            self.calm_reads += u32::from(self.calm);
        }
    }

    fn gone(&mut self, _host: &Host, mut replica: Replica) {
        self.collect(&mut replica);
        // Whoever waits is told; a process that died tells nobody, but then its clients know no more than this.
        replica.following();
    }

    fn calm(&mut self) {
        self.calm = true;
        self.calm_writes = 0;
        self.calm_reads = 0;
    }

    fn content(&self) -> bool {
        !self.calm || (self.calm_writes >= 3 && self.calm_reads >= 6)
    }

    fn watched(&mut self) -> Vec<Watched> {
        std::mem::take(&mut self.seen)
    }

    fn check(&mut self, replicas: &mut dyn Iterator<Item = &mut Replica>) -> Result<(), Violation> {
        if let Some(wrong) = self.wrong.take() {
            return Err(Violation::new("watches", wrong));
        }
        let mut first = None;
        for replica in replicas {
            let state = replica.store().state();
            let held = (state.items, state.admitted);
            let expected = first.get_or_insert_with(|| held.clone());
            if *expected != held {
                let detail = format!("replicas hold {expected:?} and {held:?}");
                return Err(Violation::new("state_machine_safety", detail));
            }
        }
        for (key, operations) in &self.history {
            let void = self.void.get(key).cloned().unwrap_or_default();
            let happened = operations.iter().enumerate().filter(|(n, _)| !void.contains(n));
            let happened: Vec<_> = happened.map(|(_, operation)| *operation).collect();
            if check(&happened) == Verdict::NotLinearizable {
                let detail = format!("key {key} has no order: {happened:?}");
                return Err(Violation::new("linearizability", detail));
            }
        }
        Ok(())
    }
}
