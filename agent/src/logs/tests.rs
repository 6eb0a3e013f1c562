//! A node in front of a log broker that does as the test says, over real messages through a pipe in memory.

use std::{io, sync::Arc};

use hyper_util::rt::TokioIo;
use skep_proto::swarmkit::{
    LogContext, LogSelector, LogSubscriptionOptions, NodeDescription, PublishLogsResponse,
    log_broker_server::{LogBroker, LogBrokerServer},
};
use tokio::sync::{Mutex, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, async_trait,
    transport::{Endpoint, Server},
};

use super::*;
use crate::{Assignments, Reporter};

const QUEUE: usize = 100;

type Subscriptions = mpsc::Receiver<Result<SubscriptionMessage, Status>>;

/// What a node said, in short.
type Said = mpsc::Receiver<String>;

struct Broker {
    /// One for each call that listens; without one left, calls are refused so.
    listeners: Mutex<Vec<Subscriptions>>,
    refusal: Status,
    said: mpsc::Sender<String>,
}

#[async_trait]
impl LogBroker for Broker {
    type ListenSubscriptionsStream = ReceiverStream<Result<SubscriptionMessage, Status>>;

    async fn listen_subscriptions(
        &self,
        _: Request<ListenSubscriptionsRequest>,
    ) -> Result<Response<Self::ListenSubscriptionsStream>, Status> {
        let _ = self.said.send("listens".into()).await;
        let subscriptions = self.listeners.lock().await.pop();
        let subscriptions = subscriptions.ok_or_else(|| self.refusal.clone())?;
        Ok(Response::new(ReceiverStream::new(subscriptions)))
    }

    async fn publish_logs(
        &self,
        request: Request<Streaming<PublishLogsMessage>>,
    ) -> Result<Response<PublishLogsResponse>, Status> {
        let mut messages = request.into_inner();
        while let Some(message) = messages.message().await? {
            let id = message.subscription_id;
            for line in message.messages {
                let _ = self.said.send(format!("{id} {}", line.context.unwrap().task_id)).await;
            }
            if message.close {
                let _ = self.said.send(format!("{id} ends")).await;
            }
        }
        Ok(Response::new(PublishLogsResponse {}))
    }
}

/// Prints a line for each task that is asked for, and waits for ever after them when it is followed.
struct Printer;

impl Executor for Printer {
    fn describe(&self) -> NodeDescription {
        NodeDescription::default()
    }

    fn assign(&self, _: Assignments, _: &Reporter) {}

    fn logs(
        &self,
        selector: &LogSelector,
        options: &LogSubscriptionOptions,
    ) -> BoxStream<'static, LogMessage> {
        let lines = selector.task_ids.clone().into_iter().map(|task_id| LogMessage {
            context: Some(LogContext { task_id, ..Default::default() }),
            ..Default::default()
        });
        let lines = stream::iter(lines.collect::<Vec<_>>());
        if options.follow { lines.chain(stream::pending()).boxed() } else { lines.boxed() }
    }
}

fn broker(listeners: Vec<Subscriptions>, refusal: Status) -> (Channel, Said) {
    let (sender, said) = mpsc::channel(QUEUE);
    let broker = Broker { listeners: Mutex::new(listeners), refusal, said: sender };
    let server = Server::builder().add_service(LogBrokerServer::new(broker));
    let (ours, theirs) = tokio::io::duplex(1 << 14);
    let (one, incoming) = mpsc::channel::<io::Result<_>>(1);
    one.try_send(Ok(theirs)).expect("there is room for one");
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    let ours = Arc::new(std::sync::Mutex::new(Some(ours)));
    let connector = tower::service_fn(move |_| {
        let end = ours.lock().unwrap().take().ok_or_else(|| io::Error::other("connects once"));
        async move { end.map(TokioIo::new) }
    });
    (Endpoint::from_static("http://broker").connect_with_connector_lazy(connector), said)
}

fn subscription(id: &str, tasks: &[&str], follow: bool) -> SubscriptionMessage {
    let task_ids = tasks.iter().map(|task| (*task).to_owned()).collect();
    SubscriptionMessage {
        id: id.into(),
        selector: Some(LogSelector { task_ids, ..Default::default() }),
        options: Some(LogSubscriptionOptions { follow, ..Default::default() }),
        close: false,
    }
}

async fn hear(said: &mut Said, count: usize) -> Vec<String> {
    let mut heard = Vec::new();
    while heard.len() < count {
        heard.push(said.recv().await.expect("the broker lives"));
    }
    heard
}

#[tokio::test(start_paused = true)]
async fn a_subscription_ends_when_all_is_sent_or_nobody_reads_any_more() {
    let (subscribe, subscriptions) = mpsc::channel(QUEUE);
    let (channel, mut said) = broker(vec![subscriptions], Status::unavailable(""));
    let script = async {
        assert_eq!(hear(&mut said, 1).await, ["listens"]);
        subscribe.send(Ok(subscription("s1", &["a", "b"], false))).await.unwrap();
        assert_eq!(hear(&mut said, 3).await, ["s1 a", "s1 b", "s1 ends"]);
        let followed = subscription("s2", &["a"], true);
        subscribe.send(Ok(followed.clone())).await.unwrap();
        // Told twice, as after a change of the selected nodes.
        subscribe.send(Ok(followed.clone())).await.unwrap();
        assert_eq!(hear(&mut said, 1).await, ["s2 a"]);
        subscribe.send(Ok(SubscriptionMessage { close: true, ..followed })).await.unwrap();
        assert_eq!(hear(&mut said, 1).await, ["s2 ends"]);
    };
    tokio::select! {
        never = serve(&Printer, channel) => match never {},
        () = script => {}
    }
}

#[tokio::test(start_paused = true)]
async fn a_node_asks_again_after_a_while_unless_there_is_no_broker() {
    for (refusal, calls) in
        [(Status::unavailable("not leading"), 5), (Status::unimplemented(""), 1)]
    {
        let (channel, mut said) = broker(vec![], refusal);
        let served = tokio::time::timeout(LISTEN_INTERVAL * 16, serve(&Printer, channel));
        assert!(served.await.is_err(), "it serves for ever");
        let mut listens = 0;
        while said.try_recv().is_ok() {
            listens += 1;
        }
        assert_eq!(listens, calls);
    }
}
