//! A server at a unix socket that answers the calls of the control socket from a [`World`].

use std::{
    convert::Infallible,
    future::ready,
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
    thread,
};

use futures::{FutureExt as _, future::BoxFuture, stream};
use http::{Request, Response};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use prost::Message;
use tempfile::TempDir;
use tokio::{net::UnixListener, sync::oneshot};
use tonic::{Status, body::Body, server::Grpc};
use tonic_prost::ProstCodec;

use super::{
    transcript,
    world::{self, World},
};

type Shared = Arc<Mutex<World>>;

/// A daemon that is not one. It ends when it is dropped.
pub struct FakeDaemon {
    world: Shared,
    dir: TempDir,
    _stop: oneshot::Sender<()>,
}

impl FakeDaemon {
    /// Serves `world` at a socket in a folder of its own.
    pub fn start(world: World) -> FakeDaemon {
        let dir = tempfile::tempdir().unwrap();
        let world = Arc::new(Mutex::new(world));
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let socket = socket(dir.path());
        let served = Arc::clone(&world);
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let listener = UnixListener::bind(socket).unwrap();
                ready.send(()).unwrap();
                tokio::select! {
                    () = serve(listener, served) => {}
                    _ = stopped => {}
                }
            });
        });
        is_ready.recv().unwrap();
        FakeDaemon { world, dir, _stop: stop }
    }

    /// What it serves, to change it or to look at it.
    pub fn world(&self) -> std::sync::MutexGuard<'_, World> {
        self.world.lock().unwrap()
    }

    /// Its socket.
    pub fn socket(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// A file beside the socket.
    pub fn file(&self, name: &str, content: &str) -> String {
        let path = self.dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// What a command shows.
    pub fn skep(&self, arguments: &[&str]) -> String {
        self.skep_with_input(arguments, "")
    }

    /// What a command shows that reads `input`.
    pub fn skep_with_input(&self, arguments: &[&str], input: &str) -> String {
        transcript(&self.socket(), arguments, input)
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

async fn serve(listener: UnixListener, world: Shared) {
    loop {
        let (stream, _) = listener.accept().await.unwrap();
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let reply = answer(request.map(Body::new), Arc::clone(&world));
                reply.map(Ok::<_, Infallible>)
            });
            let server = auto::Builder::new(TokioExecutor::new());
            // The client closes when it has what it wants.
            let _ = server.serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

fn answer(request: Request<Body>, world: Shared) -> BoxFuture<'static, Response<Body>> {
    let path = request.uri().path().to_owned();
    let method = path.rsplit('/').next().unwrap_or_default().to_owned();
    if let Some(status) = world.lock().unwrap().refusal(&method) {
        return ready(status.into_http()).boxed();
    }
    macro_rules! methods {
        ($($name:literal => $handler:path),* $(,)?) => {
            match method.as_str() {
                $($name => unary(request, world, $handler),)*
                "Watch" => watch(request, world),
                "SubscribeLogs" => logs(request, world),
                _ => ready(Status::unimplemented(path).into_http()).boxed(),
            }
        };
    }
    methods! {
        "GetStatus" => world::get_status,
        "Init" => world::init,
        "Join" => world::join,
        "Leave" => world::leave,
        "Unlock" => world::unlock,
        "GetKeys" => world::get_keys,
        "GetRaftStatus" => world::get_raft_status,
        "TransferLeadership" => world::transfer_leadership,
        "ListClusters" => world::list_clusters,
        "UpdateCluster" => world::update_cluster,
        "GetNode" => world::get_node,
        "ListNodes" => world::list_nodes,
        "UpdateNode" => world::update_node,
        "RemoveNode" => world::remove_node,
        "ListTasks" => world::list_tasks,
        "CreateSecret" => world::create_secret,
        "GetSecret" => world::get_secret,
        "ListSecrets" => world::list_secrets,
        "RemoveSecret" => world::remove_secret,
        "CreateConfig" => world::create_config,
        "GetConfig" => world::get_config,
        "ListConfigs" => world::list_configs,
        "RemoveConfig" => world::remove_config,
        "CreateNetwork" => world::create_network,
        "GetNetwork" => world::get_network,
        "ListNetworks" => world::list_networks,
        "RemoveNetwork" => world::remove_network,
        "CreateService" => world::run_service,
        "UpdateService" => world::update_service,
        "GetService" => world::get_service,
        "ListServices" => world::list_services,
        "ListServiceStatuses" => world::list_service_statuses,
        "RemoveService" => world::remove_service,
        "Usage" => world::network_usage,
        "Check" => world::network_check,
        "Explain" => world::explain,
        "Plan" => world::plan,
    }
}

fn unary<Q, A>(
    request: Request<Body>,
    world: Shared,
    handler: fn(&mut World, Q) -> Result<A, Status>,
) -> BoxFuture<'static, Response<Body>>
where
    Q: Message + Default + 'static,
    A: Message + Default + 'static,
{
    let service = tower::service_fn(move |request: tonic::Request<Q>| {
        let reply = handler(&mut world.lock().unwrap(), request.into_inner());
        ready(reply.map(tonic::Response::new))
    });
    let codec = ProstCodec::<A, Q>::default();
    async move { Grpc::new(codec).unary(service, request).await }.boxed()
}

fn watch(request: Request<Body>, world: Shared) -> BoxFuture<'static, Response<Body>> {
    use skep_proto::swarmkit::{WatchMessage, WatchRequest};
    let service = tower::service_fn(move |request: tonic::Request<WatchRequest>| {
        let messages = world.lock().unwrap().watched(&request.into_inner());
        ready(messages.map(|all| tonic::Response::new(stream::iter(all.into_iter().map(Ok)))))
    });
    let codec = ProstCodec::<WatchMessage, WatchRequest>::default();
    async move { Grpc::new(codec).server_streaming(service, request).await }.boxed()
}

fn logs(request: Request<Body>, world: Shared) -> BoxFuture<'static, Response<Body>> {
    use skep_proto::swarmkit::{SubscribeLogsMessage, SubscribeLogsRequest};
    let service = tower::service_fn(move |request: tonic::Request<SubscribeLogsRequest>| {
        let messages = world.lock().unwrap().subscribed(request.into_inner());
        ready(Ok::<_, Status>(tonic::Response::new(stream::iter(messages))))
    });
    let codec = ProstCodec::<SubscribeLogsMessage, SubscribeLogsRequest>::default();
    async move { Grpc::new(codec).server_streaming(service, request).await }.boxed()
}
