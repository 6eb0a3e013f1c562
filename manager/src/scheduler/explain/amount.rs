//! Amounts of CPU and memory in words.

/// Billionths of a CPU as CPUs: "0.5", "2", "-1.25".
pub fn cpus(nano: i64) -> String {
    let sign = if nano < 0 { "-" } else { "" };
    let nano = nano.unsigned_abs();
    let (whole, part) = (nano / 1_000_000_000, nano % 1_000_000_000);
    let part = format!("{part:09}");
    match part.trim_end_matches('0') {
        "" => format!("{sign}{whole}"),
        part => format!("{sign}{whole}.{part}"),
    }
}

/// "1 CPU" or "2.5 CPUs".
pub fn cpus_with_unit(nano: i64) -> String {
    let unit = if nano == 1_000_000_000 { "CPU" } else { "CPUs" };
    format!("{} {unit}", cpus(nano))
}

/// Bytes in the largest unit of which there is at least one: "512 MiB", "1.5 GiB".
pub fn bytes(bytes: i64) -> String {
    const UNITS: [(u64, &str); 4] =
        [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let sign = if bytes < 0 { "-" } else { "" };
    let bytes = bytes.unsigned_abs();
    for (size, unit) in UNITS {
        if bytes >= size {
            // Two digits behind the point say enough; the rest is cut off, so that what is free is never overstated.
            let hundredths = u128::from(bytes) * 100 / u128::from(size);
            let (whole, part) = (hundredths / 100, hundredths % 100);
            let part = format!("{part:02}");
            return match part.trim_end_matches('0') {
                "" => format!("{sign}{whole} {unit}"),
                part => format!("{sign}{whole}.{part} {unit}"),
            };
        }
    }
    format!("{sign}{bytes} bytes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_read_well() {
        for (nano, expected) in [
            (0, "0"),
            (1, "0.000000001"),
            (500_000_000, "0.5"),
            (2_000_000_000, "2"),
            (-1_250_000_000, "-1.25"),
            (i64::MIN, "-9223372036.854775808"),
        ] {
            assert_eq!(cpus(nano), expected);
        }
        for (value, expected) in [
            (0, "0 bytes"),
            (1023, "1023 bytes"),
            (512 << 20, "512 MiB"),
            (3 << 29, "1.5 GiB"),
            ((1 << 30) - 1, "1023.99 MiB"),
            (-(1 << 30), "-1 GiB"),
            (i64::MAX, "8388607.99 TiB"),
        ] {
            assert_eq!(bytes(value), expected);
        }
        assert_eq!(cpus_with_unit(1_000_000_000), "1 CPU");
        assert_eq!(cpus_with_unit(500_000_000), "0.5 CPUs");
    }
}
