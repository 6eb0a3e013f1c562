//! How members come to life and how they end.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use rand::Rng;

use super::event::Happening;
use super::invariants::{AppliedOnce, Violation};
use super::node::{Running, SimLog, State, addr, node_id};
use super::program::{Host, Program};
use super::world::World;
use crate::core::{Core, prepare};
use crate::node::proposals::Proposals;
use crate::storage::sim_disk::{Faults, SimDisk};
use crate::{Joined, Member, RaftId, Refusal, Start, StartError, StateMachine as _};

impl<P: Program> World<P> {
    /// The first member founds the group.
    pub(super) fn found(&mut self) -> Result<(), Violation> {
        self.places[0].incarnation = 1;
        let faults = self.healthy_disk();
        self.places[0].disk.set_faults(faults);
        let start = Start::Bootstrap { node_id: node_id(0, 1), addr: addr(0, 0) };
        self.start(0, start).map_err(|error| Violation::new("storage", error.to_string()))?;
        self.round(0)
    }

    /// A joiner begins with what it was told.
    pub(super) fn start_joiner(&mut self, place: usize, joined: Joined) {
        let own = Member {
            raft_id: joined.raft_id,
            node_id: node_id(place, self.places[place].incarnation),
            addr: addr(place, self.places[place].address),
        };
        let start = Start::Join { own, members: joined.members };
        if let Err(error) = self.start(place, start) {
            // The disk failed at once; the operator asks again and it begins anew.
            self.note(format_args!("place {place} does not start: {error}"));
            self.places[place].disk = SimDisk::new(format!("place{place}"));
            self.places[place].state = State::Joining;
            self.operator.orders.push(super::operator::Order::Admit(place));
        }
    }

    /// For [`Sabotage::ReuseId`](super::Sabotage::ReuseId): a member whose disk is gone comes back as if nothing had happened.
    pub(super) fn come_back_as(&mut self, place: usize, raft_id: RaftId) {
        self.places[place].disk = SimDisk::new(format!("place{place}"));
        let others = self.places.iter().filter_map(|p| p.running());
        let members =
            others.flat_map(|member| member.core.membership().members().cloned()).collect();
        self.start_joiner(place, Joined { raft_id, members });
    }

    /// A member starts with what its disk holds.
    pub(super) fn restart(&mut self, place: usize) -> Result<(), Violation> {
        if !matches!(self.places[place].state, State::Down) {
            return Ok(());
        }
        let faults = self.healthy_disk();
        self.places[place].disk.set_faults(faults);
        self.places[place].disk_fails = false;
        match self.start(place, Start::Restart) {
            Ok(()) => self.round(place),
            Err(StartError::Inconsistent(what)) if what.contains("was removed") => {
                self.note(format_args!("place {place} was removed"));
                self.places[place].raft_id = None;
                self.places[place].state = State::Empty;
                Ok(())
            }
            // A crash never leaves a disk that cannot be started from, nor does an error of the disk that is over.
            Err(error) => {
                let source = std::error::Error::source(&error).map(ToString::to_string);
                let detail = format!("place {place}: {error} {}", source.unwrap_or_default());
                Err(Violation::new("storage", detail))
            }
        }
    }

    fn start(&mut self, place: usize, start: Start) -> Result<(), StartError> {
        self.lives += 1;
        let life = self.lives;
        let proposals = Arc::new(Proposals::new());
        let ledger = self.invariants.ledger.clone();
        let host = Host { place, life, proposals: proposals.clone(), ledger };
        let mut machine = self.program.machine(host.clone());
        let mut log = SimLog::new(&self.places[place].disk, self.sabotage());
        let founded = matches!(start, Start::Bootstrap { .. });
        let config = self.config();
        let restored =
            prepare(&config, start, &mut log, |index, data| machine.restore(index, data));
        let core = restored.and_then(|restored| Core::new(config, restored));
        let core = match core {
            Ok(core) => core,
            Err(error) => {
                self.program.gone(&host, machine);
                return Err(error);
            }
        };
        let raft_id = core.own();
        self.note(format_args!("place {place} starts life {life} as {raft_id}"));
        if founded {
            // The founder writes its own admission before there is anything to watch.
            log.view.write(&founding_batch());
        }
        let mut replica = AppliedOnce::default();
        replica.restore(log.snapshot_index);
        let running = Running {
            life,
            host,
            core,
            machine,
            proposals,
            view: log.view.clone(),
            log,
            queue: VecDeque::new(),
            writing: false,
            replica,
            requests: BTreeMap::new(),
            last_request: 0,
            telling_commits: false,
            leading: false,
            restoring: 0,
            kept: BTreeMap::new(),
            again: Vec::new(),
        };
        self.places[place].raft_id = Some(raft_id);
        self.places[place].state = State::Up(Box::new(running));
        let delay = self.rng.random_range(1..=self.places[place].tick_ms);
        self.queue.after(delay, Happening::Tick { place, life });
        Ok(())
    }

    /// The power goes: what was not synced may be lost.
    pub(super) fn crash(&mut self, place: usize) -> Result<(), Violation> {
        self.write_until_cut(place);
        self.end(place);
        let seed = self.rng.random();
        self.places[place].disk.crash(seed);
        self.note(format_args!("place {place} crashes"));
        Ok(())
    }

    /// The process is killed: what was written stays.
    pub(super) fn kill(&mut self, place: usize) {
        self.end(place);
        self.places[place].disk.kill();
        self.note(format_args!("place {place} is killed"));
    }

    /// A member's life ends without a word.
    pub(super) fn end(&mut self, place: usize) {
        let disk = self.places[place].disk.clone();
        // Nothing is tidied up when a process ends like this; closing the log must not write.
        let power_out_at = Some(disk.changes());
        disk.set_faults(Faults { power_out_at, ..self.healthy_disk() });
        if self.places[place].running().is_none() {
            return;
        }
        let state = std::mem::replace(&mut self.places[place].state, State::Down);
        self.places[place].paused_until_ms = 0;
        if let State::Up(running) = state {
            let Running { host, machine, proposals, log, .. } = *running;
            drop(log);
            proposals.close(Refusal::ShuttingDown);
            self.program.gone(&host, machine);
        }
    }
}

fn founding_batch() -> crate::Batch {
    let entry = crate::Entry {
        index: 1,
        term: 1,
        kind: crate::EntryKind::ConfChange,
        data: bytes::Bytes::new(),
    };
    crate::Batch { entries: vec![entry], ..crate::Batch::default() }
}
