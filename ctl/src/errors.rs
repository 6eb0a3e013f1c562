//! What can go wrong in a command: one line that says what was tried and what to do, and the exit code.

use std::{
    fmt::{self, Write as _},
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use skep_proto::skep::{DaemonState, GetStatusResponse};
use tonic::{Code, Status};

/// Exit code of a command that failed.
pub const EXIT_ERROR: u8 = 1;
/// Exit code of a command line that makes no sense; clap uses the same.
pub const EXIT_USAGE: u8 = 2;
/// Exit code of a command whose request was taken, but whose effect was not seen in time.
pub const EXIT_NOT_CONVERGED: u8 = 3;

/// Why a command did not do what it was asked to do.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answers at the socket.
    #[error("cannot reach a daemon at {}: {}", socket.display(), because(source))]
    Unreachable { socket: PathBuf, source: io::Error },
    /// The daemon refused a call, or the call failed on its way.
    #[error("cannot {doing}: {}", Explained { status, hint: hint.as_deref() })]
    Call { doing: String, status: Box<Status>, hint: Option<String> },
    /// No object of that id or name.
    #[error("no such {noun}: {name} ('skep {noun} ls' shows what there is)")]
    NotFound { noun: &'static str, name: String },
    /// An id prefix or a name that several objects share.
    #[error("{noun} {name} is ambiguous: {count} match; give more of the ID")]
    Ambiguous { noun: &'static str, name: String, count: usize },
    /// The daemon's reply lacks what the command needs.
    #[error(
        "cannot {doing}: the daemon's reply has no {missing}; is it another version than skep?"
    )]
    Incomplete { doing: String, missing: &'static str },
    /// A file or the standard input could not be read.
    #[error("cannot read {what}: {source}")]
    Input { what: String, source: io::Error },
    /// What was read or asked for is not acceptable, although the command line was well formed.
    #[error("{0}")]
    Invalid(String),
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Others kept changing the same object.
    #[error(
        "cannot {doing}: it was changed by somebody else {attempts} times meanwhile; try again"
    )]
    Contended { doing: String, attempts: usize },
    /// The request was taken, but its effect was not seen in time.
    #[error("{waiting_for}: not yet after {}; {hint}", humantime::format_duration(*limit))]
    NotConverged { waiting_for: String, limit: Duration, hint: String },
    /// A service will not be as asked, or was not waited for until it is.
    #[error("service {name}: {}; 'skep service ps {name}' shows its tasks", one_line(what))]
    Unfinished { name: String, what: String },
    /// A part of the logs did not come.
    #[error("the logs of {name} are incomplete: {}", one_line(why))]
    IncompleteLogs { name: String, why: String },
    /// What the managers gave out does not agree with itself.
    #[error(
        "{count} {} found, see docs/networks.md for what to do",
        if *count == 1 { "thing was" } else { "things were" }
    )]
    Findings { count: u64 },
    /// The daemon ended a stream that should go on.
    #[error("the daemon ended the stream of events; run the command again to go on from now")]
    StreamEnded,
    /// The standard output does not take what is written.
    #[error("cannot write to the standard output: {0}")]
    Output(#[from] io::Error),
    /// Several objects were named, and these failed.
    #[error("{}", lines(.0))]
    Several(Vec<Failure>),
}

impl Failure {
    /// Nobody answers at `socket`.
    pub fn unreachable(socket: &Path, source: io::Error) -> Failure {
        Failure::Unreachable { socket: socket.to_owned(), source }
    }

    /// Turns the status of a failed call into a failure to do `doing` (an infinitive: "list nodes").
    pub fn call(doing: impl Into<String>) -> impl FnOnce(Status) -> Failure {
        let doing = doing.into();
        move |status| Failure::Call { doing, status: Box::new(status), hint: None }
    }

    /// What is left when it is no failure that an object is not there.
    pub fn without_missing(self) -> Result<(), Failure> {
        match self {
            Failure::NotFound { .. } => Ok(()),
            Failure::Several(mut failures) => {
                failures.retain(|failure| !matches!(failure, Failure::NotFound { .. }));
                if failures.is_empty() { Ok(()) } else { Err(Failure::Several(failures)) }
            }
            failure => Err(failure),
        }
    }

    /// The code of the process that ends with this failure.
    pub fn exit_code(&self) -> u8 {
        match self {
            Failure::Usage(_) => EXIT_USAGE,
            Failure::NotConverged { .. } | Failure::Unfinished { .. } => EXIT_NOT_CONVERGED,
            Failure::Several(all) => {
                let first = all.first().map_or(EXIT_ERROR, Failure::exit_code);
                if all.iter().all(|f| f.exit_code() == first) { first } else { EXIT_ERROR }
            }
            _ => EXIT_ERROR,
        }
    }

    /// Whether the reader of the output went away, as `head` does: no failure worth a word.
    pub fn is_broken_pipe(&self) -> bool {
        matches!(self, Failure::Output(error) if error.kind() == io::ErrorKind::BrokenPipe)
    }

    /// Whether the daemon's state may be the reason, so that it is worth asking for.
    pub fn may_be_state(&self) -> bool {
        let Failure::Call { status, .. } = self else { return false };
        !matches!(
            status.code(),
            Code::InvalidArgument | Code::NotFound | Code::AlreadyExists | Code::PermissionDenied
        )
    }

    /// Adds what to do, given what the daemon is at the moment.
    pub fn with_state(mut self, daemon: &GetStatusResponse) -> Failure {
        if let Failure::Call { hint, .. } = &mut self {
            *hint = state_hint(daemon);
        }
        self
    }
}

/// What to do about a daemon that is not an active manager.
pub fn state_hint(daemon: &GetStatusResponse) -> Option<String> {
    let hint = match daemon.state() {
        DaemonState::Inactive => {
            "this daemon is not part of a swarm; use 'skep swarm init' or 'skep swarm join'".into()
        }
        DaemonState::Pending => "this daemon is still on its way into the swarm; wait".into(),
        DaemonState::Locked => "this manager is locked; use 'skep swarm unlock'".into(),
        DaemonState::Error => format!("this daemon has stopped with an error: {}", daemon.error),
        DaemonState::Active if daemon.role == "swarm-worker" => {
            "this node is a worker; run the command on a manager".into()
        }
        DaemonState::Active | DaemonState::Unspecified => return None,
    };
    Some(hint)
}

/// Whether an update lost against somebody else's update of the same object.
pub fn is_out_of_sequence(status: &Status) -> bool {
    // The text is what every implementation of the interface sends; the code alone says "unknown".
    status.message().contains("update out of sequence")
}

/// Text of others on one line, without what could drive the terminal.
pub fn one_line(text: &str) -> String {
    let visible = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>();
    visible.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Explained<'a> {
    status: &'a Status,
    hint: Option<&'a str>,
}

impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(hint) = self.hint {
            return f.write_str(&one_line(hint));
        }
        let text = one_line(self.status.message());
        match self.status.code() {
            // The transport's own deadline; the daemon may still do what was asked.
            Code::DeadlineExceeded | Code::Cancelled => f.write_str(
                "no answer in time, and it may still happen; is there a leader? ('skep raft status')",
            ),
            Code::PermissionDenied => write!(f, "permission denied: {text}"),
            Code::Unimplemented => write!(f, "this daemon does not know how ({text})"),
            code if text.is_empty() => write!(f, "{}", code.description()),
            _ => f.write_str(&text),
        }
    }
}

fn because(source: &io::Error) -> String {
    match source.kind() {
        io::ErrorKind::NotFound => "there is no such socket; is skepd running? Start it, or name \
                                    its socket with --socket or SKEP_SOCKET"
            .into(),
        io::ErrorKind::ConnectionRefused => {
            "nobody listens there; skepd has stopped: start it again".into()
        }
        io::ErrorKind::PermissionDenied => {
            "permission denied; run as the user who runs skepd (often root)".into()
        }
        _ => one_line(&source.to_string()),
    }
}

fn lines(all: &[Failure]) -> String {
    let mut text = String::new();
    for (number, failure) in all.iter().enumerate() {
        let separator = if number == 0 { "" } else { "\nError: " };
        // Writing to a String does not fail.
        let _ = write!(text, "{separator}{failure}");
    }
    text
}
