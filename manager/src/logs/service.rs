//! The services Logs, for clients, and LogBroker, for nodes.

use std::{sync::Arc, time::Duration};

use futures::{StreamExt as _, stream, stream::BoxStream};
use prost::Message as _;
use skep_proto::{
    ids::{Id, NodeId},
    swarmkit::{
        ListenSubscriptionsRequest, PublishLogsMessage, PublishLogsResponse, SubscribeLogsMessage,
        SubscribeLogsRequest, SubscriptionMessage, log_broker_server, logs_server,
    },
};
use tokio::{sync::mpsc, time::sleep};
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::{
    LogBroker,
    selection::Selection,
    sources::Sources,
    term::{Listener, Queued, Subscription, Term},
};
use crate::dispatcher::calling_node;

/// Bytes after which a message to the client is sent, though more wait: four of them are far below what clients take.
const MESSAGE_BYTES_MAX: usize = 256 << 10;

/// How long after what may be the end of a node's stream its reset may come, also by way of another manager. The request
/// reads as if it had ended well in both cases, and a part must not be taken for the whole.
const RESET_WITHIN: Duration = Duration::from_millis(200);

type Stream<T> = BoxStream<'static, Result<T, Status>>;

#[async_trait]
impl logs_server::Logs for LogBroker {
    type SubscribeLogsStream = Stream<SubscribeLogsMessage>;

    async fn subscribe_logs(
        &self,
        request: Request<SubscribeLogsRequest>,
    ) -> Result<Response<Self::SubscribeLogsStream>, Status> {
        let SubscribeLogsRequest { selector, options } = request.into_inner();
        Selection::of(selector.as_ref())?;
        let term = self.term().await?;
        let (subscription, queued) =
            term.subscribe(selector.unwrap_or_default(), options.unwrap_or_default())?;
        let reading = Reading { term, subscription, queued };
        Ok(Response::new(stream::unfold(Some(reading), Reading::step).boxed()))
    }
}

/// A client's open subscription. Closed when it is dropped.
struct Reading {
    term: Arc<Term>,
    subscription: Arc<Subscription>,
    queued: mpsc::Receiver<Queued>,
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.term.unsubscribe(&self.subscription);
    }
}

impl Reading {
    async fn step(
        reading: Option<Reading>,
    ) -> Option<(Result<SubscribeLogsMessage, Status>, Option<Reading>)> {
        let mut reading = reading?;
        match reading.next().await {
            Some(Ok(message)) => Some((Ok(message), Some(reading))),
            Some(Err(status)) => Some((Err(status), None)),
            None => None,
        }
    }

    async fn next(&mut self) -> Option<Result<SubscribeLogsMessage, Status>> {
        loop {
            let deadline = self.subscription.look(|sources| {
                sources.expire(self.term.now());
                match sources.is_complete() {
                    true => Err(sources.missing_text()),
                    false => Ok(sources.next_deadline()),
                }
            });
            let deadline = match deadline {
                Ok(deadline) => deadline,
                // A node has said all only after all it said was queued.
                Err(missing) => match self.queued.try_recv() {
                    Ok(first) => return Some(Ok(self.message(first))),
                    Err(_) => return missing.map(|text| Err(Status::unknown(text))),
                },
            };
            let wait = deadline.map(|until| until.saturating_sub(self.term.now()));
            let notices = self.term.notices(&self.subscription);
            if !notices.is_empty() {
                // After what the node said before.
                let before = self.queued.try_recv();
                let mut message = before.map_or_else(|_| Default::default(), |m| self.message(m));
                message.messages.extend(notices);
                return Some(Ok(message));
            }
            let expired = async {
                match wait {
                    Some(wait) => sleep(wait).await,
                    None => std::future::pending().await,
                }
            };
            // Looked at above, before what it now waits for.
            tokio::select! {
                biased;
                () = self.term.over.cancelled() => return Some(Err(Status::unavailable(
                    "the manager that gathered the logs does not lead any more; ask again for what is missing",
                ))),
                Some(first) = self.queued.recv() => return Some(Ok(self.message(first))),
                () = self.subscription.changed.notified() => {}
                () = expired => {}
            }
        }
    }

    /// What has come so far, in one message.
    fn message(&mut self, first: Queued) -> SubscribeLogsMessage {
        let mut message = SubscribeLogsMessage { messages: first.messages };
        while message.encoded_len() < MESSAGE_BYTES_MAX
            && let Ok(next) = self.queued.try_recv()
        {
            message.messages.extend(next.messages);
        }
        message
    }
}

#[async_trait]
impl log_broker_server::LogBroker for LogBroker {
    type ListenSubscriptionsStream = Stream<SubscriptionMessage>;

    async fn listen_subscriptions(
        &self,
        request: Request<ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let (node, _) = calling_node(&request)?;
        let term = self.term().await?;
        let listener = term.listen(node);
        let listening = Listening { term, node, listener };
        Ok(Response::new(stream::unfold(Some(listening), Listening::step).boxed()))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<PublishLogsMessage>>,
    ) -> Result<Response<PublishLogsResponse>, Status> {
        let (node, _) = calling_node(&request)?;
        let term = self.term().await?;
        let messages = request.into_inner();
        publish(&term, node, messages).await?;
        Ok(Response::new(PublishLogsResponse {}))
    }
}

/// A node that listens. It does so no more when this is dropped.
struct Listening {
    term: Arc<Term>,
    node: NodeId,
    listener: Arc<Listener>,
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.term.unlisten(&self.node, &self.listener);
    }
}

impl Listening {
    async fn step(
        listening: Option<Listening>,
    ) -> Option<(Result<SubscriptionMessage, Status>, Option<Listening>)> {
        let listening = listening?;
        let message = tokio::select! {
            biased;
            () = listening.term.over.cancelled() => None,
            message = listening.listener.next() => message,
        };
        match message {
            Some(message) => Some((Ok(message), Some(listening))),
            None => Some((Err(Status::aborted("node must disconnect")), None)),
        }
    }
}

/// Takes what one node has to say about one subscription.
pub(super) async fn publish(
    term: &Term,
    node: NodeId,
    mut messages: impl futures::Stream<Item = Result<PublishLogsMessage, Status>> + Unpin,
) -> Result<(), Status> {
    let mut source: Option<Publishing> = None;
    loop {
        let message = tokio::select! {
            message = messages.next() => message,
            () = term.over.cancelled() => {
                return Err(Status::unavailable("this manager does not lead any more"));
            }
        };
        let message = match message {
            Some(Ok(message)) => message,
            Some(Err(status)) => {
                if let Some(source) = source {
                    source.lost(&format!("stopped in the middle: {}", status.message()));
                }
                return Err(status);
            }
            None => {
                // Old engines end without saying so. A stream that was reset looks the same, and is dropped here.
                sleep(RESET_WITHIN).await;
                if let Some(source) = source {
                    source.done();
                }
                return Ok(());
            }
        };
        if message.subscription_id.is_empty() {
            return Err(Status::invalid_argument("missing subscription ID"));
        }
        let current = match &source {
            None => source.insert(Publishing::begin(term, node, &message.subscription_id)?),
            Some(current) if current.id.as_str() != message.subscription_id => {
                return Err(Status::invalid_argument(
                    "different subscription IDs in the same session",
                ));
            }
            Some(current) => current,
        };
        if message.close {
            if let Some(source) = source {
                source.done();
            }
            return Ok(());
        }
        let view = term.store.view();
        for message in &message.messages {
            current.subscription.selection.admits(&view, &node, message.context.as_ref())?;
        }
        drop(view);
        let bytes = message.encoded_len();
        tokio::select! {
            queued = current.subscription.queue(message.messages, bytes) => queued?,
            () = term.over.cancelled() => {}
        }
    }
}

/// A node that speaks about a subscription. When it is dropped before it is done, the rest is missing.
struct Publishing {
    node: NodeId,
    /// The id by which the node was told of it.
    id: Id,
    subscription: Arc<Subscription>,
    /// It was said how it ended.
    ended: bool,
}

impl Publishing {
    fn begin(term: &Term, node: NodeId, id: &str) -> Result<Publishing, Status> {
        let unknown = || Status::not_found("unknown subscription ID");
        let id: Id = id.parse().map_err(|_| unknown())?;
        let subscription = term.subscription(&id, &node).ok_or_else(unknown)?;
        subscription.sources(|sources| sources.publishing(&node));
        Ok(Publishing { node, id, subscription, ended: false })
    }

    fn done(mut self) {
        let node = self.node;
        self.end(|sources| sources.done(&node));
    }

    fn lost(mut self, how: &str) {
        let node = self.node;
        self.end(|sources| sources.lost(&node, how));
    }

    /// What becomes of an earlier stream tells nothing once the node was told again.
    fn end(&mut self, change: impl FnOnce(&mut Sources)) {
        self.ended = true;
        self.subscription.sources(|sources| {
            if sources.id_for(&self.node).unwrap_or(self.subscription.id) == self.id {
                change(sources);
            }
        });
    }
}

impl Drop for Publishing {
    fn drop(&mut self) {
        if !self.ended {
            let node = self.node;
            self.end(|sources| sources.lost(&node, "disconnected unexpectedly"));
        }
    }
}
