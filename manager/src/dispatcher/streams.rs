//! The stream of a session: it wakes when something concerns its node, looks at the store, and says what is.

use std::sync::Arc;

use futures::{StreamExt, stream, stream::BoxStream};
use skep_proto::swarmkit::{Meta, Node, SessionMessage};
use tokio::{sync::watch, time::timeout};
use tonic::Status;

use super::{
    leadership::Leadership,
    message::Common,
    sessions::{End, Session, Signal},
    timing::KEYS_WAIT_MAX,
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
                        self.session.balancers.lock().tell(node);
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
