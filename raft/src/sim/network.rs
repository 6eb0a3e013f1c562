//! The network: what becomes of a message between two places.

use std::collections::BTreeSet;

use rand::Rng;
use rand::rngs::StdRng;

use super::scenario::FaultMix;

/// A message's usual way, in milliseconds.
const LATENCY_MS: std::ops::Range<u64> = 1..8;
/// A message's way to or from a slow place.
const SLOW_MS: std::ops::Range<u64> = 50..400;
/// A message that is held up, so that later ones overtake it.
const DELAY_MS: std::ops::Range<u64> = 20..500;

/// Who can reach whom.
#[derive(Debug, Default)]
pub struct Network {
    blocked: BTreeSet<(usize, usize)>,
    blocked_until_ms: u64,
}

impl Network {
    /// Cuts these one-way connections until then, in place of those that were cut before.
    pub fn cut(&mut self, blocked: BTreeSet<(usize, usize)>, until_ms: u64) {
        self.blocked = blocked;
        self.blocked_until_ms = until_ms;
    }

    /// Whether a message would get through.
    pub fn open(&self, from: usize, to: usize, now_ms: u64) -> bool {
        now_ms >= self.blocked_until_ms || !self.blocked.contains(&(from, to))
    }
}

/// When the copies of a message arrive, from now; none when it is lost.
pub fn arrivals(rng: &mut StdRng, faults: Option<&FaultMix>, slow: bool) -> Vec<u64> {
    let mut way = |faults: &FaultMix| {
        let mut way = rng.random_range(LATENCY_MS);
        if slow {
            way += rng.random_range(SLOW_MS);
        }
        if rng.random_range(0..1000) < faults.delay {
            way += rng.random_range(DELAY_MS);
        }
        way
    };
    let Some(faults) = faults else { return vec![way(&FaultMix::default())] };
    let first = way(faults);
    let second = way(faults);
    if rng.random_range(0..1000) < faults.loss {
        Vec::new()
    } else if rng.random_range(0..1000) < faults.duplication {
        vec![first, second]
    } else {
        vec![first]
    }
}
