//! The log of a simulated task: lines that follow from when it ran, made when somebody asks. None is ever stored.

use std::{
    collections::BTreeSet,
    sync::{Arc, Weak},
    time::{Duration, SystemTime},
};

use futures::{
    StreamExt as _,
    stream::{self, BoxStream, SelectAll},
};
use skep_proto::{
    ids::TaskId,
    swarmkit::{LogContext, LogMessage, LogSelector, LogStream, LogSubscriptionOptions},
};
use tokio::{
    sync::watch,
    time::{Instant, sleep_until},
};

use super::node::{LogOf, SimulatedNode};

/// Every so many lines one goes to the standard error.
const ERROR_LINE_EVERY: u64 = 10;
/// How often a task that does not run yet, or no more, is looked at by who follows its log.
const LOOK_INTERVAL: Duration = Duration::from_millis(500);

/// What is asked of each log.
#[derive(Clone, Copy)]
struct Wanted {
    follow: bool,
    since: Option<SystemTime>,
    /// How many of the lines that are there; none: all.
    tail: Option<u64>,
    stdout: bool,
    stderr: bool,
}

impl Wanted {
    fn of(options: &LogSubscriptionOptions) -> Wanted {
        let wants = |stream: LogStream| {
            options.streams.is_empty() || options.streams.contains(&stream.into())
        };
        Wanted {
            follow: options.follow,
            since: options.since.and_then(|since| SystemTime::try_from(since).ok()),
            // On the wire 0 is all, and −n − 1 is the last n.
            tail: (options.tail < 0).then(|| (options.tail + 1).unsigned_abs()),
            stdout: wants(LogStream::Stdout),
            stderr: wants(LogStream::Stderr),
        }
    }
}

/// The logs of the tasks that are selected, and with `follow` of those that come later too.
pub(super) fn stream(
    node: Weak<SimulatedNode>,
    selector: LogSelector,
    options: &LogSubscriptionOptions,
) -> BoxStream<'static, LogMessage> {
    let wanted = Wanted::of(options);
    let Some(present) = node.upgrade() else { return stream::empty().boxed() };
    let arrivals = present.arrivals();
    let mut logs =
        Logs { node, selector, wanted, seen: BTreeSet::new(), streams: SelectAll::new() };
    logs.add(&present);
    if !wanted.follow {
        return logs.streams.boxed();
    }
    stream::unfold((logs, arrivals), async |(mut logs, mut arrivals)| {
        let message = logs.next(&mut arrivals).await?;
        Some((message, (logs, arrivals)))
    })
    .boxed()
}

struct Logs {
    node: Weak<SimulatedNode>,
    selector: LogSelector,
    wanted: Wanted,
    seen: BTreeSet<TaskId>,
    streams: SelectAll<BoxStream<'static, LogMessage>>,
}

impl Logs {
    fn add(&mut self, node: &Arc<SimulatedNode>) {
        for task in node.selected(&self.selector) {
            if self.seen.insert(task) {
                let log = Log { node: self.node.clone(), task, wanted: self.wanted, next: None };
                self.streams.push(stream::unfold(log, Log::next).boxed());
            }
        }
    }

    async fn next(&mut self, arrivals: &mut watch::Receiver<u64>) -> Option<LogMessage> {
        loop {
            tokio::select! {
                Some(message) = self.streams.next() => return Some(message),
                changed = arrivals.changed() => {
                    changed.ok()?;
                    let node = self.node.upgrade()?;
                    self.add(&node);
                }
            }
        }
    }
}

struct Log {
    node: Weak<SimulatedNode>,
    task: TaskId,
    wanted: Wanted,
    /// The number of the next line; none before the first.
    next: Option<u64>,
}

impl Log {
    async fn next(mut self) -> Option<(LogMessage, Log)> {
        loop {
            let node = self.node.upgrade()?;
            let log = node.log_of(self.task)?;
            let now = Instant::now();
            let Some(ran) = log.ran else {
                if log.ended || !self.wanted.follow {
                    return None;
                }
                drop(node);
                tokio::time::sleep(LOOK_INTERVAL).await;
                continue;
            };
            let last = ran.until.unwrap_or(now).duration_since(ran.since);
            let there = lines_within(last, log.interval);
            let number = *self.next.get_or_insert_with(|| first(&self.wanted, &log, there));
            if number < there {
                self.next = Some(number + 1);
                if let Some(message) = self.message(node.id(), &log, number) {
                    return Some((message, self));
                }
                continue;
            }
            if !self.wanted.follow || ran.until.is_some() {
                return None;
            }
            drop(node);
            let line = ran.since + at(number, log.interval);
            sleep_until(line.min(now + LOOK_INTERVAL)).await;
        }
    }

    fn message(&self, node_id: &str, log: &LogOf, number: u64) -> Option<LogMessage> {
        let error = number % ERROR_LINE_EVERY == ERROR_LINE_EVERY - 1;
        if !(if error { self.wanted.stderr } else { self.wanted.stdout }) {
            return None;
        }
        let stream = if error { LogStream::Stderr } else { LogStream::Stdout };
        let since = log.ran?.since_wall;
        let info = &log.info;
        Some(LogMessage {
            context: Some(LogContext {
                service_id: info.service_id.clone(),
                node_id: node_id.to_owned(),
                task_id: info.id.to_string(),
            }),
            timestamp: Some((since + at(number, log.interval)).into()),
            stream: stream.into(),
            data: format!("{}.{} line {}\n", info.service_name, info.slot, number + 1).into(),
            attrs: Vec::new(),
        })
    }
}

/// Lines are printed at once, and then after every interval.
fn lines_within(time: Duration, interval: Duration) -> u64 {
    u64::try_from(time.as_nanos() / interval.as_nanos().max(1)).unwrap_or(u64::MAX - 1) + 1
}

/// When a line is printed, after the start.
fn at(number: u64, interval: Duration) -> Duration {
    Duration::from_nanos(
        u64::try_from(interval.as_nanos()).unwrap_or(u64::MAX).saturating_mul(number),
    )
}

/// The number of the first line that is wanted, of those that are there.
fn first(wanted: &Wanted, log: &LogOf, there: u64) -> u64 {
    let old = match (wanted.since, log.ran) {
        (Some(since), Some(ran)) => match since.duration_since(ran.since_wall) {
            // The first line that is not before it.
            Ok(skip) if !skip.is_zero() => {
                lines_within(skip - Duration::from_nanos(1), log.interval)
            }
            _ => 0,
        },
        _ => 0,
    };
    wanted.tail.map_or(old, |tail| old.max(there.saturating_sub(tail)))
}
