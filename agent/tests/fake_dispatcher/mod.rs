//! A dispatcher that does as a test says, behind a pipe in memory: real messages, and a time that the test owns.

use std::{
    io,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures::future::BoxFuture;
use hyper_util::rt::TokioIo;
use skep_agent::{ConnectError, Connection, Connector, Via};
use skep_proto::swarmkit::{
    AssignmentsMessage, AssignmentsRequest, HeartbeatRequest, HeartbeatResponse, Node, NodeSpec,
    Peer, SessionMessage, SessionRequest, TasksMessage, TasksRequest, UpdateTaskStatusRequest,
    UpdateTaskStatusResponse, UpdateVolumeStatusRequest, UpdateVolumeStatusResponse, WeightedPeer,
    dispatcher_server::{Dispatcher, DispatcherServer},
};
use tokio::{
    io::DuplexStream,
    sync::mpsc,
    time::{Instant, timeout},
};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{
    Request, Response, Status, async_trait,
    transport::{Endpoint, Server},
};

/// More than any test leaves unread.
const QUEUE: usize = 1_000;
const PIPE_BYTES: usize = 1 << 16;
/// The period that heartbeats are answered with.
pub const PERIOD: Duration = Duration::from_secs(5);

/// Where a stream's messages go.
pub type Out<T> = mpsc::Sender<Result<T, Status>>;

/// What the agent did.
#[derive(Debug)]
pub enum Did {
    Register(Box<SessionRequest>, Out<SessionMessage>),
    Beat(HeartbeatRequest),
    Open(AssignmentsRequest, Out<AssignmentsMessage>),
    Report(UpdateTaskStatusRequest),
}

/// The test's end of the dispatcher.
pub struct FakeDispatcher {
    did: mpsc::Receiver<(Instant, Did)>,
    behaviour: Arc<Mutex<Behaviour>>,
    // Streams that the test passed over stay open.
    open: Vec<Out<AssignmentsMessage>>,
}

#[derive(Default)]
struct Behaviour {
    silent: bool,
    beats_refused: bool,
    managers: Vec<WeightedPeer>,
}

/// The agent's way to it.
pub struct Pipe {
    ends: mpsc::Sender<io::Result<DuplexStream>>,
    behaviour: Arc<Mutex<Behaviour>>,
}

struct Service {
    did: mpsc::Sender<(Instant, Did)>,
    behaviour: Arc<Mutex<Behaviour>>,
}

/// Starts a dispatcher and gives the way to it.
pub fn start() -> (FakeDispatcher, Pipe) {
    let (ends, incoming) = mpsc::channel(QUEUE);
    let (sender, did) = mpsc::channel(QUEUE);
    let behaviour = Arc::new(Mutex::new(Behaviour::default()));
    let service = Service { did: sender, behaviour: behaviour.clone() };
    let server = Server::builder().add_service(DispatcherServer::new(service));
    tokio::spawn(server.serve_with_incoming(ReceiverStream::new(incoming)));
    (
        FakeDispatcher { did, behaviour: behaviour.clone(), open: Vec::new() },
        Pipe { ends, behaviour },
    )
}

impl FakeDispatcher {
    /// Registrations are not answered from now on.
    pub fn fall_silent(&self) {
        self.behaviour.lock().unwrap().silent = true;
    }

    /// Heartbeats are refused from now on.
    pub fn refuse_beats(&self) {
        self.behaviour.lock().unwrap().beats_refused = true;
    }

    /// The managers that the agent was told last.
    pub fn managers_told(&self) -> Vec<WeightedPeer> {
        self.behaviour.lock().unwrap().managers.clone()
    }

    /// The next thing that the agent does.
    pub async fn next(&mut self) -> (Instant, Did) {
        let limit = Duration::from_secs(3_600);
        timeout(limit, self.did.recv()).await.expect("the agent does nothing").expect("running")
    }

    /// The next registration, answered with a session of that name; other things are passed over.
    pub async fn register(&mut self, session: &str) -> (SessionRequest, Out<SessionMessage>) {
        loop {
            match self.next().await.1 {
                Did::Register(request, out) => {
                    out.send(Ok(message(session))).await.unwrap();
                    return (*request, out);
                }
                passed => self.pass(passed),
            }
        }
    }

    /// The next stream of assignments.
    pub async fn open(&mut self) -> (AssignmentsRequest, Out<AssignmentsMessage>) {
        loop {
            match self.next().await.1 {
                Did::Open(request, out) => return (request, out),
                passed => self.pass(passed),
            }
        }
    }

    /// The next reports.
    pub async fn report(&mut self) -> UpdateTaskStatusRequest {
        loop {
            match self.next().await.1 {
                Did::Report(request) => return request,
                passed => self.pass(passed),
            }
        }
    }

    /// When the next heartbeat comes, and in which session.
    pub async fn beat(&mut self) -> (Instant, String) {
        loop {
            match self.next().await {
                (at, Did::Beat(request)) => return (at, request.session_id),
                (_, passed) => self.pass(passed),
            }
        }
    }

    fn pass(&mut self, passed: Did) {
        match passed {
            Did::Open(_, out) => self.open.push(out),
            Did::Register(request, _) => panic!("an unexpected registration: {request:?}"),
            Did::Beat(_) | Did::Report(_) => {}
        }
    }
}

/// A session message with one manager and a worker's node object.
pub fn message(session: &str) -> SessionMessage {
    let peer = Some(Peer { node_id: "m1".into(), addr: "m1:2377".into() });
    let spec = Some(NodeSpec::default());
    SessionMessage {
        session_id: session.into(),
        node: Some(Node { id: "n".into(), spec, ..Default::default() }),
        managers: vec![WeightedPeer { peer, weight: 10 }],
        root_ca: "root".into(),
        ..Default::default()
    }
}

impl Connector for Pipe {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async {
            let (ours, theirs) = tokio::io::duplex(PIPE_BYTES);
            self.ends.send(Ok(theirs)).await.expect("the dispatcher runs");
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

    fn managers(&self, managers: &[WeightedPeer]) {
        self.behaviour.lock().unwrap().managers = managers.to_vec();
    }
}

impl Service {
    async fn did(&self, did: Did) {
        let _ = self.did.send((Instant::now(), did)).await;
    }
}

#[async_trait]
impl Dispatcher for Service {
    type SessionStream = ReceiverStream<Result<SessionMessage, Status>>;
    type TasksStream = ReceiverStream<Result<TasksMessage, Status>>;
    type AssignmentsStream = ReceiverStream<Result<AssignmentsMessage, Status>>;

    async fn session(
        &self,
        request: Request<SessionRequest>,
    ) -> Result<Response<Self::SessionStream>, Status> {
        let (out, messages) = mpsc::channel(QUEUE);
        self.did(Did::Register(Box::new(request.into_inner()), out)).await;
        let silent = self.behaviour.lock().unwrap().silent;
        if silent {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn heartbeat(
        &self,
        request: Request<HeartbeatRequest>,
    ) -> Result<Response<HeartbeatResponse>, Status> {
        self.did(Did::Beat(request.into_inner())).await;
        if self.behaviour.lock().unwrap().beats_refused {
            return Err(Status::invalid_argument("session invalid"));
        }
        Ok(Response::new(HeartbeatResponse { period: Some(PERIOD.try_into().unwrap()) }))
    }

    async fn assignments(
        &self,
        request: Request<AssignmentsRequest>,
    ) -> Result<Response<Self::AssignmentsStream>, Status> {
        let (out, messages) = mpsc::channel(QUEUE);
        self.did(Did::Open(request.into_inner(), out)).await;
        Ok(Response::new(ReceiverStream::new(messages)))
    }

    async fn update_task_status(
        &self,
        request: Request<UpdateTaskStatusRequest>,
    ) -> Result<Response<UpdateTaskStatusResponse>, Status> {
        self.did(Did::Report(request.into_inner())).await;
        Ok(Response::new(UpdateTaskStatusResponse {}))
    }

    async fn update_volume_status(
        &self,
        _: Request<UpdateVolumeStatusRequest>,
    ) -> Result<Response<UpdateVolumeStatusResponse>, Status> {
        Err(Status::unimplemented("no volumes here"))
    }

    async fn tasks(&self, _: Request<TasksRequest>) -> Result<Response<Self::TasksStream>, Status> {
        Err(Status::unimplemented("superseded by Assignments"))
    }
}
