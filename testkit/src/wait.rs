//! Waiting for a condition with a limit, instead of sleeping and hoping.

use std::time::{Duration, Instant};

/// How often a condition is looked at.
const POLL_INTERVAL: Duration = Duration::from_millis(25);

/// A condition did not come true in time.
#[derive(Debug, thiserror::Error)]
#[error("{what}: not after {limit:?}; last seen: {last}")]
pub struct NotInTime {
    /// What was waited for.
    pub what: String,
    /// How long.
    pub limit: Duration,
    /// What was there instead, at the end.
    pub last: String,
}

/// Looks at `probe` until it gives a value. Its error says what is there instead, and is kept for the message.
/// Safe to drop.
pub async fn until<T, E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    mut probe: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, NotInTime> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match probe().await {
            Ok(value) => return Ok(value),
            Err(last) => last.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(NotInTime { what: what.to_owned(), limit, last });
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// As [`until`], on a thread that may block.
pub fn until_blocking<T, E: std::fmt::Display>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, E>,
) -> Result<T, NotInTime> {
    let deadline = Instant::now() + limit;
    loop {
        let last = match probe() {
            Ok(value) => return Ok(value),
            Err(last) => last.to_string(),
        };
        if Instant::now() >= deadline {
            return Err(NotInTime { what: what.to_owned(), limit, last });
        }
        std::thread::sleep(POLL_INTERVAL);
    }
}
