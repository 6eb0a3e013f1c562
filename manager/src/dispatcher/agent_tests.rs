//! The dispatcher and our own agents in front of each other, over real messages through a pipe in memory.

use std::{io, time::Duration};

use bytes::Bytes;
use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use skep_agent::{
    Agent, AgentConfig, ConnectError, Connection, Connector, IdentityEvents, Via, description,
    executor,
};
use skep_api::{Caller, caller::CallerKind};
use skep_proto::swarmkit::{
    Node, NodeRole, NodeTlsInfo, WeightedPeer, dispatcher_server::DispatcherServer,
    node_status::State,
};
use skep_store::solo::{Solo, lead_alone};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep},
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{
    Request,
    transport::{Endpoint, Server},
};

use super::*;
use crate::test_group::TestGroup;

const PIPE_BYTES: usize = 1 << 14;

/// A node's way to the dispatcher. The door is not in it: the caller is whom the pipe belongs to.
struct Pipe {
    dispatcher: DispatcherService,
    node: Arc<str>,
}

impl Pipe {
    fn serve(&self, end: DuplexStream) {
        let node = self.node.clone();
        let service = DispatcherServer::with_interceptor(
            self.dispatcher.clone(),
            move |mut r: Request<()>| {
                r.extensions_mut().insert(Caller {
                    node_id: node.clone(),
                    cluster_id: "cluster".into(),
                    units: Arc::new([]),
                    remote_addr: "192.0.2.7:4711".into(),
                    kind: CallerKind::Certificate,
                });
                Ok(r)
            },
        );
        let (one, incoming) = mpsc::channel::<io::Result<DuplexStream>>(1);
        one.try_send(Ok(end)).expect("there is room for one");
        let server = Server::builder().add_service(service);
        tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    }
}

impl Connector for Pipe {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            self.serve(theirs);
            let mut ours = Some(ours);
            let connector = tower::service_fn(move |_| {
                let end = ours.take().ok_or_else(|| io::Error::other("a pipe connects once"));
                async move { end.map(TokioIo::new) }
            });
            let endpoint = Endpoint::from_static("http://dispatcher");
            let channel = endpoint.connect_with_connector(connector).await.expect("it connects");
            Ok(Connection { channel, via: Via::Local })
        })
    }

    fn observe(&self, _: &Via, _: bool) {}

    fn managers(&self, _: &[WeightedPeer]) {}
}

struct NoIdentity;

impl IdentityEvents for NoIdentity {
    fn tls_info(&self) -> Option<NodeTlsInfo> {
        None
    }

    fn root_changed(&self, _: Bytes) {}

    fn role_wanted(&self, _: NodeRole) {}

    fn rotation_wanted(&self) {}
}

struct Swarm {
    store: Store,
    dispatcher: DispatcherService,
    leading: JoinHandle<()>,
    agents: JoinSet<()>,
    _solo: Solo,
}

impl Swarm {
    /// That many nodes, each with an agent, and a dispatcher.
    async fn of(count: usize) -> Swarm {
        let store = Store::system();
        let solo = lead_alone(&store);
        let names: Vec<String> = (0..count).map(|i| format!("w{i}")).collect();
        let nodes = names.iter().map(|id| Node { id: id.clone(), ..Default::default() });
        for result in store.batch(nodes, |tx, node| tx.create(node)).await {
            result.unwrap();
        }
        let dispatcher = DispatcherService::new(DispatcherConfig {
            store: store.clone(),
            group: Arc::new(TestGroup::of(&["manager1"])),
            node_id: "manager1".parse().unwrap(),
            seed: 1,
            metrics: DispatcherMetrics::default(),
        });
        let leading = tokio::spawn(run(dispatcher.clone()));
        let mut agents = JoinSet::new();
        for (seed, name) in names.into_iter().enumerate() {
            let host = description::described(&name, 2, 1 << 30);
            let agent = Agent::new(AgentConfig {
                executor: Arc::new(executor::None::new(host)),
                identity: Arc::new(NoIdentity),
                connector: Arc::new(Pipe { dispatcher: dispatcher.clone(), node: name.into() }),
                remembered: None,
                seed: seed as u64,
            });
            agents.spawn(async move { agent.run(CancellationToken::new()).await });
        }
        Swarm { store, dispatcher, leading, agents, _solo: solo }
    }

    fn in_state(&self, state: State) -> usize {
        let view = self.store.view();
        let nodes = view.all::<Node>();
        nodes.filter(|node| node.status.as_ref().is_some_and(|s| s.state() == state)).count()
    }

    /// The next leadership, after that long without one.
    async fn change_leader(&mut self, after: Duration) {
        self.leading.abort();
        sleep(after).await;
        self.leading = tokio::spawn(run(self.dispatcher.clone()));
    }

    /// How long it takes, in the time of the test, until that many nodes are in session.
    async fn until_in_session(&self, count: usize) -> Duration {
        let start = Instant::now();
        while self.dispatcher.session_count() != count {
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}", self.in_state(State::Ready));
            sleep(Duration::from_millis(5)).await;
        }
        start.elapsed()
    }
}

#[tokio::test(start_paused = true)]
async fn agents_stay_ready_through_a_change_of_leader_and_are_down_when_they_end() {
    const NODES: usize = 20;
    let mut swarm = Swarm::of(NODES).await;
    swarm.until_in_session(NODES).await;
    assert_eq!(swarm.in_state(State::Ready), NODES);
    sleep(Duration::from_secs(60)).await;
    assert_eq!((swarm.dispatcher.session_count(), swarm.in_state(State::Ready)), (NODES, NODES));

    let before = swarm.store.view().version();
    swarm.change_leader(Duration::from_secs(1)).await;
    let back = swarm.until_in_session(NODES).await;
    assert!(back < Duration::from_secs(4), "{back:?}");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(swarm.in_state(State::Ready), NODES);
    let written = swarm.store.view().version() - before;
    assert!(written <= 2, "who came back at once was never anything but ready: {written}");

    swarm.agents.shutdown().await;
    sleep(Duration::from_secs(20)).await;
    assert_eq!((swarm.dispatcher.session_count(), swarm.in_state(State::Down)), (0, NODES));
}
