//! What commands read: payloads from files, keys from the terminal or a pipe, and the small languages of options.
//! Keys are wiped from memory when dropped.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead as _, IsTerminal as _, Read},
    path::Path,
    time::Duration,
};

use zeroize::Zeroizing;

use crate::errors::Failure;

/// More than any payload that a swarm takes (secrets 500 KiB, configs 1000 KiB): what is larger is a mistake, and is
/// better refused here than read into memory.
const PAYLOAD_BYTES_MAX: u64 = 4 << 20;
/// The longest line that is read as a key.
const KEY_LINE_BYTES_MAX: u64 = 4096;
/// The longest line that is read as yes or no.
const ANSWER_BYTES_MAX: u64 = 256;

/// The content of `file`; `-` is the standard input.
pub fn payload(file: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let what = if file == "-" { "the standard input".to_owned() } else { file.to_owned() };
    let failed = |source| Failure::Input { what: what.clone(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    let limit = PAYLOAD_BYTES_MAX + 1;
    let read = match file {
        "-" => io::stdin().lock().take(limit).read_to_end(&mut bytes),
        path => File::open(path).map_err(failed)?.take(limit).read_to_end(&mut bytes),
    };
    read.map_err(failed)?;
    if bytes.len() as u64 > PAYLOAD_BYTES_MAX {
        let too_large = format!("is larger than {PAYLOAD_BYTES_MAX} bytes");
        return Err(failed(io::Error::new(io::ErrorKind::FileTooLarge, too_large)));
    }
    Ok(bytes)
}

/// The content of a file that holds text, such as PEM.
pub fn file(path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    payload(&path.to_string_lossy())
}

/// A key: asked for on the terminal without showing it, or the first line of the standard input.
pub fn key(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let failed = |source| Failure::Input { what: "the key".into(), source };
    let mut line = if io::stdin().is_terminal() {
        Zeroizing::new(rpassword::prompt_password(prompt).map_err(failed)?)
    } else {
        let mut line = Zeroizing::new(String::new());
        io::stdin().lock().take(KEY_LINE_BYTES_MAX).read_line(&mut line).map_err(failed)?;
        line
    };
    let kept = line.trim_end().len();
    line.truncate(kept);
    if line.is_empty() {
        return Err(Failure::Invalid(
            "no key was given: type it at the prompt or pipe it in".into(),
        ));
    }
    Ok(line)
}

/// Asks on the standard error and reads the answer from the standard input: yes only for `y` or `yes`, in either case.
pub fn confirmed(question: &str) -> Result<bool, Failure> {
    eprint!("{question}");
    let mut line = String::new();
    let failed = |source| Failure::Input { what: "the answer".into(), source };
    io::stdin().lock().take(ANSWER_BYTES_MAX).read_line(&mut line).map_err(failed)?;
    if !io::stdin().is_terminal() {
        // Nobody typed the end of the line.
        eprintln!();
    }
    Ok(matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// `key=value` pairs; a key alone has the empty value.
pub fn pairs(given: &[String]) -> BTreeMap<String, String> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) => (key.to_owned(), value.to_owned()),
        None => (text.clone(), String::new()),
    };
    given.iter().map(pair).collect()
}

/// A duration as the wire has it.
pub fn wire_duration(duration: Duration) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}
