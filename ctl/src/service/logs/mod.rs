//! `skep service logs`: what containers wrote, from all nodes that have it.
//!
//! A part that cannot be had (its node is down, its task has no node) is named on the standard error when everything else
//! is printed, and the command then ends with exit code 1: a script must not take a part for the whole.

mod label;
pub mod since;

use std::{
    collections::HashMap,
    io::{self, Write as _},
    time::{Duration, SystemTime},
};

use skep_proto::{
    log_notice::is_notice,
    prost_types::Timestamp,
    swarmkit::{
        LogMessage, LogSelector, LogStream, LogSubscriptionOptions, SubscribeLogsMessage,
        SubscribeLogsRequest,
    },
};
use tokio::time::{Instant, sleep};
use tonic::{Code, Status, Streaming};

use self::label::{Labels, Style};
use super::{Subject, subject};
use crate::{
    commands::Session,
    connect::Connection,
    errors::{Failure, one_line},
};

/// How the managers begin what they say of logs that are not all there.
const INCOMPLETE: &str = "warning: incomplete log stream.";
/// Pause before logs that are followed are asked for again, after the leader was lost.
const AGAIN: Duration = Duration::from_millis(500);
/// How long there may be nobody to ask: longer than an election.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Print what the containers of a service, or of one task, wrote.
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Print what the log driver was told to note beside each line
    #[arg(long)]
    details: bool,
    /// Go on with what is written from now on, until interrupted
    #[arg(short, long)]
    follow: bool,
    /// Print IDs of services and nodes instead of names
    #[arg(long)]
    no_resolve: bool,
    /// Leave IDs of tasks out
    #[arg(long)]
    no_task_ids: bool,
    /// Print IDs of tasks in full
    #[arg(long)]
    no_trunc: bool,
    /// Print the lines as they are, without where they come from
    #[arg(long)]
    raw: bool,
    /// Only lines since a time (2026-01-02T15:04:05Z) or for as long as a duration (10m)
    #[arg(long, value_name = "TIME", value_parser = since::parse)]
    since: Option<since::Since>,
    /// Only as many of the last lines of each task, or 'all'
    #[arg(short = 'n', long, value_name = "NUMBER", default_value = "all", value_parser = tail)]
    tail: i64,
    /// Print the time of each line
    #[arg(short, long)]
    timestamps: bool,
    /// A service, by ID, beginning of an ID, or name; or a task, by ID or beginning of an ID
    #[arg(value_name = "SERVICE|TASK")]
    subject: String,
}

/// How far each task's log has been printed.
type Printed = HashMap<String, Timestamp>;

impl Logs {
    /// Prints the logs as they come.
    pub async fn run(self, session: Session) -> Result<(), Failure> {
        let connection = session.connection;
        let mut selector = LogSelector::default();
        let service_id = match subject(&connection, &self.subject).await? {
            Subject::Service(service) => {
                selector.service_ids.push(service.id.clone());
                service.id
            }
            Subject::Task(task) => {
                selector.task_ids.push(task.id);
                task.service_id
            }
        };
        let style = Style {
            with_ids: !self.no_task_ids,
            whole_ids: self.no_trunc,
            resolved: !self.no_resolve,
        };
        let mut labels = match self.raw {
            true => None,
            false => Some(Labels::new(&connection, &service_id, style).await?),
        };
        let mut printed = Printed::new();
        let mut lost_at = None;
        loop {
            let status = match self.subscribe(&connection, &selector, &printed).await {
                Ok(mut stream) => {
                    lost_at = None;
                    match self.print(&mut stream, &mut labels, &mut printed).await? {
                        None => return Ok(()),
                        Some(status) => status,
                    }
                }
                Err(status) => status,
            };
            let lost_at = *lost_at.get_or_insert_with(Instant::now);
            let again = self.follow && is_passing(&status) && lost_at.elapsed() < SILENCE_MAX;
            if !again {
                return Err(self.failure(status, &labels));
            }
            sleep(AGAIN).await;
        }
    }

    async fn subscribe(
        &self,
        connection: &Connection,
        selector: &LogSelector,
        printed: &Printed,
    ) -> Result<Streaming<SubscribeLogsMessage>, Status> {
        // After an interruption it goes on from the task that was printed least far.
        let resumed = printed.values().min_by_key(|t| (t.seconds, t.nanos)).copied();
        let asked = self.since.map(|since| since.timestamp(SystemTime::now()));
        let options = LogSubscriptionOptions {
            streams: Vec::new(),
            follow: self.follow,
            tail: if resumed.is_some() { 0 } else { self.tail },
            since: resumed.or(asked),
        };
        let request =
            SubscribeLogsRequest { selector: Some(selector.clone()), options: Some(options) };
        // No deadline: logs may take as long as they are.
        Ok(connection.logs().subscribe_logs(request).await?.into_inner())
    }

    /// Prints until the stream ends. Gives why, if not because everything was printed.
    async fn print(
        &self,
        stream: &mut Streaming<SubscribeLogsMessage>,
        labels: &mut Option<Labels>,
        printed: &mut Printed,
    ) -> Result<Option<Status>, Failure> {
        // What was printed before an interruption comes again, and is left out.
        let mut known = printed.clone();
        loop {
            let messages = match stream.message().await {
                Ok(Some(message)) => message.messages,
                Ok(None) => return Ok(None),
                Err(status) => return Ok(Some(status)),
            };
            let (mut out, mut err) = (Vec::new(), Vec::new());
            for message in &messages {
                if is_notice(message) {
                    let text = one_line(&String::from_utf8_lossy(&message.data));
                    err.extend(format!("Warning: {}\n", with_names(&text, labels)).bytes());
                    // So does what a node said before, when it is back.
                    known.clone_from(printed);
                    continue;
                }
                let task = message.context.as_ref().map(|c| c.task_id.as_str()).unwrap_or_default();
                if let Some(at) = message.timestamp {
                    let moment = |t: &Timestamp| (t.seconds, t.nanos);
                    if known.get(task).is_some_and(|last| moment(last) >= moment(&at)) {
                        continue;
                    }
                    if printed.len() < TASKS_REMEMBERED_MAX || printed.contains_key(task) {
                        printed.insert(task.to_owned(), at);
                    }
                }
                let label = match labels {
                    Some(labels) => labels.of(message).await,
                    None => String::new(),
                };
                let to = match message.stream() {
                    LogStream::Stderr => &mut err,
                    LogStream::Stdout | LogStream::Unknown => &mut out,
                };
                self.write(message, &label, to);
            }
            io::stdout().lock().write_all(&out)?;
            io::stdout().lock().flush()?;
            // Nobody may be left to read it.
            let _ = io::stderr().lock().write_all(&err);
        }
    }

    fn write(&self, message: &LogMessage, label: &str, to: &mut Vec<u8>) {
        if let (true, Some(at)) = (self.timestamps, &message.timestamp) {
            to.extend(format!("{at} ").bytes());
        }
        to.extend(label.bytes());
        if self.details && !message.attrs.is_empty() {
            let pairs: Vec<String> =
                message.attrs.iter().map(|a| format!("{}={}", a.key, a.value)).collect();
            to.extend(format!("{} ", pairs.join(",")).bytes());
        }
        to.extend(message.data.strip_suffix(b"\n").unwrap_or(&message.data));
        to.push(b'\n');
    }

    fn failure(&self, status: Status, labels: &Option<Labels>) -> Failure {
        match status.message().split_once(INCOMPLETE) {
            Some((_, why)) => {
                let why = one_line(why);
                let begin = "some logs could not be retrieved for the following reasons:";
                let why = with_names(why.trim_start_matches(begin).trim(), labels);
                Failure::IncompleteLogs { name: self.subject.clone(), why }
            }
            None => Failure::call(format!("read the logs of {}", self.subject))(status),
        }
    }
}

/// More tasks than a service of ours has; beyond it lines may come twice after an interruption.
const TASKS_REMEMBERED_MAX: usize = 1_000_000;

/// What the managers say of nodes, with their names where lines are printed with names.
fn with_names(text: &str, labels: &Option<Labels>) -> String {
    labels.as_ref().map_or_else(|| text.to_owned(), |labels| labels.with_names(text))
}

/// The wire counts from the end by negative numbers, one further: -1 is no line, -2 the last one; 0 is all.
fn tail(text: &str) -> Result<i64, String> {
    if text == "all" {
        return Ok(0);
    }
    let count: Option<i64> = text.parse().ok().filter(|count| *count >= 0);
    count.map(|count| -count - 1).ok_or_else(|| "write a number of lines, or all".into())
}

/// Whether it is worth asking again: there is no leader for a moment.
fn is_passing(status: &Status) -> bool {
    let passing = matches!(
        status.code(),
        Code::Unavailable | Code::Aborted | Code::Cancelled | Code::Unknown
    );
    passing && !status.message().contains(INCOMPLETE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_counted_from_the_end() {
        assert_eq!((tail("all"), tail("0"), tail("10")), (Ok(0), Ok(-1), Ok(-11)));
        assert!(tail("-1").is_err() && tail("x").is_err());
    }
}
