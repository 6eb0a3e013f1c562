//! Times of the store as numbers that can be compared and added to. What is off any scale is taken to its end: a timestamp
//! that some peer wrote must not stop an orchestrator.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_proto::{
    prost_types,
    prost_types::Timestamp,
    swarmkit::{Task, TaskStatus},
};

/// A time of day, in microseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Moment(i64);

impl Moment {
    /// That much later.
    pub(super) fn after(self, time: Duration) -> Moment {
        Moment(self.0.saturating_add(i64::try_from(time.as_micros()).unwrap_or(i64::MAX)))
    }

    /// How long it is since an earlier moment; nothing if that is not earlier.
    pub(super) fn since(self, earlier: Moment) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// When the task was made, as the manager that made it had it.
    pub(super) fn created(task: &Task) -> Moment {
        task.meta.as_ref().and_then(|meta| meta.created_at).unwrap_or_default().into()
    }

    /// When the task came into its present state: as a manager took note of it, or else as its worker says.
    pub(super) fn of_status(status: &TaskStatus) -> Moment {
        status.applied_at.or(status.timestamp).unwrap_or_default().into()
    }
}

impl From<Timestamp> for Moment {
    fn from(time: Timestamp) -> Moment {
        let micros = i64::from(time.nanos) / 1_000;
        Moment(time.seconds.saturating_mul(1_000_000).saturating_add(micros))
    }
}

impl From<SystemTime> for Moment {
    fn from(time: SystemTime) -> Moment {
        Moment::default().after(time.duration_since(UNIX_EPOCH).unwrap_or_default())
    }
}

impl From<Moment> for SystemTime {
    fn from(moment: Moment) -> SystemTime {
        UNIX_EPOCH + moment.since(Moment::default())
    }
}

/// A span of a spec; none if it is negative.
pub(super) fn span(duration: prost_types::Duration) -> Duration {
    Duration::try_from(duration).unwrap_or_default()
}
