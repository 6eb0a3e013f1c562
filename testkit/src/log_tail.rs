//! The end of a log file, for the message of a failure.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
};

/// The most that is read of a log: enough for what led to a failure, and no more than a terminal takes.
const TAIL_BYTES_MAX: u64 = 32 << 10;

/// The end of the file, from the beginning of a line; what went wrong if it cannot be read.
pub fn log_tail(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let start = file.metadata()?.len().saturating_sub(TAIL_BYTES_MAX);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES_MAX).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>((start > 0, String::from_utf8_lossy(&bytes).into_owned()))
    };
    match read() {
        Ok((true, text)) => match text.split_once('\n') {
            Some((_, whole_lines)) => whole_lines.to_owned(),
            None => text,
        },
        Ok((false, text)) => text,
        Err(error) => format!("<{}: {error}>", path.display()),
    }
}
