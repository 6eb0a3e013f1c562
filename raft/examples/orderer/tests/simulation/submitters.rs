//! Submitters. Each has a few envelopes under way at one orderer, in order; when one is not ordered or nobody says what became of it,
//! the submitter waits for word of all the others, and submits again, in order, what it was not told is in the chain.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use rand::Rng as _;
use skep_orderer::core::envelope::Submission;
use skep_orderer::core::leader::{Outcome, Refused};
use skep_orderer::wire::Envelope;
use skep_raft::Epoch;
use skep_raft::sim::Turn;

use crate::bugs::Bug;
use crate::program::LIMITS;
use crate::replica::{Replica, Token};

/// Envelopes of one submitter under way at most.
const UNDER_WAY_MAX: usize = 3;
/// Who has heard nothing for so long takes it that nobody knows.
const PATIENCE_MS: u64 = 3_000;

/// One submitter.
#[derive(Default)]
pub struct Submitter {
    name: String,
    bug: Option<Bug>,
    /// The first envelope that is not known to be in the chain.
    next: u64,
    /// Those under way, by number.
    under_way: BTreeMap<u64, Token>,
    /// It stops until nothing is under way.
    stumbled: bool,
    /// For [`Bug::BeginWithSecond`].
    skips: bool,
    since_ms: u64,
    life: u32,
    /// The epoch of those that are under way.
    epoch: Option<Epoch>,
    place: usize,
    until_ms: u64,
    /// What it was told: in which block each envelope is.
    pub acknowledged: BTreeMap<u64, u64>,
}

impl Submitter {
    pub fn new(number: usize, bug: Option<Bug>) -> Submitter {
        Submitter { name: format!("submitter{number}"), bug, ..Submitter::default() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// What an orderer says.
    pub fn told(&mut self, token: Token, outcome: &Outcome) {
        let Some((number, _)) = self.under_way.iter().find(|(_, t)| **t == token) else { return };
        let number = *number;
        self.under_way.remove(&number);
        match outcome {
            Outcome::Ordered { block, .. } => drop(self.acknowledged.insert(number, *block)),
            Outcome::Unknown if self.bug == Some(Bug::BelieveUnknown) => {
                self.acknowledged.insert(number, 1);
            }
            Outcome::NotOrdered | Outcome::Unknown => {
                self.stumbled = true;
                self.skips = self.bug == Some(Bug::BeginWithSecond);
            }
        }
    }

    pub fn turn(&mut self, turn: &mut Turn<'_, Replica>, tokens: &mut Token) {
        while self.acknowledged.contains_key(&self.next) {
            self.next += 1;
        }
        let now_ms = turn.now_ms;
        if !self.under_way.is_empty() && now_ms - self.since_ms > PATIENCE_MS {
            self.under_way.clear();
        }
        if self.under_way.is_empty() {
            self.stumbled = false;
            self.epoch = None;
            let up = turn.up();
            if up.is_empty() {
                return;
            }
            self.place = up[turn.rng.random_range(0..up.len())];
            self.life = turn.machine(self.place).map_or(0, |machine| machine.life);
        }
        if self.stumbled || now_ms < self.until_ms || self.under_way.len() >= UNDER_WAY_MAX {
            return;
        }
        self.until_ms = now_ms + turn.rng.random_range(0..150);
        let last = self.under_way.keys().next_back();
        let skipped = u64::from(std::mem::take(&mut self.skips));
        let number = last.map_or(self.next + skipped, |last| last + 1);
        if self.acknowledged.contains_key(&number) {
            return;
        }
        // The same envelope every time it is submitted.
        let payload_bytes = match number % 19 {
            7 => LIMITS.preferred_bytes + 10,
            _ => number as usize * 37 % 90,
        };
        let payload = Bytes::from(vec![number as u8; payload_bytes]);
        let envelope = Envelope { submitter: self.name.clone(), id: number.to_string(), payload };
        let submission = Submission::new(&envelope).expect("it has proper names");
        let Some(machine) = turn.machine(self.place).filter(|machine| machine.life == self.life)
        else {
            self.stumbled = true;
            return;
        };
        *tokens += 1;
        let token = *tokens;
        let now = Duration::from_millis(now_ms);
        match machine.act(|orderer| orderer.submit(now, self.epoch, submission, token)) {
            Ok(epoch) => {
                self.epoch = Some(epoch);
                self.since_ms = now_ms;
                self.under_way.insert(number, token);
            }
            Err((_, _, Refused::NotLeading)) => self.stumbled = true,
            Err((_, _, Refused::Wait)) => {}
            Err((_, _, why)) => panic!("an envelope that is in order was refused: {why}"),
        }
    }
}
