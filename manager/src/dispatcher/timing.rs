//! The periods and limits of the workers' interface. Decides how long; never looks at a clock.

use std::time::Duration;

use rand::Rng;

/// Time between heartbeats when the cluster object names none (SwarmKit's default).
pub const HEARTBEAT_PERIOD: Duration = Duration::from_secs(5);
/// Each answer's period is off by up to this much either way, so that nodes that came together drift apart.
pub const HEARTBEAT_JITTER: Duration = Duration::from_millis(500);
/// A node is lost after this many periods without a heartbeat.
pub const GRACE_PERIODS: u32 = 3;
/// After a change of leader nodes get twice the grace: they must first notice, and find the new one.
pub const UNKNOWN_GRACE_PERIODS: u32 = 2 * GRACE_PERIODS;
/// How long a new leader waits before it records that a node's state is not known. Most nodes are back by then, and
/// each of those costs no write. The grace runs from the start all the same.
pub const UNKNOWN_RECORDED_AFTER: Duration = Duration::from_secs(2);
/// A node may register this often …
pub const REGISTRATIONS_MAX: u32 = 3;
/// … within this time.
pub const REGISTRATION_WINDOW: Duration = Duration::from_secs(8);
/// Tasks of a node that stays down this long are given up.
pub const ORPHANED_AFTER: Duration = Duration::from_secs(24 * 60 * 60);
/// How often expired nodes are looked for: far below the shortest sensible grace, and nothing on an idle machine.
pub const SWEEP_INTERVAL: Duration = Duration::from_millis(250);
/// How long a reported state is waited on that a task only passes through, so that several of them become one write
/// (SwarmKit waits as long for all).
pub const PASSING_GATHERED: Duration = Duration::from_millis(100);
/// The least time between two writes of states that tasks stay in: far below what anybody notices, and at thousands of
/// tasks a second enough to share log entries.
pub const READY_GATHERED: Duration = Duration::from_millis(10);
/// Tasks in one write: what goes into one log entry, so that the order of writes is the order of reports.
pub const REPORT_WRITE_MAX: usize = skep_store::BATCH_CHANGES_MAX;
/// Writes of reports in flight: at a round trip of 10 ms enough for 300,000 reports a second, and a bound on what is
/// written over when they are refused.
pub const REPORT_WRITES_IN_FLIGHT_MAX: usize = 16;
/// Pause before refused reports are written again: until the group takes proposals again, or this manager hears that it
/// leads no more.
pub const REPORT_RETRY_DELAY: Duration = Duration::from_millis(100);
/// How long a node that registers is kept waiting for a leader that was elected and does not serve yet. Engines give up
/// at 5 s.
pub const BEGIN_WITHIN: Duration = Duration::from_secs(2);
/// Messages with assignments that all sessions together are to be sent in a second, at most: each costs the leader about
/// 40 µs, and as much again for the report that answers it, so they take a third of a core while a wave of tasks lasts.
pub const ASSIGNMENT_MESSAGES_PER_SECOND: u32 = 4_000;
/// The least time between two messages with assignments to one node: little beside a round trip and an fsync, and enough
/// to find the tasks of one decision of the scheduler together.
pub const ASSIGNMENT_GATHERING_MIN: Duration = Duration::from_millis(5);
/// The longest, whatever the number of sessions: a wave that is worth gathering takes longer. (SwarmKit gathers for 100 ms from
/// the last change on.)
pub const ASSIGNMENT_GATHERING_MAX: Duration = Duration::from_millis(250);
/// How long a node is given to take up a load balancer that it was told of: a multiple of what an engine on a busy machine takes
/// (SwarmKit's gathering of assignments happens to give it 100 ms).
pub const BALANCER_TAKEN_UP: Duration = Duration::from_millis(250);
/// A single container is held back no longer than this for want of a load balancer. Whoever runs it waits for 20 s.
pub const BALANCER_WAIT_MAX: Duration = Duration::from_secs(2);
/// Time between two looks at what is held back.
pub const HELD_LOOKED_AT: Duration = Duration::from_millis(25);
/// Requests to write a node's state that may wait; senders wait for room beyond it. More than the nodes that one
/// leader is to carry, so that all of them can register at once.
pub const NODE_WRITES_QUEUED_MAX: usize = 16_384;
/// Requests taken into one batch: a few log entries' worth, so that the first of them does not wait for the last.
pub const NODE_WRITES_BATCH_MAX: usize = 1_000;
/// How long the first message of a session waits for the network keys of a new cluster. Agents give up at 5 s.
pub const KEYS_WAIT_MAX: Duration = Duration::from_secs(2);
/// Agents may be told of this many managers at this weight each (SwarmKit's weight).
pub const MANAGER_WEIGHT: i64 = 10;

/// The heartbeat period to hand out: the configured one, off by up to the jitter.
pub fn jittered(period: Duration, jitter: Duration, rng: &mut impl Rng) -> Duration {
    // Never less than half of what was asked for, however short it is.
    let jitter = jitter.min(period / 2);
    let off = rng.random_range(Duration::ZERO..=2 * jitter);
    period - jitter + off
}

/// How long changes of one node's assignments are gathered after a message, with so many sessions.
pub fn gathering(sessions: usize) -> Duration {
    let sessions = u32::try_from(sessions).unwrap_or(u32::MAX);
    let fair = Duration::from_secs(1).saturating_mul(sessions) / ASSIGNMENT_MESSAGES_PER_SECOND;
    fair.clamp(ASSIGNMENT_GATHERING_MIN, ASSIGNMENT_GATHERING_MAX)
}

/// The heartbeat period of a cluster: what its object says, unless that is absent, negative or nothing.
pub fn configured_period(cluster: Option<&skep_proto::swarmkit::Cluster>) -> Duration {
    cluster
        .and_then(|c| c.spec.as_ref())
        .and_then(|s| s.dispatcher.as_ref())
        .and_then(|d| d.heartbeat_period)
        .and_then(|p| Duration::try_from(p).ok())
        .filter(|p| !p.is_zero())
        .unwrap_or(HEARTBEAT_PERIOD)
}

/// How often one node has registered lately.
#[derive(Clone, Copy, Debug)]
pub struct Registrations {
    since: Duration,
    count: u32,
}

impl Registrations {
    /// Counts the first registration, at `now` on the dispatcher's own time line.
    pub fn first(now: Duration) -> Registrations {
        Registrations { since: now, count: 1 }
    }

    /// Counts another one; false when that is one too many.
    pub fn another(&mut self, now: Duration) -> bool {
        if now.saturating_sub(self.since) >= REGISTRATION_WINDOW {
            *self = Registrations::first(now);
            return true;
        }
        self.count = self.count.saturating_add(1);
        self.count <= REGISTRATIONS_MAX
    }
}

#[cfg(test)]
mod tests {
    use rand::{SeedableRng, rngs::StdRng};
    use skep_proto::{prost_types, swarmkit};

    use super::*;

    #[test]
    fn the_period_handed_out_is_off_by_the_jitter_at_most() {
        let mut rng = StdRng::seed_from_u64(1);
        let (mut low, mut high) = (Duration::MAX, Duration::ZERO);
        for _ in 0..2_000 {
            let period = jittered(HEARTBEAT_PERIOD, HEARTBEAT_JITTER, &mut rng);
            low = low.min(period);
            high = high.max(period);
        }
        let ms = Duration::from_millis;
        assert!(low >= ms(4_500) && low < ms(4_520), "{low:?}");
        assert!(high <= ms(5_500) && high > ms(5_480), "{high:?}");
        for _ in 0..100 {
            let period = jittered(ms(100), HEARTBEAT_JITTER, &mut rng);
            assert!(period >= ms(50) && period <= ms(150), "{period:?}");
        }
    }

    #[test]
    fn the_more_sessions_the_longer_changes_are_gathered() {
        let ms = Duration::from_millis;
        for (sessions, expected) in
            [(0, 5), (10, 5), (100, 25), (500, 125), (1_000, 250), (10_000, 250), (usize::MAX, 250)]
        {
            assert_eq!(gathering(sessions), ms(expected), "{sessions}");
        }
    }

    #[test]
    fn the_configured_period_must_be_positive_to_count() {
        let with = |seconds: Option<i64>| {
            let heartbeat_period =
                seconds.map(|seconds| prost_types::Duration { seconds, nanos: 0 });
            let dispatcher = Some(swarmkit::DispatcherConfig { heartbeat_period });
            let spec = Some(swarmkit::ClusterSpec { dispatcher, ..Default::default() });
            configured_period(Some(&swarmkit::Cluster { spec, ..Default::default() }))
        };
        assert_eq!(configured_period(None), HEARTBEAT_PERIOD);
        assert_eq!(with(None), HEARTBEAT_PERIOD);
        assert_eq!(with(Some(0)), HEARTBEAT_PERIOD);
        assert_eq!(with(Some(-3)), HEARTBEAT_PERIOD);
        assert_eq!(with(Some(20)), Duration::from_secs(20));
    }

    #[test]
    fn a_fourth_registration_within_eight_seconds_is_one_too_many() {
        let s = Duration::from_secs;
        let mut node = Registrations::first(s(100));
        assert!(node.another(s(101)));
        assert!(node.another(s(102)));
        assert!(!node.another(s(103)));
        assert!(!node.another(s(107)));
        assert!(node.another(s(108)), "the window is over");
        assert!(node.another(s(109)));
        assert!(node.another(s(110)));
        assert!(!node.another(s(111)));
    }
}
