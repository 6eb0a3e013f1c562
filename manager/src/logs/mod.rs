//! Logs of tasks: from the nodes that hold them to the client that asked.
//!
//! ```text
//!   client ── SubscribeLogs ──▶ subscription ──▶ ListenSubscriptions ──▶ nodes with tasks of it
//!          ◀── messages ─────── bounded queue ◀── PublishLogs ──────────
//! ```
//!
//! Everything lives on the leader and ends with its leadership. What is decided is decided in pure modules: `selection`
//! (which tasks are meant, and who may speak of them) and `sources` (who is waited for, for how long, and what is missing
//! in the end). `term` holds the open subscriptions and listeners, `service` speaks to clients and nodes.
//!
//! A client that does not follow is told what is missing when everything else was sent. One that follows is told in the
//! middle of its stream (`notice`), once when a node goes and once when it is back.
//!
//! A client that reads slowly slows the nodes down: each subscription holds a bounded number of bytes, and beyond it
//! nothing more is read from the nodes.

mod notice;
mod selection;
mod service;
mod sources;
mod term;
#[cfg(test)]
mod tests;

use std::{sync::Arc, time::Duration};

use rand::{SeedableRng as _, rngs::StdRng};
use skep_ca::Clock;
use skep_store::Store;
use tokio::{sync::watch, time::timeout};
use tonic::Status;

use self::term::Term;

/// How long a call waits for the broker of a leader that has just been elected.
const BEGIN_WITHIN: Duration = Duration::from_secs(2);

/// The services Logs and LogBroker. Cheap to clone; clones are one broker. Expects the [`skep_api::Caller`] of each
/// request in its extensions.
#[derive(Clone)]
pub struct LogBroker {
    store: Store,
    clock: Clock,
    term: watch::Sender<Option<Arc<Term>>>,
}

impl LogBroker {
    /// A broker that is stopped until [`run`] runs.
    pub fn new(store: Store, clock: Clock) -> LogBroker {
        LogBroker { store, clock, term: watch::Sender::new(None) }
    }

    /// How many clients are reading logs.
    pub fn subscription_count(&self) -> usize {
        self.term.borrow().as_ref().map_or(0, |term| term.subscription_count())
    }

    async fn term(&self) -> Result<Arc<Term>, Status> {
        let mut terms = self.term.subscribe();
        let begun = timeout(BEGIN_WITHIN, terms.wait_for(Option::is_some)).await;
        let term = begun.ok().and_then(Result::ok).and_then(|term| term.clone());
        term.ok_or_else(|| Status::unavailable("broker is not running: this manager does not lead"))
    }
}

/// Brokers logs while this manager leads: to be started once it leads, one at a time. Never returns; when it is dropped, all
/// streams end with an error that says why.
pub async fn run(broker: LogBroker) {
    let term = Term::begin(broker.store.clone(), broker.clock.clone(), StdRng::from_os_rng());
    let serving = Serving { broker, term };
    serving.broker.term.send_replace(Some(serving.term.clone()));
    serving.term.follow_store().await;
}

/// Ends the streams when the loop does, however that comes about.
struct Serving {
    broker: LogBroker,
    term: Arc<Term>,
}

impl Drop for Serving {
    fn drop(&mut self) {
        self.broker.term.send_replace(None);
        self.term.end();
    }
}
