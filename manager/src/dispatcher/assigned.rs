//! The stream of a node's assignments: everything once, then what changed.
//!
//! A change is sent at once when nothing was sent for a while and no wave is on its way ([`super::wave`]), and what follows
//! it closely is gathered into the next message. So a lone change does not wait, and a wave does not become a message per task: how long is gathered grows with
//! the number of sessions, since together they are to cost a bounded share of the leader.

use std::sync::Arc;

use futures::{StreamExt, stream};
use skep_proto::swarmkit::{AssignmentsMessage, TasksMessage};
use skep_store::View;
use tokio::{
    sync::watch,
    time::{Instant, sleep_until, timeout_at},
};
use tonic::Status;

use super::{
    assignment_set::{self, AssignmentSet},
    follower::{Dirty, Follower},
    held::Held,
    leadership::Leadership,
    sessions::{Session, Signal},
    streams::Messages,
    timing::{HELD_LOOKED_AT, gathering},
};

/// Follows what is assigned to a session's node.
struct Assigned {
    leadership: Arc<Leadership>,
    session: Arc<Session>,
    signal: watch::Receiver<Signal>,
    follower: Arc<Follower>,
    /// What the last message had no room for.
    left: Dirty,
    /// When the last message was handed over; none before the first.
    sent: Option<Instant>,
}

impl Drop for Assigned {
    fn drop(&mut self) {
        self.session.unfollow(&self.follower);
    }
}

impl Assigned {
    fn new(leadership: Arc<Leadership>, session: Arc<Session>) -> Assigned {
        let (signal, follower) = (session.signal(), session.follow());
        Assigned { leadership, session, signal, follower, left: Dirty::default(), sent: None }
    }

    /// Waits until there may be something to send: all of it at first, and then what is different. An error ends the
    /// stream.
    async fn next(&mut self) -> Result<(View, Dirty), Status> {
        let Some(sent) = self.sent else {
            // An agent stops every task that is missing from its first set: never serve it from a store that is behind.
            self.leadership.write(self.session.node, None).await?;
            self.go_on()?;
            // What is touched from now on may be in the view already; versions tell.
            self.follower.take();
            return Ok((self.leadership.store.view(), Dirty::default()));
        };
        if self.left.is_empty() {
            let held = (!self.left.held.is_empty()).then(|| Instant::now() + HELD_LOOKED_AT);
            self.woken(held, true).await?;
            let gathering = gathering(self.leadership.sessions.len());
            let now = Instant::now();
            let until = match self.leadership.wave.lock().is_high(self.leadership.now()) {
                true => now + gathering,
                false => sent + gathering,
            };
            if now < until {
                self.woken(Some(until), false).await?;
            }
        }
        self.go_on()?;
        let mut dirty = self.follower.take();
        dirty.add(std::mem::take(&mut self.left));
        Ok((self.leadership.store.view(), dirty))
    }

    /// Waits for a moment to come or, if that counts, until something was touched; in either case no longer than the session
    /// lasts.
    async fn woken(&mut self, until: Option<Instant>, touched: bool) -> Result<(), Status> {
        let Assigned { signal, follower, .. } = self;
        let waited = async {
            match until {
                None => follower.woken().await,
                Some(until) if touched => drop(timeout_at(until, follower.woken()).await),
                Some(until) => sleep_until(until).await,
            }
        };
        tokio::pin!(waited);
        loop {
            tokio::select! {
                () = &mut waited => return Ok(()),
                // The sender lives as long as the session that this holds.
                _ = signal.changed() => if let Some(end) = signal.borrow_and_update().end {
                    return Err(end.into());
                },
            }
        }
    }

    fn go_on(&mut self) -> Result<(), Status> {
        if let Some(end) = self.signal.borrow_and_update().end {
            return Err(end.into());
        }
        match self.follower.is_replaced() {
            true => {
                Err(Status::aborted("another stream of assignments was opened in this session"))
            }
            false => Ok(()),
        }
    }
}

/// Messages that are made of the store's state whenever something was touched. Ends after the first error.
fn messages<T: Send + 'static, S: Send + 'static>(
    assigned: Assigned,
    sent: S,
    compose: fn(&mut S, &View, &mut Dirty, bool) -> Option<T>,
) -> Messages<T> {
    stream::unfold(Some((assigned, sent)), move |state| async move {
        let (mut assigned, mut sent) = state?;
        loop {
            let first = assigned.sent.is_none();
            let (view, mut dirty) = match assigned.next().await {
                Ok(next) => next,
                Err(status) => return Some((Err(status), None)),
            };
            let message = compose(&mut sent, &view, &mut dirty, first);
            assigned.left = dirty;
            if let Some(message) = message {
                if !first {
                    assigned.leadership.wave.lock().sent(assigned.leadership.now());
                }
                assigned.sent = Some(Instant::now());
                return Some((Ok(message), Some((assigned, sent))));
            }
        }
    })
    .boxed()
}

/// What is assigned to the session's node: the whole set at once, then what changed.
pub(super) fn assignments(
    leadership: Arc<Leadership>,
    session: Arc<Session>,
) -> Messages<AssignmentsMessage> {
    let set = AssignmentSet::new(session.node);
    let sent = (set, Held::new(session.clone()), leadership.metrics.clone());
    messages(
        Assigned::new(leadership, session),
        sent,
        |(set, held, metrics), view, dirty, first| {
            let message = match first {
                true => Some(set.complete(view)),
                false => set.incremental(view, dirty, |id, task| held.holds(id, task)),
            };
            held.keep(|id| dirty.held.contains_key(id));
            if let Some(message) = &message {
                metrics.assignment_messages.inc();
                metrics.assignment_changes.inc_by(message.changes.len() as u64);
            }
            message
        },
    )
}

/// The tasks of the session's node, whole each time, for agents that know nothing else.
pub(super) fn tasks(leadership: Arc<Leadership>, session: Arc<Session>) -> Messages<TasksMessage> {
    let node = session.node;
    messages(Assigned::new(leadership, session), node, |node, view, dirty, _| {
        *dirty = Dirty::default();
        Some(TasksMessage { tasks: assignment_set::tasks(view, node) })
    })
}
