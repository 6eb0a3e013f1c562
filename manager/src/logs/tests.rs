//! The broker whole, over a real store and in a time of its own.

use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use skep_api::{Caller, caller::CallerKind};
use skep_ca::Clock;
use skep_proto::log_notice;
use skep_proto::swarmkit::{
    ListenSubscriptionsRequest, LogContext, LogMessage, LogSelector, LogStream,
    LogSubscriptionOptions, Node, NodeStatus, PublishLogsMessage, SubscribeLogsMessage,
    SubscribeLogsRequest, SubscriptionMessage, Task, TaskState, TaskStatus,
    log_broker_server::LogBroker as _, logs_server::Logs as _, node_status::State,
};
use skep_store::solo::{Solo, lead_alone};
use tokio::{sync::mpsc, task::JoinHandle, time::sleep};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Code, Request};

use super::{term::QUEUED_BYTES_MAX, *};

type Client = BoxStream<'static, Result<SubscribeLogsMessage, Status>>;
type Listener = BoxStream<'static, Result<SubscriptionMessage, Status>>;

struct Running {
    store: Store,
    broker: LogBroker,
    task: JoinHandle<()>,
    _solo: Solo,
}

impl Running {
    /// A broker, with nodes a and b up and c down, and a task on each of them.
    async fn begin() -> Running {
        let store = Store::system();
        let solo = lead_alone(&store);
        for (name, state) in [("a", State::Ready), ("b", State::Ready), ("c", State::Down)] {
            let status = Some(NodeStatus { state: state.into(), ..Default::default() });
            let node = Node { id: name.into(), status, ..Default::default() };
            store.update(|tx| tx.create(node)).await.unwrap();
            let task = task(&format!("t{name}"), &format!("s{name}"), name);
            store.update(|tx| tx.create(task)).await.unwrap();
        }
        let broker = LogBroker::new(store.clone(), Clock::still(std::time::UNIX_EPOCH));
        let task = tokio::spawn(run(broker.clone()));
        Running { store, broker, task, _solo: solo }
    }

    async fn subscribe(&self, services: &[&str], follow: bool) -> Client {
        self.try_subscribe(services, follow).await.unwrap()
    }

    async fn try_subscribe(&self, services: &[&str], follow: bool) -> Result<Client, Status> {
        let service_ids = services.iter().map(|s| (*s).to_owned()).collect();
        let selector = Some(LogSelector { service_ids, ..Default::default() });
        let options = Some(LogSubscriptionOptions { follow, ..Default::default() });
        let request = SubscribeLogsRequest { selector, options };
        Ok(self.broker.subscribe_logs(Request::new(request)).await?.into_inner())
    }

    async fn listen(&self, node: &str) -> Listener {
        let request = from(node, ListenSubscriptionsRequest {});
        self.broker.listen_subscriptions(request).await.unwrap().into_inner()
    }

    fn publish(&self, node: &str) -> Publisher {
        let (sender, receiver) = mpsc::channel(64);
        let (broker, node) = (self.broker.clone(), node.parse().unwrap());
        let task = tokio::spawn(async move {
            let term = broker.term().await?;
            service::publish(&term, node, ReceiverStream::new(receiver)).await
        });
        Publisher { sender, task }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Publisher {
    sender: mpsc::Sender<Result<PublishLogsMessage, Status>>,
    task: JoinHandle<Result<(), Status>>,
}

impl Publisher {
    async fn say(&self, subscription: &str, node: &str, task: &str, text: &str) {
        let service = format!("s{}", task.trim_start_matches('t'));
        let context =
            Some(LogContext { service_id: service, node_id: node.into(), task_id: task.into() });
        let data = Bytes::from(text.to_owned());
        let message = PublishLogsMessage {
            subscription_id: subscription.into(),
            messages: vec![LogMessage { context, data, ..Default::default() }],
            close: false,
        };
        // Fails when the broker has had enough.
        let _ = self.sender.send(Ok(message)).await;
    }

    async fn close(self, subscription: &str) -> Result<(), Status> {
        let subscription_id = subscription.into();
        let message = PublishLogsMessage { subscription_id, close: true, ..Default::default() };
        self.sender.send(Ok(message)).await.unwrap();
        self.task.await.unwrap()
    }

    async fn refusal(self) -> (Code, String) {
        let status = self.task.await.unwrap().unwrap_err();
        (status.code(), status.message().to_owned())
    }
}

fn from<T>(node: &str, message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.extensions_mut().insert(Caller {
        node_id: node.into(),
        cluster_id: "cluster".into(),
        units: Arc::new([]),
        remote_addr: "192.0.2.7:4711".into(),
        kind: CallerKind::Certificate,
    });
    request
}

fn task(id: &str, service: &str, node: &str) -> Task {
    Task {
        id: id.into(),
        service_id: service.into(),
        node_id: node.into(),
        desired_state: TaskState::Running.into(),
        status: Some(TaskStatus { state: TaskState::Running.into(), ..Default::default() }),
        ..Default::default()
    }
}

/// The next line that a client reads, or how it ends.
async fn line(client: &mut Client) -> String {
    match client.next().await {
        Some(Ok(message)) => {
            let text = |m: &LogMessage| String::from_utf8_lossy(&m.data).into_owned();
            message.messages.iter().map(text).collect::<Vec<_>>().join("|")
        }
        Some(Err(status)) => format!("{:?}: {}", status.code(), status.message()),
        None => "the end".to_owned(),
    }
}

async fn told(listener: &mut Listener) -> SubscriptionMessage {
    listener.next().await.unwrap().unwrap()
}

const INCOMPLETE: &str = "Unknown: warning: incomplete log stream. some logs could not be retrieved for the following reasons: ";

#[tokio::test(start_paused = true)]
async fn logs_go_from_the_nodes_that_have_tasks_of_it_to_the_client() {
    let running = Running::begin().await;
    let (mut a, mut b) = (running.listen("a").await, running.listen("b").await);
    let mut client = running.subscribe(&["sa", "sb"], false).await;
    let opened = told(&mut a).await;
    assert_eq!(told(&mut b).await, opened);
    assert!(opened.options.is_some() && !opened.close);
    let id = opened.id.as_str();
    let from_a = running.publish("a");
    from_a.say(id, "a", "ta", "hello").await;
    assert_eq!(line(&mut client).await, "hello");
    from_a.close(id).await.unwrap();
    let from_b = running.publish("b");
    from_b.say(id, "b", "tb", "last words").await;
    from_b.close(id).await.unwrap();
    assert_eq!(line(&mut client).await, "last words");
    assert_eq!(line(&mut client).await, "the end");
    drop(client);
    for listener in [&mut a, &mut b] {
        let closed = told(listener).await;
        assert!(closed.close && closed.id == opened.id);
    }
    assert_eq!(running.broker.subscription_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_missing_is_said_and_nobody_is_waited_for_without_end() {
    let running = Running::begin().await;
    let waiting = task("tw", "sc", "");
    running.store.update(|tx| tx.create(waiting)).await.unwrap();
    let mut client = running.subscribe(&["sc"], false).await;
    let missing = format!("{INCOMPLETE}node c is not available, task tw has not been scheduled");
    assert_eq!(line(&mut client).await, missing);

    // It is up, but never comes.
    let mut client = running.subscribe(&["sa"], false).await;
    assert_eq!(line(&mut client).await, format!("{INCOMPLETE}node a is not available"));

    // It comes a little later than the client.
    let mut client = running.subscribe(&["sa"], false).await;
    sleep(Duration::from_secs(1)).await;
    let mut a = running.listen("a").await;
    let id = told(&mut a).await.id;
    running.publish("a").close(&id).await.unwrap();
    assert_eq!(line(&mut client).await, "the end");

    // It is told, and says nothing.
    let mut client = running.subscribe(&["sa"], false).await;
    assert_eq!(line(&mut client).await, format!("{INCOMPLETE}node a did not answer in time"));

    // It goes away in the middle.
    let mut client = running.subscribe(&["sa"], false).await;
    let id = loop {
        let message = told(&mut a).await;
        if !message.close
            && running
                .broker
                .term()
                .await
                .unwrap()
                .subscription(&message.id.parse().unwrap(), &"a".parse().unwrap())
                .is_some()
        {
            break message.id;
        }
    };
    let from_a = running.publish("a");
    from_a.say(&id, "a", "ta", "one").await;
    assert_eq!(line(&mut client).await, "one");
    from_a.task.abort();
    assert_eq!(line(&mut client).await, format!("{INCOMPLETE}node a disconnected unexpectedly"));
}

/// A request that is reset reads as if it had ended well, moments before its handler is dropped.
#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_without_a_word_and_is_gone_at_once_was_broken() {
    let running = Running::begin().await;
    let mut a = running.listen("a").await;
    for (reset, expected) in
        [(true, format!("{INCOMPLETE}node a disconnected unexpectedly")), (false, "the end".into())]
    {
        let mut client = running.subscribe(&["sa"], false).await;
        let id = loop {
            let message = told(&mut a).await;
            if !message.close {
                break message.id;
            }
        };
        let from_a = running.publish("a");
        from_a.say(&id, "a", "ta", "one").await;
        assert_eq!(line(&mut client).await, "one");
        let Publisher { sender, task } = from_a;
        drop(sender);
        sleep(Duration::from_millis(1)).await;
        if reset {
            task.abort();
        }
        assert_eq!(line(&mut client).await, expected);
    }
}

/// Engines send both streams, whatever they are asked for.
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_not_asked_for_is_left_out() {
    let running = Running::begin().await;
    let mut a = running.listen("a").await;
    let selector = Some(LogSelector { service_ids: vec!["sa".into()], ..Default::default() });
    let streams = vec![LogStream::Stderr.into()];
    let options = Some(LogSubscriptionOptions { streams, ..Default::default() });
    let request = Request::new(SubscribeLogsRequest { selector, options });
    let mut client = running.broker.subscribe_logs(request).await.unwrap().into_inner();
    let id = told(&mut a).await.id;
    let from_a = running.publish("a");
    for (stream, text) in [(LogStream::Stdout, "out"), (LogStream::Stderr, "err")] {
        let context =
            Some(LogContext { service_id: "sa".into(), node_id: "a".into(), task_id: "ta".into() });
        let (stream, data) = (stream.into(), text.into());
        let messages = vec![LogMessage { context, stream, data, ..Default::default() }];
        let message = PublishLogsMessage { subscription_id: id.clone(), messages, close: false };
        from_a.sender.send(Ok(message)).await.unwrap();
    }
    from_a.close(&id).await.unwrap();
    assert_eq!(line(&mut client).await, "err");
    assert_eq!(line(&mut client).await, "the end");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_dies_while_it_publishes_is_given_up_when_it_is_down() {
    let running = Running::begin().await;
    let mut a = running.listen("a").await;
    let mut client = running.subscribe(&["sa"], false).await;
    let id = told(&mut a).await.id;
    let from_a = running.publish("a");
    from_a.say(&id, "a", "ta", "one").await;
    assert_eq!(line(&mut client).await, "one");
    let node = "a".parse().unwrap();
    running
        .store
        .update(|tx| {
            tx.modify::<Node>(&node, |node| {
                node.status.get_or_insert_default().state = State::Down.into();
            })
        })
        .await
        .unwrap();
    assert_eq!(line(&mut client).await, format!("{INCOMPLETE}node a is not available"));
}

#[tokio::test(start_paused = true)]
async fn who_follows_is_told_when_a_node_is_down_and_hears_the_others() {
    let running = Running::begin().await;
    let (mut a, mut b) = (running.listen("a").await, running.listen("b").await);
    let mut client = running.subscribe(&["sa", "sb", "sc"], true).await;
    assert_eq!(line(&mut client).await, "node c is not available");
    let id = told(&mut a).await.id;
    told(&mut b).await;
    let (from_a, from_b) = (running.publish("a"), running.publish("b"));
    from_a.say(&id, "a", "ta", "one").await;
    assert_eq!(line(&mut client).await, "one");
    // It is cut off: its connection says nothing, and its heartbeat is missed.
    let node = "a".parse().unwrap();
    let down = running.store.update(|tx| {
        tx.modify::<Node>(&node, |node| {
            node.status.get_or_insert_default().state = State::Down.into();
        })
    });
    down.await.unwrap();
    assert_eq!(line(&mut client).await, "node a is not available");
    from_b.say(&id, "b", "tb", "two").await;
    assert_eq!(line(&mut client).await, "two");
}

#[tokio::test(start_paused = true)]
async fn who_follows_gets_tasks_that_come_later_and_never_an_end() {
    let running = Running::begin().await;
    let (mut a, mut b) = (running.listen("a").await, running.listen("b").await);
    let mut client = running.subscribe(&["sa"], true).await;
    let id = told(&mut a).await.id;
    running.publish("a").close(&id).await.unwrap();
    let moved = task("tnew", "sa", "b");
    running.store.update(|tx| tx.create(moved)).await.unwrap();
    assert_eq!(told(&mut b).await.id, id);
    let say = async |publisher: &Publisher, id: &str, text: &'static str| {
        let context =
            LogContext { service_id: "sa".into(), node_id: "b".into(), task_id: "tnew".into() };
        let messages =
            vec![LogMessage { context: Some(context), data: text.into(), ..Default::default() }];
        let message = PublishLogsMessage { subscription_id: id.into(), messages, close: false };
        publisher.sender.send(Ok(message)).await.unwrap();
    };
    let from_b = running.publish("b");
    say(&from_b, &id, "moved").await;
    assert_eq!(line(&mut client).await, "moved");
    // A node that lost its connection is told again when it is back: its engine may believe that it publishes.
    drop(b);
    let lost = client.next().await.unwrap().unwrap().messages.remove(0);
    assert!(log_notice::is_notice(&lost), "{lost:?}");
    assert_eq!(lost.context.unwrap().task_id, "tnew");
    assert_eq!(lost.data, "node b disconnected unexpectedly");
    let mut b = running.listen("b").await;
    let closed = told(&mut b).await;
    assert_eq!((closed.id, closed.close), (id.clone(), true));
    let again = told(&mut b).await;
    assert!(!again.close && again.id != id, "engines pass over what they take for open");
    assert_eq!(line(&mut client).await, "node b is back");
    // The end of the old stream tells nothing any more.
    drop(from_b);
    let from_b = running.publish("b");
    say(&from_b, &again.id, "again").await;
    assert_eq!(line(&mut client).await, "again");
    let publisher = running.publish("b");
    say(&publisher, &id, "x").await;
    assert_eq!(publisher.refusal().await, (Code::NotFound, "unknown subscription ID".to_owned()));
    assert!(tokio::time::timeout(Duration::from_secs(3600), client.next()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_node_speaks_of_its_own_tasks_and_of_what_it_was_asked_for() {
    let running = Running::begin().await;
    let (mut a, _b) = (running.listen("a").await, running.listen("b").await);
    let _client = running.subscribe(&["sa"], true).await;
    let id = told(&mut a).await.id;
    let table = [
        // Another node's subscription is not known to it.
        ("b", id.as_str(), "b", "tb", Code::NotFound, "unknown subscription ID"),
        ("a", "nothing", "a", "ta", Code::NotFound, "unknown subscription ID"),
        ("a", "", "a", "ta", Code::InvalidArgument, "missing subscription ID"),
        ("a", &id, "b", "ta", Code::PermissionDenied, "invalid NodeID: expected=a;received=b"),
        (
            "a",
            &id,
            "a",
            "tb",
            Code::PermissionDenied,
            "cannot publish logs of task tb, which is not assigned to this node or not of service sb",
        ),
    ];
    for (caller, subscription, node, task, code, text) in table {
        let publisher = running.publish(caller);
        publisher.say(subscription, node, task, "x").await;
        assert_eq!(publisher.refusal().await, (code, text.to_owned()));
    }
    let other = task("other", "sb", "a");
    running.store.update(|tx| tx.create(other)).await.unwrap();
    // Nor does it invent tasks of what was not asked for.
    for task in ["other", "never"] {
        let publisher = running.publish("a");
        let context =
            LogContext { service_id: "sb".into(), node_id: "a".into(), task_id: task.into() };
        let messages = vec![LogMessage { context: Some(context), ..Default::default() }];
        let message = PublishLogsMessage { subscription_id: id.clone(), messages, close: false };
        publisher.sender.send(Ok(message)).await.unwrap();
        let text = format!("cannot publish logs of task {task}, which nobody asked for");
        assert_eq!(publisher.refusal().await, (Code::PermissionDenied, text));
    }

    let publisher = running.publish("a");
    publisher.say(&id, "a", "ta", "x").await;
    publisher.say("another", "a", "ta", "x").await;
    let text = "different subscription IDs in the same session".to_owned();
    assert_eq!(publisher.refusal().await, (Code::InvalidArgument, text));
}

#[tokio::test(start_paused = true)]
async fn nobody_is_told_of_what_does_not_concern_it() {
    let running = Running::begin().await;
    let (mut a, mut b) = (running.listen("a").await, running.listen("b").await);
    let client = running.subscribe(&["sa"], true).await;
    told(&mut a).await;
    assert!(tokio::time::timeout(Duration::from_secs(60), b.next()).await.is_err());
    drop(client);
    assert!(told(&mut a).await.close);
    assert!(tokio::time::timeout(Duration::from_secs(60), b.next()).await.is_err());
    // A second stream of a node takes the place of the first.
    let _again = running.listen("a").await;
    assert_eq!(a.next().await.unwrap().unwrap_err().code(), Code::Aborted);
    // A node that is removed hears nothing more.
    let node = "b".parse().unwrap();
    running.store.update(|tx| tx.remove::<Node>(&node)).await.unwrap();
    assert_eq!(b.next().await.unwrap().unwrap_err().code(), Code::Aborted);
}

#[tokio::test(start_paused = true)]
async fn bad_questions_are_refused() {
    let running = Running::begin().await;
    let ask = async |selector: Option<LogSelector>| {
        let request = SubscribeLogsRequest { selector, options: None };
        let status = running.broker.subscribe_logs(Request::new(request)).await.err().unwrap();
        (status.code(), status.message().to_owned())
    };
    let invalid = |text: &str| (Code::InvalidArgument, text.to_owned());
    assert_eq!(ask(None).await, invalid("log selector must be provided"));
    let empty = Some(LogSelector::default());
    assert_eq!(ask(empty).await, invalid("log selector must not be empty"));
    let task_ids = vec!["t".to_owned(); 1_001];
    let (code, text) = ask(Some(LogSelector { task_ids, ..Default::default() })).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(text.contains("1000 at most"), "{text}");
    let node_ids = vec!["no id!".to_owned()];
    let (code, _) = ask(Some(LogSelector { node_ids, ..Default::default() })).await;
    assert_eq!(code, Code::InvalidArgument);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_slows_the_nodes_down() {
    let running = Running::begin().await;
    let mut a = running.listen("a").await;
    let mut client = running.subscribe(&["sa"], true).await;
    let id = told(&mut a).await.id;
    let from_a = running.publish("a");
    let long = "x".repeat(16 << 10);
    let mut sent = 0;
    while tokio::time::timeout(Duration::from_secs(1), from_a.say(&id, "a", "ta", &long))
        .await
        .is_ok()
    {
        sent += 1;
        assert!(sent * long.len() < 4 * QUEUED_BYTES_MAX, "bounded");
    }
    let mut read = 0;
    while let Ok(message) = tokio::time::timeout(Duration::from_secs(1), client.next()).await {
        read += message.unwrap().unwrap().messages.len();
    }
    assert_eq!(read, sent, "nothing is lost");
}

#[tokio::test(start_paused = true)]
async fn a_change_of_leader_ends_all_streams_with_a_reason() {
    let running = Running::begin().await;
    let mut a = running.listen("a").await;
    let mut client = running.subscribe(&["sa"], true).await;
    let id = told(&mut a).await.id;
    let from_a = running.publish("a");
    from_a.say(&id, "a", "ta", "x").await;
    assert_eq!(line(&mut client).await, "x");
    running.task.abort();
    assert_eq!(
        line(&mut client).await,
        "Unavailable: the manager that gathered the logs does not lead any more; ask again for what is missing"
    );
    assert_eq!(line(&mut client).await, "the end");
    assert_eq!(a.next().await.unwrap().unwrap_err().code(), Code::Aborted);
    assert_eq!(from_a.refusal().await.0, Code::Unavailable);
    let refused = running.try_subscribe(&["sa"], true).await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    // A call that comes a little before the next leader's broker waits for it.
    let broker = running.broker.clone();
    let next = tokio::spawn(async move {
        sleep(Duration::from_secs(1)).await;
        run(broker).await;
    });
    drop(running.listen("a").await);
    next.abort();
}
