//! The wall clock, as a value that is passed in: certificates live and die by it, so a test must be able to own it.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustls::time_provider::TimeProvider;
use rustls_pki_types::UnixTime;
use tokio::sync::watch;

/// The longest that [`Clock::sleep_until`] goes without looking again: a wall clock that was set forward is noticed
/// within this time.
const RECHECK_INTERVAL: Duration = Duration::from_secs(60);

/// A wall clock. Clones show the same time.
#[derive(Clone)]
pub struct Clock(Source);

#[derive(Clone)]
enum Source {
    System,
    /// System time and an offset that may be changed.
    Shifted(Arc<watch::Sender<Duration>>),
    /// Stands still until it is moved.
    Still(Arc<watch::Sender<SystemTime>>),
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Clock {
        Clock(Source::System)
    }

    /// A clock that stands at `start` until [`Clock::advance`] moves it.
    pub fn still(start: SystemTime) -> Clock {
        Clock(Source::Still(Arc::new(watch::Sender::new(start))))
    }

    /// The machine's clock, ahead by `offset`; [`Clock::advance`] puts it further ahead.
    pub fn shifted(offset: Duration) -> Clock {
        Clock(Source::Shifted(Arc::new(watch::Sender::new(offset))))
    }

    /// The present time.
    pub fn now(&self) -> SystemTime {
        match &self.0 {
            Source::System => SystemTime::now(),
            Source::Shifted(offset) => SystemTime::now() + *offset.borrow(),
            Source::Still(now) => *now.borrow(),
        }
    }

    /// Moves a still or shifted clock forward and wakes who sleeps on it. The machine's clock is not ours to move:
    /// there it does nothing.
    pub fn advance(&self, by: Duration) {
        match &self.0 {
            Source::System => {}
            Source::Shifted(offset) => offset.send_modify(|o| *o += by),
            Source::Still(now) => now.send_modify(|n| *n += by),
        }
    }

    /// Returns once the clock shows `deadline` or later. Safe to drop.
    pub async fn sleep_until(&self, deadline: SystemTime) {
        loop {
            // Subscribed before looking, so that a move in between is not missed.
            let mut moved = Moved::of(&self.0);
            let Ok(left) = deadline.duration_since(self.now()) else { return };
            if left.is_zero() {
                return;
            }
            match &self.0 {
                Source::Still(_) => moved.wait().await,
                Source::System | Source::Shifted(_) => {
                    let _ = tokio::time::timeout(left.min(RECHECK_INTERVAL), moved.wait()).await;
                }
            }
        }
    }

    /// Returns once `duration` has passed on this clock. Safe to drop.
    pub async fn sleep(&self, duration: Duration) {
        self.sleep_until(self.now() + duration).await;
    }
}

enum Moved {
    Never,
    Offset(watch::Receiver<Duration>),
    Time(watch::Receiver<SystemTime>),
}

impl Moved {
    fn of(source: &Source) -> Moved {
        match source {
            Source::System => Moved::Never,
            Source::Shifted(offset) => Moved::Offset(offset.subscribe()),
            Source::Still(now) => Moved::Time(now.subscribe()),
        }
    }

    async fn wait(&mut self) {
        let changed = match self {
            Moved::Never => std::future::pending().await,
            Moved::Offset(receiver) => receiver.changed().await,
            Moved::Time(receiver) => receiver.changed().await,
        };
        if changed.is_err() {
            // Nobody is left to move the clock. Unreachable while `self.0` lives, which holds the sender.
            std::future::pending::<()>().await;
        }
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Clock({:?})", self.now())
    }
}

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        // A clock before 1970 proves nothing: rustls then refuses every handshake.
        self.now().duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_still_clock_moves_only_when_told_and_wakes_its_sleepers() {
        let start = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let clock = Clock::still(start);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(3600)).await }
        });
        tokio::task::yield_now().await;
        assert_eq!(clock.now(), start);
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1800));
        tokio::task::yield_now().await;
        assert!(!sleeper.is_finished());
        clock.advance(Duration::from_secs(1800));
        sleeper.await.unwrap();
        assert_eq!(clock.now(), start + Duration::from_secs(3600));
    }

    #[tokio::test]
    async fn a_shifted_clock_runs_ahead_and_can_be_pushed_past_a_deadline() {
        let clock = Clock::shifted(Duration::from_secs(3600));
        assert!(clock.now() > SystemTime::now() + Duration::from_secs(3000));
        let deadline = clock.now() + Duration::from_secs(86_400);
        let sleeper = tokio::spawn({
            let clock = clock.clone();
            async move { clock.sleep_until(deadline).await }
        });
        tokio::task::yield_now().await;
        clock.advance(Duration::from_secs(86_401));
        sleeper.await.unwrap();
    }
}
