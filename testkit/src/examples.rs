//! Examples in documents that tests run: blocks marked `console run`.
//!
//! An example is a line `$ COMMAND` and the lines that it prints. In these `…` stands for anything, and a line that is only
//! `…` for any lines.

/// The examples of a page: each command with the lines that it should print.
pub fn examples(page: &str) -> Vec<(String, Vec<String>)> {
    let mut found: Vec<(String, Vec<String>)> = Vec::new();
    let mut inside = false;
    for line in page.lines() {
        match (inside, line.strip_prefix("$ ")) {
            (false, _) => inside = line == "```console run",
            (true, _) if line == "```" => inside = false,
            (true, Some(command)) => found.push((command.to_owned(), Vec::new())),
            (true, None) => found.last_mut().expect("a command first").1.push(line.to_owned()),
        }
    }
    found
}

/// Whether a line is as the pattern says, where `…` stands for anything.
fn line_matches(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.trim_end().split('…');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.trim_end().strip_prefix(first) else { return false };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

/// Whether lines are as the patterns say, where a line that is only `…` stands for any lines.
pub fn lines_match(patterns: &[String], lines: &[&str]) -> bool {
    match (patterns.split_first(), lines.split_first()) {
        (None, _) => lines.is_empty(),
        (Some((pattern, others)), _) if pattern == "…" => {
            (0..=lines.len()).any(|skipped| lines_match(others, &lines[skipped..]))
        }
        (Some(_), None) => false,
        (Some((pattern, patterns)), Some((line, lines))) => {
            line_matches(pattern, line) && lines_match(patterns, lines)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_stands_for_what_it_should() {
        for (pattern, line, expected) in [
            ("State:       active", "State:       active", true),
            ("ID: …", "ID: abc", true),
            ("… * manager", "abc * manager", true),
            ("a…b…c", "a1b2c", true),
            ("a…b…c", "a1c2b", false),
            ("a", "ab", false),
        ] {
            assert_eq!(line_matches(pattern, line), expected, "{pattern:?} {line:?}");
        }
        let owned =
            |lines: &[&str]| lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>();
        assert!(lines_match(&owned(&["a", "…", "z"]), &["a", "b", "c", "z"]));
        assert!(!lines_match(&owned(&["a", "…", "z"]), &["a", "b"]));
        assert!(!lines_match(&owned(&["a"]), &["a", "b"]));
    }
}
