//! How long to leave a peer alone that could not be reached.

use std::time::Duration;

/// The first pause: a manager that restarts is back after about this.
const FIRST: Duration = Duration::from_millis(50);
/// The longest pause; SwarmKit's figure.
pub const BACKOFF_MAX: Duration = Duration::from_secs(8);

/// Doubles from one failure to the next.
#[derive(Debug)]
pub(super) struct Backoff {
    next: Duration,
}

impl Backoff {
    pub fn new() -> Self {
        Self { next: FIRST }
    }

    pub fn reset(&mut self) {
        self.next = FIRST;
    }

    pub fn next(&mut self) -> Duration {
        let pause = self.next;
        self.next = (pause * 2).min(BACKOFF_MAX);
        pause
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_eight_seconds() {
        let mut backoff = Backoff::new();
        let pauses: Vec<_> = (0..10).map(|_| backoff.next().as_millis()).collect();
        assert_eq!(pauses, [50, 100, 200, 400, 800, 1600, 3200, 6400, 8000, 8000]);
        backoff.reset();
        assert_eq!(backoff.next(), FIRST);
    }
}
