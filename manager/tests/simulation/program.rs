//! Clients of the store. Each write is one transaction on two objects: it sets a register, and raises a counter by one from what
//! it reads there. Registers must be linearizable; the counter must have gone up once for each write that was acknowledged, and at
//! most once for each whose outcome nobody knows.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::task::{Context, Poll};

use bytes::Bytes;
use rand::Rng;
use skep_proto::ids::ConfigId;
use skep_proto::swarmkit::{Annotations, Config, ConfigSpec};
use skep_raft::sim::invariants::linearizability::{Action, Operation, Verdict, check};
use skep_raft::sim::{Host, Program, ReadToken, Turn, Violation, Watched};
use skep_raft::{ReadError, StateMachine as _};
use skep_store::{Store, StoreError, Tx, UpdateError, View};

use crate::machine::Replica;

const REGISTERS: u64 = 3;
/// The counter's place among the objects.
const COUNTER: u64 = REGISTERS;
/// Writes and reads under way at most; writes of one leader are pipelined.
const CLIENTS: usize = 8;
/// A client that has heard nothing for so long goes on.
const PATIENCE_MS: u64 = 3_000;
/// Operations on one register, as many as the check can take.
const OPERATIONS_MAX: usize = 150;

type Write = Pin<Box<dyn Future<Output = Result<(), UpdateError<StoreError>>> + Send>>;

enum Doing {
    Nothing { until_ms: u64 },
    Writing { register: u64, operation: usize, write: Write, since_ms: u64 },
    Reading { register: u64, operation: usize, read: ReadToken, since_ms: u64 },
}

/// Registers and a counter in the store, with clients.
pub struct Objects {
    clients: Vec<Doing>,
    history: BTreeMap<u64, Vec<Operation>>,
    void: BTreeMap<u64, Vec<usize>>,
    clock: u64,
    next_value: u64,
    acknowledged: u64,
    unknown: u64,
    calm: bool,
    calm_writes: u32,
    calm_reads: u32,
    watchers: Arc<AtomicU64>,
    seen: Vec<Watched>,
}

impl Default for Objects {
    fn default() -> Self {
        Objects {
            clients: (0..CLIENTS).map(|_| Doing::Nothing { until_ms: 0 }).collect(),
            history: BTreeMap::new(),
            void: BTreeMap::new(),
            clock: 0,
            next_value: 0,
            acknowledged: 0,
            unknown: 0,
            calm: false,
            calm_writes: 0,
            calm_reads: 0,
            watchers: Arc::default(),
            seen: Vec::new(),
        }
    }
}

fn id(number: u64) -> ConfigId {
    format!("{number:025}").parse().expect("25 digits are an id")
}

fn value_of(view: &View, number: u64) -> u64 {
    let config = view.get::<Config>(&id(number));
    let data = config.and_then(|config| config.spec.as_ref()).map(|spec| spec.data.clone());
    let text = data.and_then(|data| String::from_utf8(data.to_vec()).ok());
    text.and_then(|text| text.trim_end().parse().ok()).unwrap_or(0)
}

fn set(tx: &mut Tx, number: u64, value: u64, padding: usize) -> Result<(), StoreError> {
    let data = Bytes::from(format!("{value}{}", " ".repeat(padding)));
    if tx.get::<Config>(&id(number)).is_some() {
        tx.modify::<Config>(&id(number), |config| {
            config.spec.get_or_insert_default().data = data;
        })?;
        return Ok(());
    }
    let name = format!("object{number}");
    let annotations = Some(Annotations { name, ..Annotations::default() });
    let spec = Some(ConfigSpec { annotations, data, ..ConfigSpec::default() });
    tx.create(Config { id: id(number).to_string(), spec, ..Config::default() })?;
    Ok(())
}

fn counted(tx: &Tx) -> u64 {
    let config = tx.get::<Config>(&id(COUNTER));
    let data = config.and_then(|config| config.spec.as_ref()).map(|spec| spec.data.clone());
    let text = data.and_then(|data| String::from_utf8(data.to_vec()).ok());
    text.and_then(|text| text.trim_end().parse().ok()).unwrap_or(0)
}

fn write(store: Store, register: u64, value: u64, padding: usize) -> Write {
    Box::pin(async move {
        store
            .update(move |tx| {
                set(tx, register, value, padding)?;
                let count = counted(tx) + 1;
                set(tx, COUNTER, count, 0)
            })
            .await
    })
}

impl Objects {
    fn now(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn call(&mut self, register: u64, action: Action) -> usize {
        let called = self.now();
        let history = self.history.entry(register).or_default();
        history.push(Operation { action, called, returned: None });
        history.len() - 1
    }

    fn operation(&mut self, register: u64, operation: usize) -> &mut Operation {
        &mut self.history.get_mut(&register).expect("it was called")[operation]
    }

    fn begin(&mut self, client: usize, turn: &mut Turn<'_, Replica>) {
        let up = turn.up();
        let register = turn.rng.random_range(0..REGISTERS);
        let full = self.history.get(&register).map_or(0, Vec::len) >= OPERATIONS_MAX;
        if up.is_empty() || (full && !self.calm) {
            return;
        }
        let since_ms = turn.now_ms;
        if turn.rng.random_bool(0.4) {
            let place = up[turn.rng.random_range(0..up.len())];
            let read = turn.read(place);
            let operation = self.call(register, Action::Read(u64::MAX));
            self.clients[client] = Doing::Reading { register, operation, read, since_ms };
            return;
        }
        let leads = |place: &usize, turn: &mut Turn<'_, Replica>| {
            turn.machine(*place).is_some_and(|replica| replica.store.leads())
        };
        let leaders: Vec<_> = up.into_iter().filter(|place| leads(place, turn)).collect();
        if leaders.is_empty() {
            return;
        }
        let place = leaders[turn.rng.random_range(0..leaders.len())];
        let padding = if turn.rng.random_range(0..20) == 0 { 20_000 } else { 0 };
        let Some(replica) = turn.machine(place) else { return };
        let store = replica.store.clone();
        self.next_value += 1;
        let value = self.next_value;
        let operation = self.call(register, Action::Write(value));
        let write = write(store, register, value, padding);
        self.clients[client] = Doing::Writing { register, operation, write, since_ms };
        // The transaction runs at once, and is proposed before this turn is over.
        self.go_on(client, since_ms);
    }

    /// Asks a write whether it is done.
    fn go_on(&mut self, client: usize, now_ms: u64) {
        let Doing::Writing { register, operation, write, since_ms } = &mut self.clients[client]
        else {
            return;
        };
        let (register, operation, since_ms) = (*register, *operation, *since_ms);
        let mut context = Context::from_waker(std::task::Waker::noop());
        match write.as_mut().poll(&mut context) {
            Poll::Pending if now_ms - since_ms > PATIENCE_MS => self.unknown += 1,
            Poll::Pending => return,
            Poll::Ready(Ok(())) => {
                let now = self.now();
                self.operation(register, operation).returned = Some(now);
                self.acknowledged += 1;
                self.calm_writes += u32::from(self.calm);
            }
            Poll::Ready(Err(error)) if error.may_happen() => self.unknown += 1,
            Poll::Ready(Err(_)) => self.void.entry(register).or_default().push(operation),
        }
        self.clients[client] = Doing::Nothing { until_ms: now_ms };
    }
}

impl Program for Objects {
    type Machine = Replica;

    fn machine(&mut self, host: Host) -> Replica {
        Replica::new(host, self.watchers.clone())
    }

    fn turn(&mut self, turn: &mut Turn<'_, Replica>) {
        let now_ms = turn.now_ms;
        for client in 0..CLIENTS {
            match &self.clients[client] {
                Doing::Writing { .. } => self.go_on(client, now_ms),
                Doing::Reading { since_ms, .. } if now_ms - since_ms > PATIENCE_MS => {
                    self.clients[client] = Doing::Nothing { until_ms: now_ms };
                }
                Doing::Nothing { until_ms } if *until_ms <= now_ms => {
                    let until_ms = now_ms + turn.rng.random_range(0..300);
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
                self.seen.append(&mut replica.seen);
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
        let Doing::Reading { register, operation, .. } = self.clients[client] else { return };
        self.clients[client] = Doing::Nothing { until_ms: now_ms };
        if outcome.is_ok() {
            let value = value_of(&replica.store.view(), register);
            let now = self.now();
            let operation = self.operation(register, operation);
            *operation =
                Operation { action: Action::Read(value), returned: Some(now), ..*operation };
            self.calm_reads += u32::from(self.calm);
        }
    }

    fn gone(&mut self, _host: &Host, mut replica: Replica) {
        self.seen.append(&mut replica.seen);
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
        let under_way =
            self.clients.iter().filter(|doing| matches!(doing, Doing::Writing { .. })).count();
        let most = self.acknowledged + self.unknown + under_way as u64;
        for replica in replicas {
            let count = value_of(&replica.store.view(), COUNTER);
            if count < self.acknowledged || count > most {
                let detail = format!(
                    "the counter is at {count} after {} acknowledged writes and {} at most",
                    self.acknowledged, most
                );
                return Err(Violation::new("applied_once", detail));
            }
        }
        for (register, operations) in &self.history {
            let void = self.void.get(register).cloned().unwrap_or_default();
            let happened = operations.iter().enumerate().filter(|(n, _)| !void.contains(n));
            let happened: Vec<_> = happened.map(|(_, operation)| *operation).collect();
            if check(&happened) == Verdict::NotLinearizable {
                let detail = format!("register {register} has no order: {happened:?}");
                return Err(Violation::new("linearizability", detail));
            }
        }
        Ok(())
    }
}
