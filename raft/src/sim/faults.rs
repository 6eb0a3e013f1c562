//! What goes wrong, and when.

use std::collections::BTreeSet;

use rand::Rng;

use super::event::Happening;
use super::invariants::Violation;
use super::node::State;
use super::operator::Order;
use super::program::Program;
use super::world::World;
use crate::storage::sim_disk::Faults;

/// How a fault goes on.
#[derive(Clone, Copy, Debug)]
pub enum Sequel {
    /// There is room on the disk again.
    Room(usize),
    /// Members campaign against one another for the vote of this one.
    Contest {
        /// It.
        voter: usize,
    },
    /// A voter loses power in the midst of an election and has it again at once.
    Crash {
        /// It.
        voter: usize,
        /// The candidate that reached it first.
        first: usize,
    },
}

/// One kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Partition,
    OneWay,
    Crash,
    Kill,
    RestartAll,
    StalledSyncs,
    FailedSync,
    FullDisk,
    LostDisk,
    Skew,
    Jump,
    Storm,
    Pause,
    Slow,
    Join,
    Leave,
    Address,
    Transfer,
}

impl<P: Program> World<P> {
    /// Something goes wrong, of what this history may suffer.
    pub(super) fn fault(&mut self) -> Result<(), Violation> {
        let mix = &self.mix;
        let all = [
            (mix.partitions, Kind::Partition),
            (mix.one_way, Kind::OneWay),
            (mix.crashes, Kind::Crash),
            (mix.crashes, Kind::Crash),
            (mix.kills, Kind::Kill),
            (mix.restart_all, Kind::RestartAll),
            (mix.stalled_syncs, Kind::StalledSyncs),
            (mix.failed_syncs, Kind::FailedSync),
            (mix.full_disks, Kind::FullDisk),
            (mix.lost_disks, Kind::LostDisk),
            (mix.skewed_clocks, Kind::Skew),
            (mix.jumping_clocks, Kind::Jump),
            (mix.storms, Kind::Storm),
            (mix.pauses, Kind::Pause),
            (mix.slow_followers, Kind::Slow),
            (mix.joins, Kind::Join),
            (mix.leaves, Kind::Leave),
            (mix.address_changes, Kind::Address),
            (mix.transfers, Kind::Transfer),
        ];
        let kinds: Vec<_> = all.iter().filter(|(on, _)| *on).map(|(_, kind)| *kind).collect();
        let interval = self.mix.interval_ms;
        let next = self.rng.random_range(interval / 4..interval * 2);
        self.queue.after(next, Happening::Fault);
        let up = self.up();
        if kinds.is_empty() || up.is_empty() {
            return Ok(());
        }
        let kind = kinds[self.rng.random_range(0..kinds.len())];
        let victim = up[self.rng.random_range(0..up.len())];
        let long = self.rng.random_range(200..3_000);
        let until_ms = self.queue.now_ms + long;
        self.note(format_args!("fault {kind:?} place {victim} for {long}"));
        match kind {
            Kind::Partition => self.partition(until_ms),
            Kind::OneWay => self.cut_one_way(until_ms),
            Kind::Crash => {
                self.crash(victim)?;
                // Some come back while the messages of before are still under way.
                let pause = if self.rng.random_bool(0.3) { 5 } else { long };
                self.queue.after(pause, Happening::Start { place: victim });
            }
            Kind::Kill => {
                self.kill(victim);
                self.queue.after(long / 2, Happening::Start { place: victim });
            }
            Kind::RestartAll => {
                for place in up {
                    self.crash(place)?;
                    let pause = self.rng.random_range(10..1_500);
                    self.queue.after(pause, Happening::Start { place });
                }
            }
            Kind::StalledSyncs => self.places[victim].stalled_until_ms = until_ms,
            Kind::FailedSync => {
                let sync_fails_after = Some(self.rng.random_range(0..5));
                self.break_disk(victim, Faults { sync_fails_after, ..Faults::default() });
            }
            Kind::FullDisk => {
                let room = self.rng.random_range(0..40_000);
                let capacity_bytes = Some(self.places[victim].disk.used_bytes() + room);
                self.break_disk(victim, Faults { capacity_bytes, ..Faults::default() });
                self.queue.after(long, Happening::Sequel(Sequel::Room(victim)));
            }
            Kind::LostDisk => self.lose_disk(victim),
            Kind::Skew => self.places[victim].tick_ms = self.rng.random_range(55..180),
            Kind::Jump => self.jump(victim, 40)?,
            Kind::Storm => self.storm(victim),
            Kind::Pause => self.places[victim].paused_until_ms = until_ms,
            Kind::Slow => self.places[victim].slow_until_ms = until_ms,
            Kind::Join => self.order(Order::Grow),
            Kind::Leave => self.order(Order::Shrink),
            Kind::Address => self.order(Order::Move(victim)),
            Kind::Transfer => self.order(Order::Transfer),
        }
        Ok(())
    }

    /// A clock jumps ahead by so many ticks at most.
    fn jump(&mut self, place: usize, ticks_max: u32) -> Result<(), Violation> {
        for _ in 0..self.rng.random_range(1..ticks_max) {
            if let Some(running) = self.places[place].running_mut() {
                running.core.tick();
            }
            self.round(place)?;
        }
        Ok(())
    }

    /// Everybody starts anew and knows of no leader, and then several campaign: see [`Sequel::Contest`].
    fn storm(&mut self, voter: usize) {
        for place in self.up() {
            self.kill(place);
            self.queue.after(1, Happening::Start { place });
        }
        self.queue.after(5, Happening::Sequel(Sequel::Contest { voter }));
    }

    /// Clocks jump, so that members campaign at once, all but the first over slow connections; a voter loses power in the midst of it,
    /// and perhaps nobody hears any more from the first.
    fn contest(&mut self, voter: usize) -> Result<(), Violation> {
        let mut candidates: Vec<_> = self.up().into_iter().filter(|p| *p != voter).collect();
        if candidates.is_empty() {
            return Ok(());
        }
        let first = candidates.swap_remove(self.rng.random_range(0..candidates.len()));
        self.jump(first, 40)?;
        for place in candidates {
            if self.rng.random_bool(0.8) {
                self.jump(place, 40)?;
                self.places[place].slow_until_ms = self.queue.now_ms + 500;
            }
        }
        let after = self.rng.random_range(4..60);
        self.queue.after(after, Happening::Sequel(Sequel::Crash { voter, first }));
        Ok(())
    }

    pub(super) fn sequel(&mut self, sequel: Sequel) -> Result<(), Violation> {
        match sequel {
            Sequel::Room(place) => {
                self.places[place].disk.set_faults(self.healthy_disk());
                Ok(())
            }
            Sequel::Contest { voter } if self.chaos => self.contest(voter),
            Sequel::Crash { voter, first }
                if self.chaos && self.places[voter].running().is_some() =>
            {
                self.crash(voter)?;
                if self.rng.random_bool(0.5) {
                    let others = (0..self.places.len()).filter(|place| *place != first);
                    self.network
                        .cut(others.map(|to| (first, to)).collect(), self.queue.now_ms + 1_500);
                }
                self.queue.after(2, Happening::Start { place: voter });
                Ok(())
            }
            Sequel::Contest { .. } | Sequel::Crash { .. } => Ok(()),
        }
    }

    /// What a disk does when nothing was asked of it.
    pub(super) fn healthy_disk(&self) -> Faults {
        let syncs_lie = self.sabotage() == Some(super::Sabotage::SkipFsync);
        Faults { syncs_lie, ..Faults::default() }
    }

    fn break_disk(&mut self, place: usize, faults: Faults) {
        let syncs_lie = self.healthy_disk().syncs_lie;
        self.places[place].disk_fails = true;
        self.places[place].disk.set_faults(Faults { syncs_lie, ..faults });
    }

    fn partition(&mut self, until_ms: u64) {
        let side: Vec<bool> = self.places.iter().map(|_| self.rng.random_bool(0.5)).collect();
        let mut cut = BTreeSet::new();
        for from in 0..side.len() {
            for to in 0..side.len() {
                if side[from] != side[to] {
                    cut.insert((from, to));
                }
            }
        }
        self.network.cut(cut, until_ms);
    }

    fn cut_one_way(&mut self, until_ms: u64) {
        let mut cut = BTreeSet::new();
        for from in 0..self.places.len() {
            for to in 0..self.places.len() {
                if from != to && self.rng.random_bool(0.3) {
                    cut.insert((from, to));
                }
            }
        }
        self.network.cut(cut, until_ms);
    }

    /// A disk burns. One at a time: a group of three does not survive two.
    fn lose_disk(&mut self, victim: usize) {
        let Some(raft_id) = self.places[victim].raft_id else { return };
        if !self.may_lose_a_disk() {
            return;
        }
        self.end(victim);
        self.note(format_args!("the disk of place {victim} is gone"));
        if self.sabotage() == Some(super::Sabotage::ReuseId) {
            self.come_back_as(victim, raft_id);
            return;
        }
        self.places[victim].raft_id = None;
        self.places[victim].state = State::Empty;
        self.order(Order::Remove(raft_id));
    }
}
