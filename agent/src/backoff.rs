//! How long to wait before registering again. Pure: randomness is handed in.

use std::time::Duration;

use rand::Rng;

/// The first step.
const STEP: Duration = Duration::from_millis(100);
/// The longest: half a minute without a manager must not become half a minute of waiting more.
const MAX: Duration = Duration::from_secs(8);

/// Grows with each failure, from nothing; SwarmKit's agents use the same steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    bound: Duration,
}

impl Backoff {
    /// Counts a failure.
    pub fn failed(&mut self) {
        self.bound = (STEP + 2 * self.bound).min(MAX);
    }

    /// Forgets all failures.
    pub fn worked(&mut self) {
        self.bound = Duration::ZERO;
    }

    /// How long to wait now: anything below the bound, so that agents that lost the same manager do not come back at
    /// the same moment.
    pub fn delay(&self, rng: &mut impl Rng) -> Duration {
        if self.bound.is_zero() {
            return Duration::ZERO;
        }
        rng.random_range(Duration::ZERO..self.bound)
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};

    use super::*;

    #[test]
    fn the_bound_doubles_up_to_eight_seconds() {
        let mut backoff = Backoff::default();
        let bounds: Vec<_> = (0..9)
            .map(|_| {
                backoff.failed();
                backoff.bound.as_millis()
            })
            .collect();
        assert_eq!(bounds, [100, 300, 700, 1_500, 3_100, 6_300, 8_000, 8_000, 8_000]);
        let mut rng = StdRng::seed_from_u64(7);
        let delays: Vec<_> = (0..1_000).map(|_| backoff.delay(&mut rng)).collect();
        assert!(delays.iter().all(|d| *d < MAX));
        assert!(delays.iter().any(|d| *d < MAX / 10) && delays.iter().any(|d| *d > MAX * 9 / 10));
        backoff.worked();
        assert_eq!(backoff.delay(&mut rng), Duration::ZERO);
    }
}
