//! The chain and its submitters as a program of the simulation.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use skep_orderer::core::consenters::{Change, Configuration, Consenter};
use skep_orderer::core::limits::Limits;
use skep_orderer::ledger::Reader;
use skep_raft::sim::{Host, Program, ReadToken, Turn, Violation};
use skep_raft::{Member, Membership, RaftId, ReadError};

use crate::bugs::Bug;
use crate::disk::Disk;
use crate::invariants::Seen;
use crate::replica::{Ledgers, Replica, Token, open};
use crate::submitters::Submitter;

/// So small that histories meet them all.
pub const LIMITS: Limits = Limits {
    messages_max: 4,
    preferred_bytes: 300,
    absolute_bytes: 600,
    timeout: Duration::from_millis(60),
    in_flight_max: 3,
    // More blocks than a submitter can miss in its patience.
    window_blocks: 300,
};

const SUBMITTERS: usize = 5;
const PLACES: usize = 8;
/// Envelopes that are acknowledged after the faults have ended.
const CALM_ENVELOPES: usize = 10;

/// What every chain begins with.
pub fn configuration() -> Configuration {
    Configuration { chain_id: "chain".to_owned(), limits: LIMITS, consenters: BTreeMap::new() }
}

/// The chain.
pub struct Chain {
    rng: StdRng,
    disks: Vec<Disk>,
    ledgers: Ledgers,
    submitters: Vec<Submitter>,
    bug: Option<Bug>,
    tokens: Token,
    seen: Seen,
    /// Up to where each life's ledger was looked at.
    looked: BTreeMap<u32, u64>,
    violation: Option<Violation>,
    calm_from: Option<usize>,
}

impl Chain {
    pub fn new(seed: u64, bug: Option<Bug>) -> Chain {
        Chain {
            rng: StdRng::seed_from_u64(seed ^ 0x0c4a),
            disks: (0..PLACES).map(|_| Disk::default()).collect(),
            ledgers: Ledgers::default(),
            submitters: (0..SUBMITTERS).map(|number| Submitter::new(number, bug)).collect(),
            bug,
            tokens: 0,
            seen: Seen::default(),
            looked: BTreeMap::new(),
            violation: None,
            calm_from: None,
        }
    }

    fn acknowledged(&self) -> usize {
        self.submitters.iter().map(|submitter| submitter.acknowledged.len()).sum()
    }

    fn listen(&mut self, machine: &Replica) {
        for (token, outcome) in machine.take_answers() {
            for submitter in &mut self.submitters {
                submitter.told(token, &outcome);
            }
        }
    }

    fn look(&mut self, place: usize, machine: &Replica) {
        let from = self.looked.entry(machine.life).or_default();
        let looked = self.seen.ledger(place, &machine.reader, *from);
        *from = machine.reader.height();
        if let Err(violation) = looked {
            self.violation.get_or_insert(violation);
        }
    }

    /// Raft's members are what the chain says, some time later. The simulation's own operator changes the real ones.
    fn follow(machine: &Replica) {
        let members = machine.look(|orderer| {
            let consenters = orderer.state().configuration().map(|c| c.consenters.clone());
            consenters.unwrap_or_default()
        });
        let members = members.into_values().zip(1..).map(|(consenter, raft_id)| Member {
            raft_id: RaftId(raft_id),
            node_id: format!("{}#1", consenter.id),
            addr: consenter.addr,
        });
        let members = Membership::new(members, []);
        machine.act(|orderer| orderer.members(members));
    }

    /// Adds one orderer to the chain's configuration, or takes it out again.
    fn reconfigure(&mut self, machine: &Replica) {
        let id = "extra".to_owned();
        let there = machine.look(|orderer| {
            let configuration = orderer.state().configuration();
            configuration.is_some_and(|c| c.consenters.contains_key(&id))
        });
        let add = Change::Add(Consenter { id: id.clone(), addr: "extra:1".to_owned() });
        let keep = Change::Add(Consenter { id: "keep".to_owned(), addr: "keep:1".to_owned() });
        self.tokens += 1;
        let token = self.tokens;
        let change = match self.rng.random_range(0..3) {
            0 => keep,
            _ if there => Change::Remove(id),
            _ => add,
        };
        // Whether it may be made now, or this one leads, is not the point.
        let _ = machine.act(|orderer| orderer.change(&change, token));
    }
}

impl Program for Chain {
    type Machine = Replica;

    fn machine(&mut self, host: Host) -> Replica {
        let disk = &self.disks[host.place];
        // A ledger may be lost, unless it is the only one that holds the end of the chain.
        let ledgers = self.ledgers.lock().clone();
        let own = ledgers.get(&host.place).map_or(0, Reader::height);
        let held = ledgers.values().filter(|ledger| ledger.height() >= own).count();
        if held > 1 && self.rng.random_bool(0.1) {
            disk.wipe();
        }
        Replica::new(host, disk, self.ledgers.clone(), self.bug)
    }

    fn turn(&mut self, turn: &mut Turn<'_, Replica>) {
        let now = Duration::from_millis(turn.now_ms);
        for place in turn.up() {
            let (work, members, change) = (
                turn.rng.random_bool(0.5),
                turn.rng.random_bool(0.3),
                turn.rng.random_range(0..1_500) == 0,
            );
            let Some(machine) = turn.machine(place) else { continue };
            machine.act(|orderer| orderer.tick(now));
            if work {
                machine.keep(now);
            }
            if members {
                Self::follow(machine);
            }
            if change {
                self.reconfigure(machine);
            }
            self.listen(machine);
            self.look(place, machine);
        }
        if self.calm_from.is_some() && self.content() {
            return;
        }
        let mut tokens = self.tokens;
        for submitter in &mut self.submitters {
            submitter.turn(turn, &mut tokens);
        }
        self.tokens = tokens;
    }

    fn read_done(&mut self, _: ReadToken, _: Result<u64, ReadError>, _: &mut Replica, _: u64) {}

    fn gone(&mut self, host: &Host, machine: Replica) {
        self.listen(&machine);
        self.look(host.place, &machine);
        let disk = &self.disks[host.place];
        if self.rng.random_bool(0.6) {
            // In the midst of a write.
            disk.power_out();
            machine.keep(Duration::ZERO);
        }
        drop(machine);
        // Killed or without power: of what was not synced nothing can be relied on either way.
        disk.crash(&mut self.rng);
        self.ledgers.lock().insert(host.place, open(disk).reader());
    }

    fn calm(&mut self) {
        self.calm_from = Some(self.acknowledged());
    }

    fn content(&self) -> bool {
        self.calm_from.is_none_or(|from| self.acknowledged() >= from + CALM_ENVELOPES)
    }

    fn check(&mut self, machines: &mut dyn Iterator<Item = &mut Replica>) -> Result<(), Violation> {
        let machines: Vec<_> = machines.collect();
        for (place, machine) in machines.iter().enumerate() {
            // An hour passes: whatever the ledgers lack comes.
            while machine.keep(Duration::from_secs(3_600)) {}
            self.listen(machine);
            self.look(place, machine);
        }
        if let Some(violation) = self.violation.take() {
            return Err(violation);
        }
        let heights: Vec<_> = machines.iter().map(|machine| machine.reader.height()).collect();
        let complete = machines.iter().all(|machine| machine.look(|o| o.is_complete()));
        if !complete || heights.iter().any(|height| *height != self.seen.height()) {
            let detail = format!("ledgers hold {heights:?} of {} blocks", self.seen.height());
            return Err(Violation::new("same_chain", detail));
        }
        self.submitters.iter().try_for_each(|submitter| self.seen.told(submitter))
    }
}
