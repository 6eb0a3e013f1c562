//! Where a node's ticks come from: the trait that the owner of time implements, and time as tokio keeps it.

use std::{
    task::{Context, Poll},
    time::Duration,
};

use tokio::time::{Interval, MissedTickBehavior};

/// The source of a node's ticks.
///
/// Whatever the node does by time (campaigns, heartbeats, giving up) it counts in ticks, so that whoever gives them out
/// owns its time: a test can let hours pass at once, a simulation of many nodes can let them pass in order, and an embedder with
/// a timer wheel of its own needs no other.
pub trait Clock: Send + 'static {
    /// Ready when the next tick is due, of which the node is told once. `length` is how long ticks are now; it may change
    /// ([`Settings::tick`](crate::Settings::tick)), and a tick of another length begins anew. Polled by one task, and
    /// whenever something else has happened too: that must not put the tick off.
    fn poll_tick(&mut self, cx: &mut Context<'_>, length: Duration) -> Poll<()>;
}

/// Ticks by tokio's timer, and so by its paused time in tests that pause it.
#[derive(Debug, Default)]
pub struct TokioClock {
    ticker: Option<(Duration, Interval)>,
}

impl Clock for TokioClock {
    fn poll_tick(&mut self, cx: &mut Context<'_>, length: Duration) -> Poll<()> {
        let (_, ticker) = match &mut self.ticker {
            Some(present) if present.0 == length => present,
            other => other.insert((length, ticker(length))),
        };
        ticker.poll_tick(cx).map(drop)
    }
}

fn ticker(length: Duration) -> Interval {
    let mut ticker = tokio::time::interval(length);
    // After a stall, peers must not see a burst of time.
    ticker.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticker.reset();
    ticker
}
