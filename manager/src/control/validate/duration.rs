//! Durations off the wire.

use std::time::Duration as StdDuration;

use skep_proto::prost_types::Duration;

use super::{Checked, refuse};

/// A duration that must not be negative; absent is none.
///
/// It must also fit Go's `time.Duration` (292 years): stock agents and managers read it so.
pub fn non_negative(duration: Option<&Duration>, what: &str) -> Checked<Option<StdDuration>> {
    let Some(&Duration { seconds, nanos }) = duration else { return Ok(None) };
    if nanos.unsigned_abs() > 999_999_999
        || (seconds < 0 && nanos > 0)
        || (seconds > 0 && nanos < 0)
    {
        return refuse(format!("{what} is not a well-formed duration: {seconds} s and {nanos} ns"));
    }
    let (Ok(whole), Ok(part)) = (u64::try_from(seconds), u32::try_from(nanos)) else {
        return refuse(format!("{what} cannot be negative"));
    };
    let duration = StdDuration::new(whole, part);
    if i64::try_from(duration.as_nanos()).is_err() {
        return refuse(format!("{what} of {whole} s is too long; at most 292 years are allowed"));
    }
    Ok(Some(duration))
}

#[cfg(test)]
mod tests {
    use super::super::says;
    use super::*;

    #[test]
    fn durations_are_well_formed_and_not_negative() {
        for (seconds, nanos, expected) in [
            (0, 0, "ok"),
            (5, 999_999_999, "ok"),
            (9_223_372_036, 854_775_807, "ok"),
            (
                9_223_372_036,
                854_775_808,
                "delay of 9223372036 s is too long; at most 292 years are allowed",
            ),
            (
                i64::MAX,
                0,
                "delay of 9223372036854775807 s is too long; at most 292 years are allowed",
            ),
            (-1, 0, "delay cannot be negative"),
            (0, -1, "delay cannot be negative"),
            (1, -1, "delay is not a well-formed duration: 1 s and -1 ns"),
            (0, 1_000_000_000, "delay is not a well-formed duration: 0 s and 1000000000 ns"),
            (
                i64::MIN,
                i32::MIN,
                "delay is not a well-formed duration: -9223372036854775808 s and -2147483648 ns",
            ),
        ] {
            let duration = Duration { seconds, nanos };
            assert_eq!(says(non_negative(Some(&duration), "delay")), expected);
        }
        assert_eq!(non_negative(None, "delay"), Ok(None));
    }
}
