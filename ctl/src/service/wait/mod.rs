//! Waiting until a service is as its spec says, with what happens meanwhile on the standard error.
//!
//! `follow` keeps a picture of the service, its tasks and the nodes up to date through the Watch interface; `progress`
//! judges the picture and has no clock; `display` shows the judgement. What needs time is here: tasks have to run on
//! for a while before they count as stable.

mod display;
mod follow;
mod progress;

use std::time::Duration;

use skep_proto::swarmkit::Service;
use tokio::time::{Instant, sleep_until};

use self::{
    display::Display,
    follow::Follower,
    progress::{Standing, look},
};
use super::words::duration;
use crate::{connect::Connection, errors::Failure, objects::Stored as _};

/// How often the display is brought up to date when nothing happens: it counts seconds.
const TICK: Duration = Duration::from_secs(1);
/// How long nothing may be left to start before that counts as final. A task that will start again has its successor in
/// the same commit that ends it, so this only spans two commits, with room for a busy leader.
const STUCK_TIME: Duration = Duration::from_secs(10);

/// The options of waiting.
#[derive(Clone, Debug, clap::Args)]
pub struct WaitOptions {
    /// Do not wait until the service has converged
    #[arg(short, long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    detach: Option<bool>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Wait no longer than this for the service to converge; exit code 3 if it takes longer
    #[arg(long, value_name = "DURATION", value_parser = duration, conflicts_with = "detach")]
    wait: Option<Duration>,
}

/// What the command asked for, so that a rollback by it is told from one that an update fell back to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// A new spec.
    Spec,
    /// The previous spec.
    Rollback,
}

impl WaitOptions {
    /// Waits for `service`, unless the options say not to.
    pub async fn wait(
        &self,
        connection: &Connection,
        service: &Service,
        asked: Asked,
    ) -> Result<(), Failure> {
        if self.detach == Some(true) {
            return Ok(());
        }
        let mut display = Display::on_stderr(self.quiet);
        let outcome = self.follow(connection, service, asked, &mut display).await;
        display.end();
        outcome
    }

    async fn follow(
        &self,
        connection: &Connection,
        service: &Service,
        asked: Asked,
        display: &mut Display,
    ) -> Result<(), Failure> {
        let name = service.name();
        let unfinished = |what: String| Failure::Unfinished { name: name.to_owned(), what };
        let started = Instant::now();
        let deadline = self.wait.map(|limit| started + limit);
        let mut follower = Follower::new(connection.clone(), service);
        let mut steady = Steady::default();
        loop {
            let now = Instant::now();
            if let Some(picture) = follower.picture() {
                let progress = look(picture, asked);
                let left = steady.left(&progress.standing, now);
                match (&progress.standing, left) {
                    (Standing::Failed(why), _) => {
                        display.show(&progress, None, now);
                        return Err(unfinished(why.clone()));
                    }
                    (Standing::Stuck(why), Some(Duration::ZERO)) => {
                        display.show(&progress, None, now);
                        return Err(unfinished(why.clone()));
                    }
                    (Standing::Converged { .. }, Some(Duration::ZERO)) => {
                        display.converged(&progress, name, now);
                        return Ok(());
                    }
                    (Standing::Converged { .. }, left) => display.show(&progress, left, now),
                    _ => display.show(&progress, None, now),
                }
            }
            if deadline.is_some_and(|deadline| deadline <= now) {
                return Err(Failure::NotConverged {
                    waiting_for: format!("service {name} has not converged"),
                    limit: self.wait.unwrap_or_default(),
                    hint: format!("it goes on; 'skep service ps {name}' shows how far it is"),
                });
            }
            let next = [Some(now + TICK), deadline, steady.over_at(now)];
            let next = next.into_iter().flatten().min().unwrap_or(now + TICK);
            tokio::select! {
                changed = follower.changed() => changed?,
                () = sleep_until(next) => {}
                _ = tokio::signal::ctrl_c() => {
                    return Err(unfinished("not waited for any longer; it goes on".into()));
                }
            }
        }
    }
}

/// Since when the service has been converged, or stuck, without a break.
#[derive(Default)]
struct Steady {
    since: Option<(bool, Instant, Duration)>,
}

impl Steady {
    /// How long it has to stay as it is until that counts; `None` for what does not count however long it lasts.
    fn left(&mut self, standing: &Standing, now: Instant) -> Option<Duration> {
        let (good, needed) = match standing {
            Standing::Converged { verify } => (true, *verify),
            Standing::Stuck(_) => (false, STUCK_TIME),
            Standing::Going | Standing::Failed(_) => {
                self.since = None;
                return None;
            }
        };
        let since = match self.since {
            Some((was_good, since, _)) if was_good == good => since,
            _ => now,
        };
        self.since = Some((good, since, needed));
        Some(needed.saturating_sub(now - since))
    }

    fn over_at(&self, now: Instant) -> Option<Instant> {
        // Never in the past: what is over was handled.
        self.since.map(|(_, since, needed)| (since + needed).max(now + Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_to_count_lasts_without_a_break() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let good = Standing::Converged { verify: Duration::from_secs(5) };
        let stuck = Standing::Stuck("nothing left".into());
        let mut steady = Steady::default();
        assert_eq!(steady.left(&good, at(0)), Some(Duration::from_secs(5)));
        assert_eq!(steady.left(&good, at(3)), Some(Duration::from_secs(2)));
        assert_eq!(steady.over_at(at(3)), Some(at(5)));
        assert_eq!(steady.left(&Standing::Going, at(4)), None);
        assert_eq!(steady.left(&good, at(4)), Some(Duration::from_secs(5)));
        assert_eq!(steady.left(&stuck, at(5)), Some(STUCK_TIME));
        assert_eq!(steady.left(&good, at(20)), Some(Duration::from_secs(5)));
        assert_eq!(steady.left(&good, at(30)), Some(Duration::ZERO));
    }
}
