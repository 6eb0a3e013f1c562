//! `--since`: a point in time, or how long ago it was.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use skep_proto::prost_types::Timestamp;

use super::super::words::duration;

/// From when on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Since {
    /// A point in time.
    At(Timestamp),
    /// This long before now.
    Ago(Duration),
}

/// A time from its text: RFC 3339, Unix seconds, or a duration before now.
pub fn parse(text: &str) -> Result<Since, String> {
    if let Ok(ago) = duration(text).map(Since::Ago) {
        return Ok(ago);
    }
    if let Ok(seconds) = text.parse::<i64>() {
        return Ok(Since::At(Timestamp { seconds, nanos: 0 }));
    }
    let parsed: Result<Timestamp, _> = text.parse();
    parsed
        .map(Since::At)
        .map_err(|_| "write a time such as 2026-01-02T15:04:05Z, or a duration such as 10m".into())
}

impl Since {
    /// The point in time, seen from `now`.
    pub fn timestamp(self, now: SystemTime) -> Timestamp {
        match self {
            Since::At(at) => at,
            Since::Ago(ago) => {
                let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
                let at = now.saturating_sub(ago);
                Timestamp {
                    seconds: i64::try_from(at.as_secs()).unwrap_or(i64::MAX),
                    nanos: i32::try_from(at.subsec_nanos()).unwrap_or_default(),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_a_point_or_a_distance() {
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let seconds = |text: &str| parse(text).map(|since| since.timestamp(now).seconds);
        assert_eq!(seconds("10m"), Ok(400));
        assert_eq!(seconds("1970-01-01T00:01:00Z"), Ok(60));
        assert_eq!(seconds("77"), Ok(77));
        assert!(seconds("yesterday").is_err() && seconds("").is_err());
    }
}
