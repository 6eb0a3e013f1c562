//! A cluster's identities, and a TLS listener that says who called.

#![allow(dead_code, reason = "each test file uses a part")]

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use rustls::{ClientConfig, ServerConfig};
use rustls_pki_types::ServerName;
use skep_ca::{
    Clock, Credentials, Identity, NodeKey, PeerName, Role, RootCa, SecurityConfig, root::Signer,
};
use skep_proto::ids::{ClusterId, NodeId};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use tokio_rustls::{TlsAcceptor, TlsConnector};

pub const DAY: Duration = Duration::from_secs(24 * 3600);

pub struct Cluster {
    pub clock: Clock,
    pub root: RootCa,
    pub id: ClusterId,
}

impl Cluster {
    pub fn new() -> Cluster {
        let clock = Clock::still(SystemTime::UNIX_EPOCH + Duration::from_secs(1_900_000_000));
        let root = RootCa::generate(clock.now()).unwrap();
        Cluster { clock, root, id: ClusterId::random(&mut rand::rng()) }
    }

    pub fn identity(&self, role: Role) -> Identity {
        let node_id = NodeId::random(&mut rand::rng());
        Identity { node_id, role, cluster_id: self.id }
    }

    /// Certificate and key for a new node, issued by this cluster's present signer.
    pub fn credentials(&self, role: Role) -> Credentials {
        credentials_from(&self.root, self.identity(role), &self.clock)
    }

    pub fn node(&self, role: Role) -> SecurityConfig {
        SecurityConfig::new(
            self.root.clone().without_signer(),
            self.credentials(role),
            self.clock.clone(),
        )
        .unwrap()
    }
}

pub fn credentials_from(root: &RootCa, identity: Identity, clock: &Clock) -> Credentials {
    let key = NodeKey::generate().unwrap();
    let chain = root.issue(&key.request().unwrap(), identity, 90 * DAY, clock.now()).unwrap();
    Credentials::new(chain, key).unwrap()
}

/// The old root, signing with `next`'s key and the cross-signed certificate: a rotation in progress.
pub fn rotating(old: &RootCa, next: &RootCa, clock: &Clock) -> RootCa {
    let cross = old.signer().unwrap().cross_sign(&next.certificates()[0]).unwrap();
    let signer = next.signer().unwrap();
    let signer = Signer::new(signer.certificate().clone(), signer.key().clone(), cross).unwrap();
    old.clone().with_signer(signer, clock.now()).unwrap()
}

/// Serves one answer per connection: the caller's identity, or `anonymous`.
pub async fn listen(config: Arc<ServerConfig>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((tcp, _)) = listener.accept().await {
            let acceptor = TlsAcceptor::from(Arc::clone(&config));
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let peer = tls.get_ref().1.peer_certificates().and_then(|chain| chain.first());
                let text = match peer {
                    Some(leaf) => {
                        let identity = Identity::from_certificate(leaf).unwrap();
                        format!("{} {}", identity.role, identity.node_id)
                    }
                    None => "anonymous".to_owned(),
                };
                let _ = tls.write_all(text.as_bytes()).await;
                let _ = tls.shutdown().await;
                // Keep reading, so that the answer is not cut off by a reset.
                let _ = tls.read(&mut [0]).await;
            });
        }
    });
    addr
}

/// What the listener says to a client, or how the handshake failed on either side.
pub async fn call(
    addr: SocketAddr,
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
) -> Result<String, String> {
    let talk = async {
        let tcp = TcpStream::connect(addr).await?;
        let mut tls = TlsConnector::from(config).connect(name, tcp).await?;
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let mut answer = String::new();
        tls.read_to_string(&mut answer).await?;
        std::io::Result::Ok(answer)
    };
    talk.await.map_err(|error| error.to_string())
}

pub async fn call_manager(addr: SocketAddr, client: &SecurityConfig) -> Result<String, String> {
    call(addr, client.client_config(), PeerName::Manager.server_name()).await
}
