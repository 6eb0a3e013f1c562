//! The node's part in reading logs: it learns what somebody wants to read, and sends what its tasks have printed.
//!
//! Logs are a convenience: whatever goes wrong here ends a subscription, never the session.

use std::{
    collections::HashMap,
    convert::Infallible,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use futures::{
    FutureExt as _, Stream, StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream, FuturesUnordered},
};
use skep_proto::swarmkit::{
    ListenSubscriptionsRequest, LogMessage, PublishLogsMessage, SubscriptionMessage,
    log_broker_client::LogBrokerClient,
};
use tokio::{sync::oneshot, time::sleep};
use tonic::{Code, Status, Streaming, transport::Channel};

use crate::executor::Executor;

/// How long to wait before asking again for subscriptions: a manager that has just become leader needs a moment.
const LISTEN_INTERVAL: Duration = Duration::from_secs(1);
/// The same after many refusals, each of which doubles it: thousands of nodes ask.
const LISTEN_INTERVAL_MAX: Duration = Duration::from_secs(32);
/// Subscriptions that a node serves at a time; more readers than that get nothing from this node.
const SUBSCRIPTIONS_MAX: usize = 128;
/// Lines in one message: enough to be cheap, and of lines of 16 KiB still below the 4 MiB that a manager takes.
const LINES_PER_MESSAGE_MAX: usize = 128;

/// Serves subscriptions for as long as it is polled. Safe to drop: readers are told that the node is gone.
pub(crate) async fn serve(executor: &dyn Executor, channel: Channel) -> Infallible {
    let mut interval = LISTEN_INTERVAL;
    loop {
        let mut client = LogBrokerClient::new(channel.clone());
        let ended = match client.listen_subscriptions(ListenSubscriptionsRequest {}).await {
            Ok(subscriptions) => {
                interval = LISTEN_INTERVAL;
                listen(executor, client, subscriptions.into_inner()).await
            }
            Err(status) if status.code() == Code::Unimplemented => {
                tracing::debug!("the manager has no log broker");
                std::future::pending().await
            }
            Err(status) => Err(status),
        };
        if let Err(status) = ended {
            tracing::debug!(%status, "no log subscriptions; asking again");
        }
        sleep(interval).await;
        interval = (interval * 2).min(LISTEN_INTERVAL_MAX);
    }
}

/// A subscription that ended, by its id.
type Publishing = BoxFuture<'static, String>;

async fn listen(
    executor: &dyn Executor,
    client: LogBrokerClient<Channel>,
    mut subscriptions: Streaming<SubscriptionMessage>,
) -> Result<(), Status> {
    // Dropping the sender ends a subscription.
    let mut open: HashMap<String, oneshot::Sender<Infallible>> = HashMap::new();
    let mut publishing: FuturesUnordered<Publishing> = FuturesUnordered::new();
    loop {
        tokio::select! {
            message = subscriptions.message() => match message? {
                None => return Ok(()),
                Some(message) if message.close => drop(open.remove(&message.id)),
                Some(message) if open.contains_key(&message.id) => {}
                Some(message) if open.len() >= SUBSCRIPTIONS_MAX => {
                    tracing::warn!(subscription = message.id, "too many readers of logs");
                }
                Some(message) => {
                    let (stop, stopped) = oneshot::channel();
                    open.insert(message.id.clone(), stop);
                    publishing.push(publish(executor, client.clone(), message, stopped));
                }
            },
            Some(id) = publishing.next() => drop(open.remove(&id)),
        }
    }
}

fn publish(
    executor: &dyn Executor,
    client: LogBrokerClient<Channel>,
    subscription: SubscriptionMessage,
    stopped: oneshot::Receiver<Infallible>,
) -> Publishing {
    let SubscriptionMessage { id, selector, options, .. } = subscription;
    let lines = executor.logs(&selector.unwrap_or_default(), &options.unwrap_or_default());
    let message = {
        let id = id.clone();
        move |messages: Vec<LogMessage>, close| PublishLogsMessage {
            subscription_id: id.clone(),
            messages,
            close,
        }
    };
    let last = message(Vec::new(), true);
    let messages = lines
        .ready_chunks(LINES_PER_MESSAGE_MAX)
        .take_until(stopped)
        .map(move |lines| message(lines, false))
        .chain(stream::iter([last]))
        .boxed();
    send(client, id, Messages(messages)).boxed()
}

/// What a subscription sends. A type with a name: the compiler cannot see that a call with the bare stream is `Send`.
struct Messages(BoxStream<'static, PublishLogsMessage>);

impl Stream for Messages {
    type Item = PublishLogsMessage;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_next_unpin(cx)
    }
}

async fn send(mut client: LogBrokerClient<Channel>, id: String, messages: Messages) -> String {
    if let Err(status) = client.publish_logs(messages).await {
        tracing::debug!(%status, subscription = id, "a log is read no more");
    }
    id
}

#[cfg(test)]
mod tests;
