//! A manager as far as the door knows it: both listeners on this machine, a leader that the test names, and the list of
//! removed nodes.

use std::{
    collections::BTreeSet,
    convert::Infallible,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use futures::{FutureExt as _, future::BoxFuture};
use http::{Request, Response};
use skep_api::{
    Blacklist, ChannelPool, ControlSocket, Door, Leader, LeaderRoute, OwnIdentity, RemoteListener,
    Surroundings,
};
use skep_ca::SecurityConfig;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tower::Service;

#[derive(Clone)]
pub struct FakeLeader(watch::Sender<Leader>);

impl FakeLeader {
    pub fn set(&self, leader: Leader) {
        self.0.send_replace(leader);
    }

    pub fn set_remote(&self, addr: &str) {
        self.set(Leader::Remote { addr: addr.to_owned(), node_id: "leader".to_owned() });
    }
}

impl LeaderRoute for FakeLeader {
    fn leader(&self) -> Leader {
        self.0.borrow().clone()
    }

    fn changed(&self) -> BoxFuture<'static, ()> {
        let mut changes = self.0.subscribe();
        async move { drop(changes.changed().await) }.boxed()
    }
}

#[derive(Clone, Default)]
pub struct FakeBlacklist {
    removed: Arc<Mutex<BTreeSet<String>>>,
    demoted: Arc<Mutex<BTreeSet<String>>>,
}

impl FakeBlacklist {
    pub fn remove(&self, node_id: &str) {
        self.removed.lock().expect("no panic").insert(node_id.to_owned());
    }

    pub fn demote(&self, node_id: &str) {
        self.demoted.lock().expect("no panic").insert(node_id.to_owned());
    }
}

impl Blacklist for FakeBlacklist {
    fn is_removed(&self, node_id: &str) -> bool {
        self.removed.lock().expect("no panic").contains(node_id)
    }

    fn is_demoted(&self, node_id: &str) -> bool {
        self.demoted.lock().expect("no panic").contains(node_id)
    }
}

pub struct Manager {
    /// Of the remote listener.
    pub addr: String,
    /// Of the control socket.
    pub socket: PathBuf,
    pub leader: FakeLeader,
    pub blacklist: FakeBlacklist,
    pub pool: ChannelPool,
    pub security: SecurityConfig,
    pub stop: CancellationToken,
    pub stats: Arc<skep_api::listener::ListenerStats>,
    folder: tempfile::TempDir,
}

impl Manager {
    /// A manager that leads, with one service for everything.
    pub async fn start<S>(security: SecurityConfig, service: S) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        Self::start_with(security, |_, _| service).await
    }

    /// The same, with a service that needs to know the address and the pool.
    pub async fn start_with<S>(
        security: SecurityConfig,
        service: impl FnOnce(&str, &ChannelPool) -> S,
    ) -> Self
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send,
    {
        let tls = Arc::new(security.clone());
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let remote = RemoteListener::bind(any_port, tls.clone()).await.expect("bound");
        let addr = remote.local_addr().expect("bound").to_string();
        let folder = tempfile::tempdir().expect("a folder");
        let socket = folder.path().join("control.sock");
        let control = ControlSocket::bind(&socket, tls.clone()).expect("bound");

        let leader = FakeLeader(watch::Sender::new(Leader::Local));
        let blacklist = FakeBlacklist::default();
        let pool = ChannelPool::new(tls);
        let around = Surroundings {
            identity: Arc::new(own(&security)),
            blacklist: Arc::new(blacklist.clone()),
            leader: Arc::new(leader.clone()),
            pool: pool.clone(),
        };
        let service = service(&addr, &pool);
        let stop = CancellationToken::new();
        let stats = remote.stats();
        let door = Door::remote(around.clone(), service.clone()).until(stop.clone());
        tokio::spawn(remote.serve(door, stop.clone()));
        tokio::spawn(control.serve(Door::local(around, service), stop.clone()));
        Self { addr, socket, leader, blacklist, pool, security, stop, stats, folder }
    }
}

fn own(security: &SecurityConfig) -> Arc<OwnIdentity> {
    let identity = security.identity();
    Arc::new(OwnIdentity {
        node_id: identity.node_id.as_str().into(),
        cluster_id: identity.cluster_id.as_str().into(),
        units: Arc::new([identity.role.organizational_unit().to_owned()]),
        addr: "10.9.8.7:2377".into(),
    })
}

impl Drop for Manager {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
