//! Amounts as operators write them: `0.5` processors, `512m` of memory.

/// Processors, such as `0.5`, in billionths.
pub fn nano_cpus(text: &str) -> Result<i64, String> {
    let count: f64 = text.parse().map_err(|_| "write a number of processors, such as 0.5")?;
    let nano = count * 1e9;
    if !(nano >= 0.0 && nano < i64::MAX as f64) {
        return Err("that is no number of processors".into());
    }
    Ok(nano.round() as i64)
}

/// Memory, such as `512m` or `2g`, in bytes: k, m, g and t are powers of 1024, as in Docker.
pub fn memory_bytes(text: &str) -> Result<i64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let digits = lower.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match lower[digits.len()..].trim_end_matches("ib").trim_end_matches('b') {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return Err("write a number and b, k, m, g or t, such as 512m".into()),
    };
    let count: f64 = digits.trim().parse().map_err(|_| "write an amount such as 512m")?;
    let bytes = count * (1u64 << shift) as f64;
    if !(bytes >= 0.0 && bytes < i64::MAX as f64) {
        return Err("that is no amount of memory".into());
    }
    Ok(bytes as i64)
}

/// Billionths of a processor as a number of processors.
pub fn cpus_text(nano_cpus: i64) -> String {
    (nano_cpus as f64 / 1e9).to_string()
}

/// Bytes in the largest unit of which there is one: `512MiB`, `1.5GiB`.
pub fn memory_text(bytes: i64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    let mut amount = bytes as f64;
    let mut unit = 0;
    while amount >= 1024.0 && unit + 1 < units.len() {
        amount /= 1024.0;
        unit += 1;
    }
    // Three decimals, and none that say nothing.
    format!("{}{}", (amount * 1000.0).round() / 1000.0, units[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_as_docker_reads_them() {
        assert_eq!(nano_cpus("0.5"), Ok(500_000_000));
        assert_eq!(nano_cpus("2"), Ok(2_000_000_000));
        let memory =
            [("0", 0), ("10b", 10), ("1k", 1024), ("512m", 512 << 20), ("1.5GiB", 3 << 29)];
        for (text, expected) in memory {
            assert_eq!(memory_bytes(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_amount_is_refused() {
        for text in ["", "x", "-1", "nan", "1e30"] {
            assert!(nano_cpus(text).is_err(), "{text}");
            assert!(memory_bytes(text).is_err(), "{text}");
        }
        assert!(memory_bytes("1q").is_err());
    }

    #[test]
    fn amounts_are_written_for_people() {
        assert_eq!(cpus_text(500_000_000), "0.5");
        assert_eq!(cpus_text(2_000_000_000), "2");
        let memory = [(10, "10B"), (1 << 10, "1KiB"), (512 << 20, "512MiB"), (3 << 29, "1.5GiB")];
        for (bytes, text) in memory {
            assert_eq!(memory_text(bytes), text);
        }
    }
}
