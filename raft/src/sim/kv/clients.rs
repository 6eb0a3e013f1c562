//! The clients, and the history that they make.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use rand::Rng;

use super::super::invariants::Violation;
use super::super::invariants::linearizability::{self, Action, Operation, Verdict};
use super::super::program::{Host, Program, ReadToken, Turn, Watched};
use super::machine::{KvMachine, Outcome, Seen};
use crate::{PROPOSAL_BYTES_MAX, ReadError, StateMachine as _, Ticket};

/// Few keys, so that operations meet.
const KEYS: u8 = 3;
/// Concurrent operations at most.
const CLIENTS: usize = 5;
/// A client that has heard nothing for so long goes on; what it did may still happen.
const PATIENCE_MS: u64 = 3_000;
/// Writes of a burst.
const BURST: usize = 10;
/// Operations per key at most, well below what the check can take together with those that are never answered.
const OPERATIONS_PER_KEY_MAX: usize = 150;

#[derive(Clone, Copy, Debug)]
enum Doing {
    Nothing { until_ms: u64 },
    Writing { key: u8, operation: usize, life: u32, ticket: Ticket, since_ms: u64 },
    Reading { key: u8, operation: usize, read: ReadToken, since_ms: u64 },
}

/// Registers with clients.
#[derive(Debug)]
pub struct Kv {
    clients: [Doing; CLIENTS],
    history: BTreeMap<u8, Vec<Operation>>,
    /// Which operations were refused and so never happened.
    void: BTreeMap<u8, Vec<usize>>,
    /// Orders calls and returns: finer than virtual time.
    clock: u64,
    next_value: u64,
    calm: bool,
    calm_writes: u32,
    calm_reads: u32,
    watchers: Arc<AtomicU64>,
    seen: Seen,
    /// For [`Sabotage::AnswerBeforeCommit`](super::super::Sabotage).
    answers_early: bool,
}

impl Kv {
    /// With `answers_early` clients take a write for done when it is proposed: a bug to be found.
    pub fn new(answers_early: bool) -> Self {
        Self {
            clients: [Doing::Nothing { until_ms: 0 }; CLIENTS],
            history: BTreeMap::new(),
            void: BTreeMap::new(),
            clock: 0,
            next_value: 0,
            calm: false,
            calm_writes: 0,
            calm_reads: 0,
            watchers: Arc::default(),
            seen: Seen::default(),
            answers_early,
        }
    }

    fn tick(&mut self) -> u64 {
        self.clock += 1;
        self.clock
    }

    fn call(&mut self, key: u8, action: Action) -> usize {
        let called = self.tick();
        let history = self.history.entry(key).or_default();
        history.push(Operation { action, called, returned: None });
        history.len() - 1
    }

    fn returned(&mut self, key: u8, operation: usize) {
        let now = self.tick();
        if let Some(operation) = self.history.get_mut(&key).and_then(|ops| ops.get_mut(operation)) {
            operation.returned = Some(now);
        }
    }

    fn begin(&mut self, client: usize, turn: &mut Turn<'_, KvMachine>) {
        let up = turn.up();
        if up.is_empty() {
            return;
        }
        let key = turn.rng.random_range(0..KEYS);
        if self.history.get(&key).map_or(0, Vec::len) >= OPERATIONS_PER_KEY_MAX && !self.calm {
            return;
        }
        let place = up[turn.rng.random_range(0..up.len())];
        let now_ms = turn.now_ms;
        if turn.rng.random_bool(0.5) {
            let read = turn.read(place);
            let operation = self.call(key, Action::Read(u64::MAX));
            self.clients[client] = Doing::Reading { key, operation, read, since_ms: now_ms };
            return;
        }
        // Clients look for whoever takes writes; now and then several believe that they do.
        let leaders: Vec<_> =
            up.iter().filter(|place| turn.machine(**place).is_some_and(|m| m.leads())).collect();
        if leaders.is_empty() {
            return;
        }
        let place = *leaders[turn.rng.random_range(0..leaders.len())];
        if turn.rng.random_range(0..40) == 0 {
            self.burst(place, turn);
        }
        let padding = match turn.rng.random_range(0..60) {
            // Too large: refused, and what was proposed after it.
            0 => PROPOSAL_BYTES_MAX,
            1..4 => turn.rng.random_range(0..40_000),
            _ => turn.rng.random_range(0..60),
        };
        self.next_value += 1;
        let value = self.next_value;
        let operation = self.call(key, Action::Write(value));
        let Some(machine) = turn.machine(place) else { return };
        match machine.write(key, value, padding) {
            Some(_) if self.answers_early => {
                self.returned(key, operation);
                self.calm_writes += u32::from(self.calm);
            }
            Some(ticket) => {
                let life = machine.life();
                self.clients[client] =
                    Doing::Writing { key, operation, life, ticket, since_ms: now_ms };
            }
            None => self.void.entry(key).or_default().push(operation),
        }
    }

    /// Writes many large values at once and does not wait: more than a leader takes, so that it refuses some.
    fn burst(&mut self, place: usize, turn: &mut Turn<'_, KvMachine>) {
        for _ in 0..BURST {
            let key = turn.rng.random_range(0..KEYS);
            let padding = turn.rng.random_range(5_000..20_000);
            self.next_value += 1;
            let value = self.next_value;
            self.call(key, Action::Write(value));
            if let Some(machine) = turn.machine(place) {
                machine.write(key, value, padding);
            }
        }
    }

    fn settle(&mut self, life: u32, outcomes: Vec<(Ticket, Outcome)>) {
        for (ticket, outcome) in outcomes {
            let waiting = self.clients.iter().position(|doing| {
                matches!(doing, Doing::Writing { life: l, ticket: t, .. } if (*l, *t) == (life, ticket))
            });
            let Some(client) = waiting else { continue };
            let Doing::Writing { key, operation, .. } = self.clients[client] else { continue };
            match outcome {
                Outcome::Done => {
                    self.returned(key, operation);
                    self.calm_writes += u32::from(self.calm);
                }
                Outcome::Refused => self.void.entry(key).or_default().push(operation),
                Outcome::Unknown => {}
            }
            self.clients[client] = Doing::Nothing { until_ms: 0 };
        }
    }
}

impl Program for Kv {
    type Machine = KvMachine;

    fn machine(&mut self, host: Host) -> KvMachine {
        KvMachine::new(host, self.watchers.clone(), self.seen.clone())
    }

    fn turn(&mut self, turn: &mut Turn<'_, KvMachine>) {
        for place in turn.up() {
            if let Some(machine) = turn.machine(place) {
                let outcomes = machine.take_outcomes();
                let life = machine.life();
                self.settle(life, outcomes);
            }
        }
        for client in 0..CLIENTS {
            let now_ms = turn.now_ms;
            match self.clients[client] {
                Doing::Nothing { until_ms } if until_ms <= now_ms => {
                    let pause = turn.rng.random_range(0..400);
                    self.clients[client] = Doing::Nothing { until_ms: now_ms + pause };
                    if !(self.calm && self.content()) {
                        self.begin(client, turn);
                    }
                }
                Doing::Writing { since_ms, .. } | Doing::Reading { since_ms, .. }
                    if now_ms - since_ms > PATIENCE_MS =>
                {
                    self.clients[client] = Doing::Nothing { until_ms: now_ms };
                }
                _ => {}
            }
        }
    }

    fn read_done(
        &mut self,
        read: ReadToken,
        outcome: Result<u64, ReadError>,
        machine: &mut KvMachine,
        _now_ms: u64,
    ) {
        let waiting = self
            .clients
            .iter()
            .position(|doing| matches!(doing, Doing::Reading { read: r, .. } if *r == read));
        let Some(client) = waiting else { return };
        let Doing::Reading { key, operation, .. } = self.clients[client] else { return };
        self.clients[client] = Doing::Nothing { until_ms: 0 };
        if outcome.is_ok() {
            let value = machine.get(key);
            if let Some(operation) =
                self.history.get_mut(&key).and_then(|ops| ops.get_mut(operation))
            {
                operation.action = Action::Read(value);
            }
            self.returned(key, operation);
            self.calm_reads += u32::from(self.calm);
        }
    }

    fn gone(&mut self, host: &Host, mut machine: KvMachine) {
        machine.following();
        self.settle(host.life, machine.take_outcomes());
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
        std::mem::take(&mut self.seen.lock())
    }

    fn check(
        &mut self,
        machines: &mut dyn Iterator<Item = &mut KvMachine>,
    ) -> Result<(), Violation> {
        let mut first: Option<BTreeMap<u8, u64>> = None;
        for machine in machines {
            let held: BTreeMap<u8, u64> = (0..KEYS).map(|key| (key, machine.get(key))).collect();
            let expected = first.get_or_insert_with(|| held.clone());
            if *expected != held {
                let detail =
                    format!("replicas hold {expected:?} and {held:?} after the same history");
                return Err(Violation::new("state_machine_safety", detail));
            }
        }
        for (key, operations) in &self.history {
            let void = self.void.get(key).cloned().unwrap_or_default();
            let happened: Vec<_> = operations
                .iter()
                .enumerate()
                .filter(|(n, _)| !void.contains(n))
                .map(|(_, operation)| *operation)
                .collect();
            if linearizability::check(&happened) == Verdict::NotLinearizable {
                let detail = format!("the operations on key {key} have no order: {happened:?}");
                return Err(Violation::new("linearizability", detail));
            }
        }
        Ok(())
    }
}
