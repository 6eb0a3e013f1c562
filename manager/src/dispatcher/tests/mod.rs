//! The dispatcher whole, over a real store and in a time of its own: what nodes see, and what is recorded of them.

mod assignments;
mod reports;
mod sessions;

use std::time::Duration;

use futures::StreamExt;
use skep_api::{Caller, caller::CallerKind};
use skep_proto::swarmkit::{
    Annotations, Cluster, ClusterSpec, EncryptionKey, HeartbeatRequest, Node, NodeDescription,
    SessionMessage, SessionRequest, Task, TaskState, TaskStatus, dispatcher_server::Dispatcher,
    node_status::State,
};
use skep_store::solo::{Solo, lead_alone};
use tokio::{task::JoinHandle, time::sleep};
use tonic::{Code, Request};

use super::*;
use crate::test_group::TestGroup;

/// A dispatcher that runs, with a cluster object and some nodes.
pub struct Running {
    pub dispatcher: DispatcherService,
    pub store: Store,
    pub group: Arc<TestGroup>,
    pub task: JoinHandle<()>,
    _solo: Solo,
}

impl Running {
    pub async fn with(nodes: &[(&str, State)]) -> Running {
        let store = Store::system();
        let solo = lead_alone(&store);
        let key = |t| EncryptionKey { lamport_time: t, ..Default::default() };
        let annotations = Some(Annotations { name: "default".into(), ..Default::default() });
        let cluster = Cluster {
            id: "cluster".into(),
            spec: Some(ClusterSpec { annotations, ..Default::default() }),
            network_bootstrap_keys: vec![key(1), key(2), key(3)],
            ..Default::default()
        };
        store.update(|tx| tx.create(cluster)).await.unwrap();
        let objects: Vec<Node> = nodes.iter().map(|(id, state)| node(id, *state)).collect();
        for result in store.batch(objects, |tx, node| tx.create(node)).await {
            result.unwrap();
        }
        let group = Arc::new(TestGroup::of(&["manager1", "manager2"]));
        let dispatcher = DispatcherService::new(DispatcherConfig {
            store: store.clone(),
            group: group.clone(),
            node_id: "manager1".parse().unwrap(),
            seed: 1,
            metrics: DispatcherMetrics::default(),
        });
        let task = tokio::spawn(run(dispatcher.clone()));
        let running = Running { dispatcher, store, group, task, _solo: solo };
        until(|| running.dispatcher.leadership().is_ok()).await;
        running
    }

    pub async fn session(&self, node: &str) -> Result<Messages, Status> {
        self.session_with(node, "").await
    }

    pub async fn session_with(&self, node: &str, session_id: &str) -> Result<Messages, Status> {
        let hostname = format!("host-{node}");
        let description = Some(NodeDescription { hostname, ..Default::default() });
        let request = SessionRequest { description, session_id: session_id.into() };
        let stream = self.dispatcher.session(from(node, request)).await?.into_inner();
        Ok(Messages { stream })
    }

    pub async fn beat(&self, node: &str, session_id: &str) -> Result<Duration, Status> {
        let request = HeartbeatRequest { session_id: session_id.into() };
        let answer = self.dispatcher.heartbeat(from(node, request)).await?.into_inner();
        Ok(answer.period.unwrap().try_into().unwrap())
    }

    pub fn stored(&self, node: &str) -> (State, String) {
        let view = self.store.view();
        let status = view.get_text::<Node>(node).unwrap().status.clone().unwrap();
        (status.state(), status.message)
    }

    pub async fn change(&self, node: &str, change: impl FnOnce(&mut Node)) {
        let id = node.parse().unwrap();
        self.store.update(|tx| tx.modify::<Node>(&id, change)).await.unwrap();
    }
}

pub struct Messages {
    pub stream: super::streams::Messages<SessionMessage>,
}

impl Messages {
    pub async fn next(&mut self) -> Result<SessionMessage, Status> {
        self.stream.next().await.unwrap_or_else(|| Err(Status::internal("the stream has ended")))
    }

    pub async fn silent_for(&mut self, time: Duration) -> bool {
        tokio::time::timeout(time, self.stream.next()).await.is_err()
    }
}

pub fn node(id: &str, state: State) -> Node {
    let mut node = Node { id: id.into(), ..Default::default() };
    node.status.get_or_insert_default().state = state.into();
    node
}

pub fn from<T>(node: &str, message: T) -> Request<T> {
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

/// Waits for a condition; time passes at once when nothing else is to do.
pub async fn until(condition: impl Fn() -> bool) {
    for _ in 0..10_000 {
        if condition() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("it did not come true");
}

pub fn seconds(n: u64) -> Duration {
    Duration::from_secs(n)
}

pub fn refusal<T>(result: Result<T, Status>) -> (Code, String) {
    let status = result.err().expect("refused");
    (status.code(), status.message().to_owned())
}

pub fn task(id: &str, node: &str, state: TaskState) -> Task {
    let status = Some(TaskStatus { state: state.into(), ..Default::default() });
    Task { id: id.into(), node_id: node.into(), status, ..Default::default() }
}
