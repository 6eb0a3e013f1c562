//! A short random history per seed: members that lag, crash, hand over, join, are removed and cut off, with slow disks
//! and a network that loses, repeats and reorders. At the end everything heals, and all members hold the same.
//!
//! The simulation proper has disks that tear and many more faults; this is the quick one, next to the code.

use std::collections::BTreeSet;

use rand::{Rng, SeedableRng as _, rngs::StdRng};

use crate::{
    Start, StopReason,
    core::Answer,
    testing::{Group, Seen},
};

/// Histories in an ordinary run; `SKEP_CHAOS_SEEDS` asks for more.
const SEEDS: u64 = 40;
const STEPS: usize = 2500;

fn small(config: &mut crate::Config) {
    config.snapshot_entries = 20;
    config.keep_entries = 5;
    config.uncommitted_bytes_max = 70_000;
}

struct History {
    group: Group,
    rng: StdRng,
    proposed: u64,
    /// Texts whose commit was reported to their proposer.
    acknowledged: BTreeSet<String>,
    texts: Vec<(crate::Ticket, String)>,
}

impl History {
    fn alive(&mut self) -> usize {
        loop {
            let place = self.rng.random_range(0..self.group.members.len());
            if self.group.members[place].ended.is_none() {
                return place;
            }
        }
    }

    fn step(&mut self) {
        let place = self.alive();
        match self.rng.random_range(0..1000) {
            0..150 => self.group.members[place].core.tick(),
            150..600 => self.deliver(),
            600..750 => {
                let count = self.rng.random_range(1..4);
                self.group.members[place].finish_writes(count);
            }
            750..900 => {
                self.proposed += 1;
                let text = format!("entry {}", self.proposed);
                let ticket = self.group.propose_only(place, &[&text])[0];
                self.texts.push((ticket, text));
            }
            900..930 => drop(self.group.request(place, |core, request| core.read(request))),
            930..937 => self.group.isolate(place),
            937..960 => self.group.heal(),
            960..970 => self.crash(place),
            970..980 => {
                self.group.request(place, |core, request| core.transfer_to(request, None));
            }
            980..985 => {
                let addr = format!("moved{}:1", self.proposed);
                let node = format!("node{}", self.alive());
                self.group.request(place, |core, request| core.join(request, node, addr));
            }
            985..990 => self.remove(place),
            990..993 => self.group.members[place].core.force_snapshot(),
            _ => {
                let slow = self.rng.random_bool(0.5);
                self.group.members[place].slow_disk = slow;
            }
        }
        self.group.pump(place);
        self.collect();
    }

    fn deliver(&mut self) {
        if self.group.wire.is_empty() {
            return;
        }
        let at = self.rng.random_range(0..self.group.wire.len().min(20));
        let Some((from, envelope)) = self.group.wire.remove(at) else { return };
        match self.rng.random_range(0..100) {
            0..8 => {
                let to = envelope.to.raft_id;
                self.group.members[from].core.report_unreachable(to);
                self.group.members[from].core.report_snapshot(to, false);
            }
            8..12 => {
                self.group.deliver(from, envelope.clone());
                self.group.wire.push_back((from, envelope));
            }
            _ => self.group.deliver(from, envelope),
        }
    }

    /// The power goes. The disk had finished some of the writes, in order.
    fn crash(&mut self, place: usize) {
        self.collect();
        let finished = self.rng.random_range(0..4);
        let member = &mut self.group.members[place];
        for persist in member.writes.drain(..).take(finished) {
            crate::LogStore::append(&mut member.store, &persist.batch).unwrap();
        }
        self.group.restart_quietly(place, Start::Restart);
    }

    /// At most two members leave, so that three of five are always there to go on.
    fn remove(&mut self, place: usize) {
        let left = self.group.members.iter().filter(|member| member.ended.is_some()).count();
        let members = self.group.status(place).members.len();
        if left < 2 && members > 3 {
            let other = self.alive();
            let id = self.group.id(other);
            self.group.request(place, |core, request| core.remove(request, id));
        }
    }

    fn collect(&mut self) {
        for member in &self.group.members {
            for seen in member.recorder.take_seen() {
                if let Seen::Committed(ticket) = seen {
                    let text = self.texts.iter().find(|(it, _)| *it == ticket).unwrap().1.clone();
                    assert!(self.acknowledged.insert(text), "{ticket:?} was acknowledged twice");
                }
            }
        }
    }

    fn finish(mut self) {
        self.group.heal();
        for member in &mut self.group.members {
            member.slow_disk = false;
            member.finish_all_writes();
        }
        self.group.run();
        self.group.tick_until("a leader", |group| group.find_leader().is_some());
        self.group.tick(60);
        let leader = self.group.leader();
        let barrier = self.group.ask(leader, |core, request| core.read(request));
        assert!(matches!(barrier, Answer::Read(Ok(_))), "{barrier:?}");
        self.group.tick(3);
        self.collect();
        let leader = self.group.leader();
        let expected = self.group.members[leader].recorder.entries();
        for text in &self.acknowledged {
            assert!(expected.contains(text), "{text} was acknowledged and is lost");
        }
        let distinct: BTreeSet<_> = expected.iter().collect();
        assert_eq!(distinct.len(), expected.len(), "an entry was applied twice");
        let members = self.group.status(leader).members;
        for place in 0..self.group.members.len() {
            let member = &self.group.members[place];
            if let Some(reason) = &member.ended {
                assert!(matches!(reason, StopReason::Removed), "{reason:?}");
            } else if members.get(self.group.id(place)).is_some() {
                let (here, there) = (self.group.status(place), self.group.status(leader));
                let held = member.recorder.entries();
                assert_eq!(held, expected, "member {place}: {here:#?} leader: {there:#?}");
                assert_eq!(self.group.status(place).members, members);
            }
        }
    }
}

fn run(seed: u64) {
    let group = Group::with(5, small);
    let rng = StdRng::seed_from_u64(seed);
    let (texts, acknowledged) = (Vec::new(), BTreeSet::new());
    let mut history = History { group, rng, proposed: 0, acknowledged, texts };
    for _ in 0..STEPS {
        history.step();
    }
    history.finish();
}

#[test]
fn after_any_short_history_all_members_hold_the_same() {
    let seeds = std::env::var("SKEP_CHAOS_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    let first = std::env::var("SKEP_CHAOS_FIRST").ok().and_then(|seed| seed.parse().ok());
    let first: u64 = first.unwrap_or(0);
    for seed in first..first + seeds.unwrap_or(SEEDS) {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
