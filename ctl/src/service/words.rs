//! The small languages inside of options: fields separated by commas as in a CSV file, command lines with quotes, and
//! durations as Go writes them.

use std::time::Duration;

/// The comma-separated fields of one line of CSV: a field in double quotes may hold commas, and `""` there is a quote.
pub fn csv_fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        let Some(field) = fields.last_mut() else { break };
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                field.push('"');
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            _ => field.push(c),
        }
    }
    if quoted {
        return Err("a double quote is not closed".into());
    }
    Ok(fields)
}

/// A command line cut into its words, as a shell does: quotes group, a backslash takes what follows as it is. Nothing is
/// expanded.
pub fn shell_words(text: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\'' | '"' => {
                let word = word.get_or_insert_default();
                loop {
                    match chars.next() {
                        Some(end) if end == c => break,
                        Some('\\') if c == '"' => match chars.next() {
                            Some(next @ ('"' | '\\' | '$' | '`')) => word.push(next),
                            Some(next) => word.extend(['\\', next]),
                            None => {}
                        },
                        Some(inner) => word.push(inner),
                        None => return Err(format!("the quote {c} is not closed")),
                    }
                }
            }
            '\\' => word.get_or_insert_default().extend(chars.next()),
            _ if c.is_whitespace() => words.extend(word.take()),
            _ => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    Ok(words)
}

/// A duration as Docker's command line takes it: `1h30m`, `1.5s`, `500ms`, `0`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let refused = || "write a duration such as 10s, 1m30s or 500ms".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let mut nanos: f64 = 0.0;
    let mut rest = text;
    if rest.is_empty() {
        return Err(refused());
    }
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(refused)?;
        let (number, after) = rest.split_at(end);
        let end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, after) = after.split_at(end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(refused()),
        };
        nanos += number.parse::<f64>().map_err(|_| refused())? * scale;
        rest = after;
    }
    // Go's durations end at 2^63 nanoseconds.
    if nanos >= i64::MAX as f64 {
        return Err("that is longer than 292 years".into());
    }
    Ok(Duration::from_nanos(nanos.round() as u64))
}

/// A duration as Go writes it: `1m30s`, `1.5s`, `500ms`.
pub fn duration_text(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    if seconds == 0 {
        let (scale, unit) = match nanos {
            0 => return "0s".into(),
            1..1_000 => (1.0, "ns"),
            1_000..1_000_000 => (1e3, "µs"),
            _ => (1e6, "ms"),
        };
        return format!("{}{unit}", f64::from(nanos) / scale);
    }
    let fraction = match nanos {
        0 => String::new(),
        nanos => format!(".{}", format!("{nanos:09}").trim_end_matches('0')),
    };
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}{fraction}s"),
        (0, _) => format!("{minutes}m{seconds}{fraction}s"),
        _ => format!("{hours}h{minutes}m{seconds}{fraction}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_those_of_csv() {
        let table = [
            ("a,b", vec!["a", "b"]),
            (
                "type=volume,\"volume-opt=o=a,b\",dst=/x",
                vec!["type=volume", "volume-opt=o=a,b", "dst=/x"],
            ),
            ("\"say \"\"hi\"\"\"", vec!["say \"hi\""]),
            ("", vec![""]),
        ];
        for (text, expected) in table {
            assert_eq!(csv_fields(text).unwrap(), expected, "{text}");
        }
        assert!(csv_fields("a,\"b").is_err());
    }

    #[test]
    fn command_lines_are_cut_as_a_shell_cuts_them() {
        let table = [
            ("sleep 10", vec!["sleep", "10"]),
            ("sh -c 'echo $A; exit 1'", vec!["sh", "-c", "echo $A; exit 1"]),
            (r#"a "b \"c\" \d" e\ f"#, vec!["a", r#"b "c" \d"#, "e f"]),
            ("  ''  ", vec![""]),
            ("", vec![]),
        ];
        for (text, expected) in table {
            assert_eq!(shell_words(text).unwrap(), expected, "{text}");
        }
        assert!(shell_words("'a").is_err());
    }

    #[test]
    fn durations_are_those_of_go() {
        let table = [
            ("0", 0),
            ("0s", 0),
            ("1.5s", 1_500_000_000),
            ("1h30m", 5_400_000_000_000),
            ("500ms", 500_000_000),
            ("10us", 10_000),
        ];
        for (text, nanos) in table {
            assert_eq!(duration(text), Ok(Duration::from_nanos(nanos)), "{text}");
        }
        for text in ["", "5", "s", "1d", "-1s", "1.2.3s", "9999999999h"] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["0s", "5ns", "1.5µs", "500ms", "1.5s", "10s", "1m30s", "2h0m0s", "1h0m0.25s"]
        {
            assert_eq!(duration(text).map(duration_text).as_deref(), Ok(text));
        }
    }
}
