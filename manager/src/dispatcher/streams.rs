//! The streams of a session: each wakes when something concerns it, looks at the store, and says what is.

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use skep_proto::swarmkit::{AssignmentsMessage, Meta, Node, SessionMessage, TasksMessage};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};
use tonic::Status;

use super::{
    assignment_set,
    leadership::Leadership,
    message::Common,
    sessions::{End, Session, Signal},
    timing::{ASSIGNMENT_BATCH_DELAY, KEYS_WAIT_MAX},
};

/// What a stream yields.
pub(super) type Messages<T> = BoxStream<'static, Result<T, Status>>;

struct SessionStream {
    leadership: Arc<Leadership>,
    session: Arc<Session>,
    signal: watch::Receiver<Signal>,
    common: watch::Receiver<Arc<Common>>,
    // Version of the node object, and what was common to all, in the last message.
    sent: Option<(Option<u64>, Arc<Common>)>,
    over: Option<End>,
}

/// A session's messages: one at once, and one whenever the node object, the managers, the keys or the root changed; at
/// last the reason why it ended.
pub(super) fn session(
    leadership: Arc<Leadership>,
    session: Arc<Session>,
) -> Messages<SessionMessage> {
    let (signal, common) = (session.signal(), leadership.common.subscribe());
    let state = SessionStream { leadership, session, signal, common, sent: None, over: None };
    stream::unfold(Some(state), |state| async { state?.next().await }).boxed()
}

impl SessionStream {
    async fn next(mut self) -> Option<(Result<SessionMessage, Status>, Option<SessionStream>)> {
        if let Some(end) = self.over {
            return Some((Err(end.into()), None));
        }
        if self.sent.is_none() {
            // A cluster that is being created has no network keys for a moment, and engines fail without them.
            let keys = self.common.wait_for(|common| !common.keys.is_empty());
            let _ = timeout(KEYS_WAIT_MAX, keys).await;
        }
        loop {
            let end = self.signal.borrow_and_update().end;
            let common = self.common.borrow_and_update().clone();
            let view = self.leadership.store.view();
            let node = view.get::<Node>(&self.session.node);
            match (end, node) {
                (None, Some(node)) => {
                    let looked_at = (version(node.meta.as_ref()), common.clone());
                    if self.sent.as_ref() != Some(&looked_at) {
                        let message = common.message(&self.session.id, node);
                        self.sent = Some(looked_at);
                        return Some((Ok(message), Some(self)));
                    }
                }
                // The agent hears once more who the managers are before it looks for another.
                (Some(End::Stopped), Some(node)) => {
                    let message = common.message(&self.session.id, node);
                    self.over = Some(End::Stopped);
                    return Some((Ok(message), Some(self)));
                }
                (Some(end), _) => return Some((Err(end.into()), None)),
                (None, None) => return Some((Err(End::NotRegistered.into()), None)),
            }
            drop(view);
            // The senders live as long as what this stream holds.
            tokio::select! {
                _ = self.signal.changed() => {}
                _ = self.common.changed() => {}
            }
        }
    }
}

fn version(meta: Option<&Meta>) -> Option<u64> {
    meta?.version.as_ref().map(|version| version.index)
}

/// Follows what is assigned to a session's node. Each step yields the number of the message that is to be sent now; an
/// error ends it.
struct Assigned {
    leadership: Arc<Leadership>,
    session: Arc<Session>,
    signal: watch::Receiver<Signal>,
    number: u64,
    seen: u64,
}

impl Assigned {
    fn new(leadership: Arc<Leadership>, session: Arc<Session>) -> Assigned {
        let signal = session.signal();
        Assigned { leadership, session, signal, number: 0, seen: 0 }
    }

    async fn next(&mut self) -> Result<u64, Status> {
        if self.number == 0 {
            // An agent stops every task that is missing from its first set: never serve it from a store that is behind.
            self.leadership.write(self.session.node, None).await?;
        }
        loop {
            let signal = *self.signal.borrow_and_update();
            if let Some(end) = signal.end {
                return Err(end.into());
            }
            if self.number == 0 || signal.assignments != self.seen {
                self.seen = signal.assignments;
                self.number += 1;
                return Ok(self.number);
            }
            // The sender lives as long as the session that this holds.
            let _ = self.signal.changed().await;
            let changed = *self.signal.borrow();
            if changed.end.is_none() && changed.assignments != self.seen {
                sleep(ASSIGNMENT_BATCH_DELAY).await;
            }
        }
    }

    /// Messages made of the store's state, one at each step.
    fn into_messages<T: Send + 'static>(
        self,
        compose: impl Fn(&Assigned) -> T + Clone + Send + 'static,
    ) -> Messages<T> {
        stream::unfold(Some(self), move |state| {
            let compose = compose.clone();
            async move {
                let mut state = state?;
                match state.next().await {
                    Ok(_) => Some((Ok(compose(&state)), Some(state))),
                    Err(status) => Some((Err(status), None)),
                }
            }
        })
        .boxed()
    }
}

/// What is assigned to the session's node: the whole set at once, and again whenever it changed.
pub(super) fn assignments(
    leadership: Arc<Leadership>,
    session: Arc<Session>,
) -> Messages<AssignmentsMessage> {
    Assigned::new(leadership, session).into_messages(|assigned| {
        let view = assigned.leadership.store.view();
        assignment_set::complete(&view, &assigned.session.node, assigned.number)
    })
}

/// The tasks of the session's node, for agents that know nothing else.
pub(super) fn tasks(leadership: Arc<Leadership>, session: Arc<Session>) -> Messages<TasksMessage> {
    Assigned::new(leadership, session).into_messages(|assigned| {
        let view = assigned.leadership.store.view();
        TasksMessage { tasks: assignment_set::tasks(&view, &assigned.session.node) }
    })
}
