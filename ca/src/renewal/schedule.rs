//! When to renew: pure functions of the certificate's dates, the time, and a random number.

use std::time::{Duration, SystemTime};

/// Renewals fall between these parts of a certificate's life, at random, so that a cluster's nodes do not all come at
/// once and one that fails has time to try again.
const EARLIEST: f64 = 0.5;
const LATEST: f64 = 0.8;

const BACKOFF_MIN: Duration = Duration::from_secs(5);
const BACKOFF_MAX: Duration = Duration::from_secs(3600);

/// How long from `now` to the next renewal; zero when the point has passed. `random` is uniform in 0..1.
pub fn until_renewal(
    not_before: SystemTime,
    not_after: SystemTime,
    now: SystemTime,
    random: f64,
) -> Duration {
    let life = not_after.duration_since(not_before).unwrap_or_default();
    let at = not_before + life.mul_f64(EARLIEST + (LATEST - EARLIEST) * random.clamp(0.0, 1.0));
    at.duration_since(now).unwrap_or_default()
}

/// Exponential back-off between failed renewals: from 5 s, doubling, to an hour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts a failure.
    pub fn failed(&mut self) {
        self.failures = self.failures.saturating_add(1);
    }

    /// Failures in a row.
    pub fn failures(self) -> u32 {
        self.failures
    }

    /// How long to wait after the failures so far: between half and all of the present step. `random` is uniform in
    /// 0..1.
    pub fn delay(self, random: f64) -> Duration {
        // Ten doublings are past the maximum.
        let step = BACKOFF_MIN * (1 << self.failures.saturating_sub(1).min(10));
        step.min(BACKOFF_MAX).mul_f64(0.5 + random.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(hours: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000 * 3600 + hours * 3600)
    }

    #[test]
    fn renewal_falls_between_half_and_four_fifths_of_a_life() {
        let hours = |h: u64| Duration::from_secs(h * 3600);
        for (now, random, expected) in [
            (0, 0.0, hours(50)),
            (0, 1.0, hours(80)),
            (0, 0.5, hours(65)),
            (40, 0.0, hours(10)),
            (60, 0.0, hours(0)),
            (60, 1.0, hours(20)),
            (100, 1.0, hours(0)),
            (500, 0.5, hours(0)),
        ] {
            let wait = until_renewal(at(0), at(100), at(now), random);
            assert!(wait.abs_diff(expected) < Duration::from_secs(1), "{now} {random}: {wait:?}");
        }
        assert_eq!(until_renewal(at(2), at(1), at(3), 0.5), Duration::ZERO);
    }

    #[test]
    fn failures_back_off_from_five_seconds_to_an_hour() {
        let mut backoff = Backoff::default();
        let mut seconds = Vec::new();
        for _ in 0..12 {
            backoff.failed();
            assert_eq!(backoff.delay(0.0) * 2, backoff.delay(1.0));
            seconds.push(backoff.delay(1.0).as_secs());
        }
        assert_eq!(seconds, [5, 10, 20, 40, 80, 160, 320, 640, 1280, 2560, 3600, 3600]);
    }
}
