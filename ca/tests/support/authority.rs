//! A manager's CA and NodeCA services over real TLS, with a root in memory and knobs for its moods.

use std::{
    collections::HashMap,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::Bytes;
use parking_lot::Mutex;
use rustls_pki_types::CertificateDer;
use skep_ca::{Clock, Csr, Identity, JoinToken, Role, RootCa, SecurityConfig};
use skep_proto::{
    ids::{ClusterId, NodeId},
    swarmkit::{
        Certificate, GetRootCaCertificateRequest, GetRootCaCertificateResponse,
        GetUnlockKeyRequest, GetUnlockKeyResponse, IssuanceStatus, IssueNodeCertificateRequest,
        IssueNodeCertificateResponse, NodeCertificateStatusRequest, NodeCertificateStatusResponse,
        Version,
        ca_server::{Ca, CaServer},
        issuance_status::State,
        node_ca_server::{NodeCa, NodeCaServer},
    },
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tonic::{Request, Response, Status, transport::server::Connected};

use crate::support::{Cluster, DAY};

/// What the fake does next.
pub struct Moods {
    /// Polls that are answered as pending before the certificate is there.
    pub pending_polls: usize,
    /// Answer this many polls with somebody else's certificate first.
    pub foreign_answers: usize,
    /// Refuse to sign.
    pub fail: bool,
    /// Issue calls refused as a manager that has only just started does.
    pub not_ready: usize,
    /// The role that renewals get.
    pub renewed_role: Role,
    pub unlock_key: Vec<u8>,
    pub served_root: Bytes,
}

struct Pending {
    csr: Bytes,
    identity: Identity,
}

pub struct Authority {
    pub root: Mutex<RootCa>,
    pub worker: JoinToken,
    pub manager: JoinToken,
    pub moods: Mutex<Moods>,
    cluster_id: ClusterId,
    clock: Clock,
    pending: Mutex<HashMap<String, Pending>>,
}

impl Authority {
    /// Starts serving on loopback with a manager certificate of the cluster.
    pub async fn start(cluster: &Cluster) -> (Arc<Authority>, SocketAddr) {
        let digest = cluster.root.digest();
        let moods = Moods {
            pending_polls: 0,
            foreign_answers: 0,
            fail: false,
            not_ready: 0,
            renewed_role: Role::Worker,
            unlock_key: Vec::new(),
            served_root: cluster.root.pem().clone(),
        };
        let authority = Arc::new(Authority {
            root: Mutex::new(cluster.root.clone()),
            worker: JoinToken::generate(digest, false),
            manager: JoinToken::generate(digest, false),
            moods: Mutex::new(moods),
            cluster_id: cluster.id,
            clock: cluster.clock.clone(),
            pending: Mutex::default(),
        });
        let addr = serve(&cluster.node(Role::Manager), Arc::clone(&authority)).await;
        (authority, addr)
    }
}

#[tonic::async_trait]
impl Ca for Authority {
    async fn get_root_ca_certificate(
        &self,
        _: Request<GetRootCaCertificateRequest>,
    ) -> Result<Response<GetRootCaCertificateResponse>, Status> {
        let certificate = self.moods.lock().served_root.clone();
        Ok(Response::new(GetRootCaCertificateResponse { certificate }))
    }

    async fn get_unlock_key(
        &self,
        request: Request<GetUnlockKeyRequest>,
    ) -> Result<Response<GetUnlockKeyResponse>, Status> {
        match caller(&request) {
            Some(Identity { role: Role::Manager, .. }) => {
                let unlock_key = self.moods.lock().unlock_key.clone().into();
                let version = Some(Version { index: 42 });
                Ok(Response::new(GetUnlockKeyResponse { unlock_key, version }))
            }
            _ => Err(Status::permission_denied("managers only")),
        }
    }
}

#[tonic::async_trait]
impl NodeCa for Authority {
    async fn issue_node_certificate(
        &self,
        request: Request<IssueNodeCertificateRequest>,
    ) -> Result<Response<IssueNodeCertificateResponse>, Status> {
        let caller = caller(&request);
        let request = request.into_inner();
        let mut moods = self.moods.lock();
        if moods.not_ready > 0 {
            moods.not_ready -= 1;
            return Err(Status::aborted("CA signer is stopped"));
        }
        let identity = match caller {
            Some(caller) => Identity { role: moods.renewed_role, ..caller },
            None => {
                let role = match request.token.as_str() {
                    token if token == self.manager.expose() => Role::Manager,
                    token if token == self.worker.expose() => Role::Worker,
                    _ => {
                        return Err(Status::invalid_argument(
                            "A valid join token is necessary to join this cluster",
                        ));
                    }
                };
                let node_id = NodeId::random(&mut rand::rng());
                Identity { node_id, role, cluster_id: self.cluster_id }
            }
        };
        let node_id = identity.node_id.to_string();
        self.pending.lock().insert(node_id.clone(), Pending { csr: request.csr, identity });
        Ok(Response::new(IssueNodeCertificateResponse { node_id, ..Default::default() }))
    }

    async fn node_certificate_status(
        &self,
        request: Request<NodeCertificateStatusRequest>,
    ) -> Result<Response<NodeCertificateStatusResponse>, Status> {
        let pending = self.pending.lock();
        let node_id = request.into_inner().node_id;
        let asked = pending.get(&node_id).ok_or_else(|| Status::not_found("no such node"))?;
        let mut moods = self.moods.lock();
        let root = self.root.lock();
        let sign = |csr: &Csr, identity: Identity| {
            root.issue(csr, identity, 90 * DAY, self.clock.now()).unwrap()
        };
        let (state, csr, certificate) = if moods.foreign_answers > 0 {
            moods.foreign_answers -= 1;
            let csr = skep_ca::NodeKey::generate().unwrap().request().unwrap();
            (State::Issued, csr.pem().clone(), sign(&csr, asked.identity))
        } else if moods.pending_polls > 0 {
            moods.pending_polls -= 1;
            (State::Pending, asked.csr.clone(), Bytes::new())
        } else if moods.fail {
            (State::Failed, asked.csr.clone(), Bytes::new())
        } else {
            let chain = sign(&Csr::from_pem(asked.csr.clone()), asked.identity);
            (State::Issued, asked.csr.clone(), chain)
        };
        let err = if state == State::Failed { "no ink".to_owned() } else { String::new() };
        let status = Some(IssuanceStatus { state: state.into(), err });
        Ok(Response::new(NodeCertificateStatusResponse {
            status: status.clone(),
            certificate: Some(Certificate { csr, certificate, status, ..Default::default() }),
        }))
    }
}

fn caller<T>(request: &Request<T>) -> Option<Identity> {
    let leaf = request.extensions().get::<Option<CertificateDer<'static>>>()?.as_ref()?;
    Some(Identity::from_certificate(leaf).unwrap())
}

async fn serve(security: &SecurityConfig, authority: Arc<Authority>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let acceptor = TlsAcceptor::from(security.server_config());
    let incoming = futures::stream::unfold(listener, move |listener| {
        let acceptor = acceptor.clone();
        async move {
            loop {
                let (tcp, _) = listener.accept().await.ok()?;
                if let Ok(tls) = acceptor.accept(tcp).await {
                    return Some((std::io::Result::Ok(Stream(tls)), listener));
                }
            }
        }
    });
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(CaServer::from_arc(Arc::clone(&authority)))
            .add_service(NodeCaServer::from_arc(authority))
            .serve_with_incoming(incoming),
    );
    addr
}

struct Stream(TlsStream<TcpStream>);

impl Connected for Stream {
    type ConnectInfo = Option<CertificateDer<'static>>;
    fn connect_info(&self) -> Self::ConnectInfo {
        let chain = self.0.get_ref().1.peer_certificates()?;
        Some(chain.first()?.clone().into_owned())
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }
    fn poll_flush(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }
    fn poll_shutdown(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}
