//! The way to a manager: the one in this process when it runs, any of the known ones otherwise.

use std::{error::Error as _, sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tokio::sync::watch;
use tonic::transport::Channel;

use crate::remotes::{Remote, Remotes};

/// How long dialling may take (SwarmKit's limit).
pub const DIAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Why there is no connection.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ConnectError {
    /// Nobody to ask.
    #[error(
        "no manager is known: none runs in this process, and none was given; join the cluster \
         with the address of a manager"
    )]
    NoManager,
    /// The manager does not answer.
    #[error("cannot reach the manager at {addr}: {reason}")]
    Unreachable {
        /// The address that was dialled.
        addr: String,
        /// What went wrong.
        reason: String,
    },
}

/// Whom a connection leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// The manager in this process.
    Local,
    /// A manager elsewhere.
    Remote(Remote),
}

/// A connection to a manager.
#[derive(Clone, Debug)]
pub struct Connection {
    /// For calls.
    pub channel: Channel,
    /// Whom it leads to.
    pub via: Via,
}

/// Finds a manager for each session.
pub trait Connector: Send + Sync + 'static {
    /// Connects to a manager. Safe to drop.
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>>;

    /// Takes note of how a connection served, for the choice of the next.
    fn observe(&self, via: &Via, served: bool);

    /// The managers named by a session: they replace the known ones.
    fn managers(&self, managers: &[skep_proto::swarmkit::WeightedPeer]);
}

/// Opens connections to addresses, with this node's certificate and trust.
pub trait Dial: Send + Sync + 'static {
    /// Connects to `host:port`. Safe to drop.
    fn dial(&self, addr: &str) -> BoxFuture<'static, Result<Channel, ConnectError>>;
}

/// Prefers the manager in this process and falls back to the remote ones.
pub struct LocalFirst {
    local: watch::Receiver<Option<Channel>>,
    remotes: Arc<Remotes>,
    dial: Arc<dyn Dial>,
}

impl LocalFirst {
    /// `local` holds a channel for as long as a manager runs in this process.
    pub fn new(
        local: watch::Receiver<Option<Channel>>,
        remotes: Arc<Remotes>,
        dial: Arc<dyn Dial>,
    ) -> LocalFirst {
        LocalFirst { local, remotes, dial }
    }

    /// For a process that never runs a manager.
    pub fn remotes_only(remotes: Arc<Remotes>, dial: Arc<dyn Dial>) -> LocalFirst {
        LocalFirst::new(watch::channel(None).1, remotes, dial)
    }

    async fn connect_within_limit(&self) -> Result<Connection, ConnectError> {
        let mut local = self.local.clone();
        let mut remotes = self.remotes.watch();
        loop {
            let channel = local.borrow_and_update().clone();
            if let Some(channel) = channel {
                return Ok(Connection { channel, via: Via::Local });
            }
            remotes.mark_unchanged();
            if let Some(remote) = self.remotes.choose() {
                let addr = remote.addr.clone();
                let dialled = tokio::time::timeout(DIAL_TIMEOUT, self.dial.dial(&addr)).await;
                let result = dialled.unwrap_or_else(|_| {
                    let reason = format!("no answer within {} s", DIAL_TIMEOUT.as_secs());
                    Err(ConnectError::Unreachable { addr, reason })
                });
                self.remotes.observe(&remote, result.is_ok());
                return result.map(|channel| Connection { channel, via: Via::Remote(remote) });
            }
            // A node that is just starting: its own manager, or an operator's address, is on the way.
            tokio::select! {
                _ = remotes.changed() => {}
                changed = local.changed() => {
                    if changed.is_err() {
                        // No local manager will come any more.
                        let _ = remotes.changed().await;
                    }
                }
            }
        }
    }
}

impl Connector for LocalFirst {
    fn connect(&self) -> BoxFuture<'_, Result<Connection, ConnectError>> {
        Box::pin(async {
            tokio::time::timeout(2 * DIAL_TIMEOUT, self.connect_within_limit())
                .await
                .unwrap_or(Err(ConnectError::NoManager))
        })
    }

    fn observe(&self, via: &Via, served: bool) {
        if let Via::Remote(remote) = via {
            self.remotes.observe(remote, served);
        }
    }

    fn managers(&self, managers: &[skep_proto::swarmkit::WeightedPeer]) {
        self.remotes.replace(managers);
    }
}

/// Dials by TLS with this node's certificate.
impl Dial for skep_ca::connect::Dial {
    fn dial(&self, addr: &str) -> BoxFuture<'static, Result<Channel, ConnectError>> {
        let (dial, addr) = (self.clone(), addr.to_owned());
        Box::pin(async move {
            dial.connect(&addr).await.map_err(|error| {
                let reasons = std::iter::successors(error.source(), |&e| e.source());
                let reason = reasons.map(|e| e.to_string()).collect::<Vec<_>>().join(": ");
                ConnectError::Unreachable { addr, reason }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use tonic::transport::Endpoint;

    use super::*;

    /// Connects to nothing, lazily, except for addresses that begin with "down", which fail, and "silent".
    struct FakeDial;

    impl Dial for FakeDial {
        fn dial(&self, addr: &str) -> BoxFuture<'static, Result<Channel, ConnectError>> {
            let addr = addr.to_owned();
            Box::pin(async move {
                if addr.starts_with("silent") {
                    std::future::pending::<()>().await;
                }
                if addr.starts_with("down") {
                    return Err(ConnectError::Unreachable { addr, reason: "refused".into() });
                }
                Ok(lazy())
            })
        }
    }

    fn lazy() -> Channel {
        Endpoint::from_static("http://manager").connect_lazy()
    }

    fn remotes(addrs: &[&str]) -> Arc<Remotes> {
        let remote = |a: &&str| Remote { node_id: (*a).into(), addr: (*a).into() };
        Arc::new(Remotes::new(addrs.iter().map(remote), 1))
    }

    #[tokio::test(start_paused = true)]
    async fn the_manager_in_this_process_is_preferred_while_it_runs() {
        let (local, seen) = watch::channel(Some(lazy()));
        let connector = LocalFirst::new(seen, remotes(&["m1"]), Arc::new(FakeDial));
        assert_eq!(connector.connect().await.unwrap().via, Via::Local);
        local.send_replace(None);
        let Via::Remote(remote) = connector.connect().await.unwrap().via else { panic!("local") };
        assert_eq!(remote.addr, "m1");
        drop(local);
        assert!(connector.connect().await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_starting_node_waits_for_its_own_manager() {
        let (local, seen) = watch::channel(None);
        let connector = LocalFirst::new(seen, remotes(&[]), Arc::new(FakeDial));
        let (connected, ()) = tokio::join!(connector.connect(), async {
            tokio::task::yield_now().await;
            local.send_replace(Some(lazy()));
        });
        assert_eq!(connected.unwrap().via, Via::Local);
    }

    #[tokio::test(start_paused = true)]
    async fn no_manager_and_no_answer_are_told_apart() {
        let nobody = LocalFirst::remotes_only(remotes(&[]), Arc::new(FakeDial));
        assert!(matches!(nobody.connect().await, Err(ConnectError::NoManager)));
        let down = LocalFirst::remotes_only(remotes(&["down1"]), Arc::new(FakeDial));
        let error = down.connect().await.unwrap_err().to_string();
        assert_eq!(error, "cannot reach the manager at down1: refused");
        let silent = LocalFirst::remotes_only(remotes(&["silent1"]), Arc::new(FakeDial));
        let error = silent.connect().await.unwrap_err().to_string();
        assert_eq!(error, "cannot reach the manager at silent1: no answer within 5 s");
    }
}
