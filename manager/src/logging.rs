//! Log lines to standard error, as text or JSON.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::options::LogFormat;

/// Installs the process's logger. Fails when the level is no level, with what it should be.
pub fn init(format: LogFormat, level: &str) -> Result<(), String> {
    let filter = EnvFilter::try_new(level).map_err(|error| {
        format!(
            "--log-level {level:?} is not understood ({error}): use error, warn, info, debug or trace, \
             also per module as in info,skep_raft=debug"
        )
    })?;
    let registry = tracing_subscriber::registry().with(filter);
    let writer = std::io::stderr;
    // Colours are for eyes; in a file they are in the way.
    let ansi = std::io::stderr().is_terminal();
    match format {
        LogFormat::Text => {
            registry.with(fmt::layer().with_writer(writer).with_ansi(ansi)).try_init()
        }
        LogFormat::Json => registry.with(fmt::layer().json().with_writer(writer)).try_init(),
    }
    .map_err(|error| format!("the logger cannot be installed: {error}"))
}
