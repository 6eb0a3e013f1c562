//! The deadline of a call: the `grpc-timeout` header, read and written.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use tokio::time::Instant;

/// The header, as gRPC over HTTP/2 defines it: up to eight digits and a unit.
pub const GRPC_TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");

/// Longer than anybody waits; keeps the sum with the present time inside what an `Instant` holds.
const TIMEOUT_MAX: Duration = Duration::from_secs(365 * 24 * 3600);

/// The point in time at which the caller gives up; `None` if it set none, or one that cannot be read.
pub fn deadline(headers: &HeaderMap, now: Instant) -> Option<Instant> {
    let timeout = parse(headers.get(GRPC_TIMEOUT)?.to_str().ok()?)?;
    Some(now + timeout.min(TIMEOUT_MAX))
}

/// Writes what is left until a deadline.
pub fn write(headers: &mut HeaderMap, deadline: Option<Instant>, now: Instant) {
    let Some(deadline) = deadline else {
        headers.remove(GRPC_TIMEOUT);
        return;
    };
    headers.insert(GRPC_TIMEOUT, format(deadline.saturating_duration_since(now)));
}

fn parse(text: &str) -> Option<Duration> {
    let unit = text.chars().last()?;
    let digits = &text[..text.len() - unit.len_utf8()];
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let count: u64 = digits.parse().ok()?;
    Some(match unit {
        'H' => Duration::from_secs(count * 3600),
        'M' => Duration::from_secs(count * 60),
        'S' => Duration::from_secs(count),
        'm' => Duration::from_millis(count),
        'u' => Duration::from_micros(count),
        'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// The finest unit in which the value has no more than eight digits.
fn format(timeout: Duration) -> HeaderValue {
    const LIMIT: u128 = 100_000_000;
    let text = [
        (timeout.as_nanos(), 'n'),
        (timeout.as_micros(), 'u'),
        (timeout.as_millis(), 'm'),
        (u128::from(timeout.as_secs()), 'S'),
        (u128::from(timeout.as_secs() / 60), 'M'),
    ]
    .into_iter()
    .find(|(count, _)| *count < LIMIT)
    .map_or_else(|| "99999999H".to_owned(), |(count, unit)| format!("{count}{unit}"));
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("99999999H"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeouts_are_read_as_grpc_writes_them() {
        assert_eq!(parse("5S"), Some(Duration::from_secs(5)));
        assert_eq!(parse("2H"), Some(Duration::from_secs(7200)));
        assert_eq!(parse("100m"), Some(Duration::from_millis(100)));
        assert_eq!(parse("99999999u"), Some(Duration::from_micros(99_999_999)));
        for bad in ["", "S", "5", "5s", "123456789S", "-1S", "+1S", "1é"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn timeouts_are_written_in_eight_digits() {
        let text = |d: Duration| format(d).to_str().expect("ascii").to_owned();
        assert_eq!(text(Duration::from_nanos(1)), "1n");
        assert_eq!(text(Duration::from_millis(2500)), "2500000u");
        assert_eq!(text(Duration::from_secs(25)), "25000000u");
        assert_eq!(text(Duration::from_secs(3600)), "3600000m");
        assert_eq!(text(Duration::ZERO), "0n");
        assert_eq!(text(Duration::from_secs(u64::MAX)), "99999999H");
    }

    #[test]
    fn what_is_left_is_what_is_passed_on() {
        let now = Instant::now();
        let mut headers = HeaderMap::new();
        write(&mut headers, Some(now + Duration::from_secs(3)), now + Duration::from_secs(1));
        assert_eq!(headers[GRPC_TIMEOUT], "2000000u");
        write(&mut headers, None, now);
        assert!(headers.is_empty());
    }
}
