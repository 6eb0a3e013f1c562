//! The control socket: who may open it, what is spoken on it, and as whom.

mod support;

use std::{
    io::Write as _,
    os::unix::{
        fs::{FileTypeExt as _, PermissionsExt as _},
        net::{UnixListener, UnixStream},
    },
    sync::Arc,
};

use skep_api::{ControlSocket, listener::BindError};
use skep_ca::{Role, connect};
use support::{caller::call, cluster::Cluster, manager::Manager, script::Script, within};
use tonic::Code;

const LIST_NODES: &str = "/docker.swarmkit.v1.Control/ListNodes";

async fn manager() -> (Cluster, Manager) {
    let home = Cluster::new("cluster-1");
    let manager = Manager::start(home.node("manager-1", Role::Manager), Script::default()).await;
    (home, manager)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_and_tls_callers_speak_as_this_node() {
    let (_home, manager) = manager().await;
    for channel in [connect::unix(&manager.socket), connect::unix_tls(&manager.socket)] {
        let forged = [("forwarded_cert", "true"), ("forwarded_cert_cn", "somebody")];
        let answer = within("an answer", call(&channel, LIST_NODES, &forged)).await;
        assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
        assert_eq!(answer.header("x-kind"), "local");
        assert_eq!(answer.header("x-node"), "manager-1");
        assert_eq!(answer.header("x-cluster"), "cluster-1");
        assert_eq!(answer.header("x-units"), "swarm-manager");
        assert_eq!(answer.header("x-remote"), "10.9.8.7:2377");
        assert!(!answer.seen().iter().any(|line| line.starts_with("forwarded_")));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn services_of_managers_among_themselves_are_not_on_the_socket() {
    let (_home, manager) = manager().await;
    let channel = connect::unix(&manager.socket);
    for path in [
        "/docker.swarmkit.v1.Raft/ProcessRaftMessage",
        "/docker.swarmkit.v1.RaftMembership/Join",
        "/skep.v1.RaftStream/Exchange",
    ] {
        assert_eq!(call(&channel, path, &[]).await.code(), Code::Unimplemented, "{path}");
    }
    assert_eq!(call(&channel, "/skep.v1.Daemon/GetStatus", &[]).await.code(), Code::Ok);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_owner_may_open_it() {
    let (_home, manager) = manager().await;
    let metadata = std::fs::metadata(&manager.socket).expect("a socket");
    assert!(metadata.file_type().is_socket());
    assert_eq!(metadata.permissions().mode() & 0o777, 0o600);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_neither_tls_nor_http2_is_cut_off() {
    let (_home, manager) = manager().await;
    let path = manager.socket.clone();
    let closed = tokio::task::spawn_blocking(move || {
        use std::io::Read as _;
        let mut stream = UnixStream::connect(path).expect("connected");
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("written");
        matches!(stream.read(&mut [0; 16]), Ok(0) | Err(_))
    });
    assert!(within("the end", closed).await.expect("no panic"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_nobody_listens_on_is_replaced() {
    let home = Cluster::new("cluster-1");
    let tls = Arc::new(home.node("manager-1", Role::Manager));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    drop(UnixListener::bind(&path).expect("bound"));
    assert!(path.exists(), "a listener that is dropped leaves its file");
    let socket = ControlSocket::bind(&path, tls).expect("bound in its place");
    assert!(UnixStream::connect(&path).is_ok());
    drop(socket);
    assert!(!path.exists(), "the file goes with the socket");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_socket_that_somebody_listens_on_is_left_alone() {
    let (home, manager) = manager().await;
    let tls = Arc::new(home.node("manager-2", Role::Manager));
    let second = ControlSocket::bind(&manager.socket, tls);
    assert!(matches!(second, Err(BindError::InUse { .. })));
    let answer = call(&connect::unix(&manager.socket), LIST_NODES, &[]).await;
    assert_eq!(answer.code(), Code::Ok, "{}", answer.status);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_that_is_no_socket_is_left_alone() {
    let home = Cluster::new("cluster-1");
    let tls = Arc::new(home.node("manager-1", Role::Manager));
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("control.sock");
    std::fs::write(&path, "precious").expect("written");
    assert!(matches!(ControlSocket::bind(&path, tls), Err(BindError::NotASocket { .. })));
    assert_eq!(std::fs::read_to_string(&path).expect("still there"), "precious");
}
