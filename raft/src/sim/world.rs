//! The loop: takes the next event, lets it happen, and checks what must hold.

use std::collections::BTreeMap;
use std::fmt;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::event::{Happening, Queue};
use super::invariants::{Invariants, Violation};
use super::network::Network;
use super::node::{Place, Running, State};
use super::operator::{Operator, Order};
use super::program::{Program, Turn};
use super::scenario::{self, FaultMix, Scenario};
use super::trace::{Trace, hash_bytes};
use super::{Sabotage, network};
use crate::{Config, Role, SnapshotContents, StateMachine as _, Timing};

/// Clients act so often.
const TURN_MS: u64 = 10;

/// Events of one history at most: a loop that does not end is a failure too.
const EVENTS_MAX: u64 = 3_000_000;

/// What a seed came to.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// The history's fingerprint: the same for the same seed, or something is not deterministic.
    pub trace: u64,
    /// Events that happened.
    pub events: u64,
    /// Virtual time that passed, in milliseconds.
    pub virtual_ms: u64,
    /// Entries that committed.
    pub committed: usize,
    /// Writes that were acknowledged.
    pub acknowledged: u64,
    /// Members' lives.
    pub lives: u32,
    /// What did not hold.
    pub violation: Option<Violation>,
}

/// Runs one history.
pub fn run<P: Program>(seed: u64, scenario: Scenario, program: P) -> Report {
    let mut world = World::new(seed, scenario, program);
    let violation = world.live().err();
    Report {
        seed,
        trace: world.trace.hash(),
        events: world.trace.events(),
        virtual_ms: world.queue.now_ms,
        committed: world.invariants.history.len(),
        acknowledged: world.invariants.durability.count(),
        lives: world.lives,
        violation,
    }
}

/// Everything there is.
pub struct World<P: Program> {
    pub(super) scenario: Scenario,
    pub(super) program: P,
    pub(super) rng: StdRng,
    /// The clients' own, so that a change of what they do does not change the weather.
    client_rng: StdRng,
    pub(super) mix: FaultMix,
    pub(super) timing: Timing,
    pub(super) settings: Settings,
    pub(super) queue: Queue,
    pub(super) places: Vec<Place<P::Machine>>,
    pub(super) network: Network,
    pub(super) operator: Operator,
    pub(super) invariants: Invariants,
    pub(super) chaos: bool,
    pub(super) lives: u32,
    trace: Trace,
    next_read: u64,
}

/// What all members of one history are configured with.
pub struct Settings {
    pub snapshot_entries: u64,
    pub keep_entries: u64,
    pub uncommitted_bytes_max: u64,
}

impl<P: Program> World<P> {
    fn new(seed: u64, scenario: Scenario, program: P) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let mix = FaultMix::draw(&mut rng);
        let timing = scenario::timing(&mut rng, &mix);
        let settings = Settings {
            snapshot_entries: [15, 40, 10_000][rng.random_range(0..3)],
            keep_entries: rng.random_range(0..15),
            uncommitted_bytes_max: [66_000, 200_000, 1 << 20][rng.random_range(0..3)],
        };
        let tick_ms = timing.tick.as_millis() as u64;
        let places = (0..scenario.places).map(|number| Place::new(number, tick_ms)).collect();
        Self {
            program,
            client_rng: StdRng::seed_from_u64(rng.random()),
            mix,
            timing,
            settings,
            queue: Queue::default(),
            places,
            network: Network::default(),
            operator: Operator::default(),
            invariants: Invariants::default(),
            chaos: false,
            lives: 0,
            trace: Trace::new(scenario.print),
            next_read: 0,
            rng,
            scenario,
        }
    }

    pub(super) fn sabotage(&self) -> Option<Sabotage> {
        self.scenario.sabotage
    }

    pub(super) fn note(&mut self, line: fmt::Arguments<'_>) {
        self.trace.note(self.queue.now_ms, line);
    }

    /// A history: the group forms, things go wrong, it heals, everybody loses power, and it heals again.
    fn live(&mut self) -> Result<(), Violation> {
        let more = if self.mix.is_storms() { 0 } else { self.rng.random_range(0..3) };
        let nodes = self.scenario.nodes_min + more;
        self.found()?;
        for place in 1..nodes.min(self.places.len()) {
            self.admit_at_start(place);
        }
        self.queue.after(10, Happening::Operator);
        self.queue.after(5, Happening::Turn);
        self.until_healed("form")?;

        self.chaos = true;
        let end_ms = self.queue.now_ms + self.scenario.chaos_ms;
        self.queue.after(50, Happening::Fault);
        while self.queue.now_ms < end_ms {
            self.step()?;
        }
        self.calm();
        self.until_healed("heal after the faults")?;

        for place in self.up() {
            self.crash(place)?;
        }
        for place in 0..self.places.len() {
            if matches!(self.places[place].state, State::Down) {
                self.queue.after(100, Happening::Start { place });
            }
        }
        self.program.calm();
        self.until_healed("come back after everybody lost power")?;
        self.last_checks()
    }

    /// Nothing goes wrong from now on.
    fn calm(&mut self) {
        self.note(format_args!("calm"));
        self.chaos = false;
        self.network.cut(Default::default(), 0);
        let healthy = self.healthy_disk();
        let tick_ms = self.timing.tick.as_millis() as u64;
        for number in 0..self.places.len() {
            let place = &mut self.places[number];
            place.tick_ms = tick_ms;
            place.paused_until_ms = 0;
            place.stalled_until_ms = 0;
            place.slow_until_ms = 0;
            place.disk.set_faults(healthy.clone());
            if matches!(place.state, State::Down) {
                self.queue.after(10, Happening::Start { place: number });
            }
        }
        self.calm_operator();
        self.program.calm();
    }

    fn until_healed(&mut self, what: &str) -> Result<(), Violation> {
        let end_ms = self.queue.now_ms + self.scenario.heal_ms_max;
        let mut why = String::new();
        while self.queue.now_ms < end_ms {
            // Looking is not free; nothing heals within a few milliseconds.
            let look_ms = self.queue.now_ms + 50;
            while self.queue.now_ms < look_ms {
                self.step()?;
            }
            match self.healed() {
                Ok(()) => return Ok(()),
                Err(reason) => why = reason,
            }
        }
        let limit = self.scenario.heal_ms_max;
        let detail = format!("the group did not {what} within {limit} ms: {why}");
        Err(Violation::new("healing", detail))
    }

    /// Whether the group is whole: one leader that may act, everybody in it running and as far as it is, nobody else running,
    /// and clients served.
    fn healed(&self) -> Result<(), String> {
        if let Some(order) = self.operator.orders.first() {
            return Err(format!("the operator is at {order:?}"));
        }
        let running: BTreeMap<usize, &Running<P::Machine>> = self
            .places
            .iter()
            .enumerate()
            .filter_map(|(number, place)| Some((number, place.running()?)))
            .collect();
        let leader = running.values().find(|member| member.core.epoch().is_some());
        let Some(leader) = leader else { return Err("nobody leads".to_owned()) };
        let status = leader.core.status();
        if status.role != Role::Leader {
            return Err("nobody leads".to_owned());
        }
        if leader.core.membership().len() != running.len() {
            let members = leader.core.membership().len();
            return Err(format!("{members} members, {} running", running.len()));
        }
        for (number, member) in &running {
            let here = member.core.status();
            if leader.core.membership().get(here.own).is_none() {
                return Err(format!("place {number} runs a member that is none"));
            }
            if here.applied_index != status.applied_index
                || here.applied_index < self.invariants.history.last()
                || here.commit_index != here.applied_index
            {
                return Err(format!(
                    "place {number}, {:?} in term {} ({} writes waiting), has applied {} of {}, the leader {} in term {}",
                    here.role,
                    here.term,
                    member.queue.len() + usize::from(member.writing),
                    here.applied_index,
                    here.commit_index,
                    status.applied_index,
                    status.term
                ));
            }
        }
        if self.program.content() { Ok(()) } else { Err("clients are not served".to_owned()) }
    }

    fn last_checks(&mut self) -> Result<(), Violation> {
        let mut first: Option<(usize, u64)> = None;
        for (number, place) in self.places.iter().enumerate() {
            let Some(member) = place.running() else { continue };
            self.invariants.durability.check(number, member.core.status().applied_index)?;
            let contents = member.machine.snapshot()(member.core.membership());
            let bytes = contents.and_then(SnapshotContents::into_bytes).map_err(|error| {
                Violation::new("state_machine_safety", format!("no snapshot: {error}"))
            })?;
            let digest = hash_bytes(&bytes);
            let (other, expected) = *first.get_or_insert((number, digest));
            if digest != expected {
                return Err(Violation::new(
                    "state_machine_safety",
                    format!("places {other} and {number} hold different states after one history"),
                ));
            }
        }
        let places = self.places.iter_mut();
        let mut machines = places.filter_map(|p| p.running_mut()).map(|member| &mut member.machine);
        self.program.check(&mut machines)
    }

    /// The places where a member runs.
    pub(super) fn up(&self) -> Vec<usize> {
        let places = self.places.iter().enumerate();
        places.filter(|(_, place)| place.running().is_some()).map(|(number, _)| number).collect()
    }

    fn step(&mut self) -> Result<(), Violation> {
        if self.trace.events() > EVENTS_MAX {
            return Err(Violation::new("healing", "the history does not come to an end"));
        }
        let happening = self.queue.next().expect("clients and the operator always come again");
        if let Some(place) = self.place_of(&happening) {
            let paused_until_ms = self.places[place].paused_until_ms;
            if paused_until_ms > self.queue.now_ms {
                self.queue.after(paused_until_ms - self.queue.now_ms, happening);
                return Ok(());
            }
        }
        self.happen(happening)?;
        for watched in self.program.watched() {
            self.invariants.watched(watched)?;
        }
        Ok(())
    }

    /// The place whose process an event concerns: a process that is stopped gets it later.
    fn place_of(&self, happening: &Happening) -> Option<usize> {
        match happening {
            Happening::Tick { place, .. }
            | Happening::Report { place, .. }
            | Happening::Written { place, .. }
            | Happening::Encoded { place, .. }
            | Happening::TellCommits { place, .. }
            | Happening::Probed { place, .. } => Some(*place),
            Happening::Arrive { addr, .. } => self.place_at(addr),
            _ => None,
        }
    }

    fn happen(&mut self, happening: Happening) -> Result<(), Violation> {
        match happening {
            Happening::Tick { place, life } => self.tick(place, life),
            Happening::Arrive { from, from_life, addr, message } => {
                self.arrive(from, from_life, &addr, *message)
            }
            Happening::Report { place, life, word } => self.report(place, life, word),
            Happening::Written { place, life } => self.written(place, life),
            Happening::Encoded { place, life, meta, contents } => {
                self.encoded(place, life, meta, contents)
            }
            Happening::TellCommits { place, life } => self.tell_commits(place, life),
            Happening::Probed { place, life, request, addr } => {
                self.probed(place, life, request, &addr)
            }
            Happening::Admitted { place, joined, incarnation } => {
                self.admitted(place, joined, incarnation);
                self.round(place)
            }
            Happening::Start { place } => self.restart(place),
            Happening::Operator => {
                self.operate();
                self.rounds()
            }
            Happening::Turn => {
                self.turn();
                self.rounds()
            }
            Happening::Fault if self.chaos => self.fault(),
            Happening::Fault => Ok(()),
            Happening::Sequel(sequel) => self.sequel(sequel),
        }
    }

    fn turn(&mut self) {
        self.queue.after(TURN_MS, Happening::Turn);
        let mut reads = Vec::new();
        self.program.turn(&mut Turn {
            now_ms: self.queue.now_ms,
            rng: &mut self.client_rng,
            places: &mut self.places,
            reads: &mut reads,
            next_read: &mut self.next_read,
        });
        for (place, token) in reads {
            self.read(place, token);
        }
    }

    /// Every member looks at what came in.
    fn rounds(&mut self) -> Result<(), Violation> {
        for place in 0..self.places.len() {
            self.round(place)?;
        }
        Ok(())
    }

    /// When a message from one place reaches another, if it does.
    pub(super) fn arrivals(&mut self, from: usize, to: usize) -> Vec<u64> {
        let now_ms = self.queue.now_ms;
        if !self.network.open(from, to, now_ms) {
            return Vec::new();
        }
        let slow = [from, to].iter().any(|place| self.places[*place].slow_until_ms > now_ms);
        network::arrivals(&mut self.rng, self.chaos.then_some(&self.mix), slow)
    }

    /// A member's configuration in a new life.
    pub(super) fn config(&mut self) -> Config {
        Config {
            snapshot_entries: self.settings.snapshot_entries,
            keep_entries: self.settings.keep_entries,
            uncommitted_bytes_max: self.settings.uncommitted_bytes_max,
            ..Config::new(self.timing, self.rng.random())
        }
    }

    fn admit_at_start(&mut self, place: usize) {
        self.prepare_joiner(place);
        self.operator.orders.push(Order::Admit(place));
    }
}
