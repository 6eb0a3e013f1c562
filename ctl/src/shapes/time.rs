//! Times as people say them: "3 minutes ago".

use std::time::{SystemTime, UNIX_EPOCH};

use skep_proto::prost_types::Timestamp;

/// How long ago `then` was, by this machine's clock.
pub fn ago(then: &Timestamp) -> String {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(now).unwrap_or(i64::MAX).saturating_sub(then.seconds);
    format!("{} ago", span(u64::try_from(seconds).unwrap_or_default()))
}

/// How long ago an object's time was; nothing when it has none.
pub fn ago_or_nothing(then: Option<&Timestamp>) -> String {
    then.map(ago).unwrap_or_default()
}

/// Unix seconds as RFC 3339 has them.
pub fn timestamp(seconds: i64) -> String {
    Timestamp { seconds, nanos: 0 }.to_string()
}

/// A span of time in its largest unit.
fn span(seconds: u64) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let (count, unit) = match seconds {
        0 => return "Less than a second".into(),
        _ if seconds < MINUTE => (seconds, "second"),
        _ if seconds < 2 * MINUTE => return "About a minute".into(),
        _ if seconds < HOUR => (seconds / MINUTE, "minute"),
        _ if seconds < 2 * HOUR => return "About an hour".into(),
        _ if seconds < 2 * DAY => (seconds / HOUR, "hour"),
        _ if seconds < 14 * DAY => (seconds / DAY, "day"),
        _ if seconds < 60 * DAY => (seconds / (7 * DAY), "week"),
        _ if seconds < 730 * DAY => (seconds / (30 * DAY), "month"),
        _ => (seconds / (365 * DAY), "year"),
    };
    format!("{count} {unit}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_said_in_its_largest_unit() {
        let table = [
            (0, "Less than a second"),
            (1, "1 second"),
            (59, "59 seconds"),
            (100, "About a minute"),
            (300, "5 minutes"),
            (3_700, "About an hour"),
            (7_200, "2 hours"),
            (259_200, "3 days"),
            (1_814_400, "3 weeks"),
            (7_776_000, "3 months"),
            (63_072_000, "2 years"),
        ];
        for (seconds, expected) in table {
            assert_eq!(span(seconds), expected);
        }
    }
}
