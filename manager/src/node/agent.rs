//! What ties the agent and the renewals of a node together: what the managers say about its identity becomes a new
//! root, a renewal, another role; and both find managers by the same list.

use std::{path::PathBuf, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use rustls::ClientConfig;
use skep_agent::{
    Agent, AgentConfig, ConnectError as AgentConnectError, Dial, IdentityEvents, LocalFirst,
    Remotes, description, executor,
};
use skep_ca::{
    PeerName, Role, SecurityConfig,
    connect::{self, ConnectError},
    enroll::Managers,
    files::CertificateFolder,
    renewal::{self, Renewals},
};
use skep_proto::swarmkit::{NodeRole, NodeTlsInfo};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{info, warn};

use super::{Manager, error::chain};

/// Makes the agent of a node.
pub fn agent(
    hostname: &str,
    hooks: IdentityHooks,
    local: watch::Receiver<Option<Channel>>,
    remotes: &Arc<Remotes>,
    remembered: PathBuf,
) -> Agent {
    let security = hooks.security.clone();
    let connector = LocalFirst::new(local, Arc::clone(remotes), Arc::new(AgentDial(security)));
    Agent::new(AgentConfig {
        executor: Arc::new(executor::None::new(description::of_this_machine(hostname))),
        identity: Arc::new(hooks),
        connector: Arc::new(connector),
        remembered: Some((remembered, Arc::clone(remotes))),
        seed: rand::random(),
    })
}

/// Acts on what the managers say about this node's identity.
pub struct IdentityHooks {
    /// The identity in use.
    pub security: SecurityConfig,
    /// Where the root is kept.
    pub folder: CertificateFolder,
    /// The loop that renews.
    pub renewals: Renewals,
}

impl IdentityEvents for IdentityHooks {
    fn tls_info(&self) -> Option<NodeTlsInfo> {
        Some(self.security.tls_info())
    }

    fn tls_changed(&self) -> BoxFuture<'_, ()> {
        self.security.changed().boxed()
    }

    fn root_changed(&self, root_pem: Bytes) {
        let (security, folder) = (self.security.clone(), self.folder.clone());
        tokio::task::spawn_blocking(move || {
            match renewal::take_root(&security, &folder, &root_pem) {
                Ok(true) => info!("the cluster's new root CA is trusted from now on"),
                Ok(false) => {}
                Err(error) => {
                    warn!(error = %chain(&error), "the cluster's root CA is not taken over")
                }
            }
        });
    }

    fn role_wanted(&self, role: NodeRole) {
        let role = match role {
            NodeRole::Worker => Role::Worker,
            NodeRole::Manager => Role::Manager,
        };
        self.renewals.expect_role(role);
    }

    fn rotation_wanted(&self) {
        self.renewals.renew_now();
    }
}

/// Dials managers for the agent, with the certificate of the moment.
struct AgentDial(SecurityConfig);

impl Dial for AgentDial {
    fn dial(&self, addr: &str) -> BoxFuture<'static, Result<Channel, AgentConnectError>> {
        let dial = connect::Dial::new(self.0.client_config(), PeerName::Manager);
        let addr = addr.to_owned();
        async move {
            dial.connect(&addr)
                .await
                .map_err(|error| AgentConnectError::Unreachable { reason: chain(&error), addr })
        }
        .boxed()
    }
}

/// Managers for certificate requests: this node's own while it runs one, else the known ones, else its own again by
/// its address, which is how a lone manager asks for the unlock key.
pub struct RenewalManagers {
    /// The known managers.
    pub remotes: Arc<Remotes>,
    /// A channel to this node's own control socket while a manager runs behind it.
    pub local: watch::Receiver<Option<Channel>>,
    /// The manager of this node.
    pub manager: watch::Receiver<Option<Arc<Manager>>>,
}

impl Managers for RenewalManagers {
    fn channel(
        &self,
        tls: Arc<ClientConfig>,
        name: PeerName,
        remote_only: bool,
    ) -> BoxFuture<'_, Result<Channel, ConnectError>> {
        async move {
            if !remote_only && let Some(local) = self.local.borrow().clone() {
                return Ok(local);
            }
            let own = || self.manager.borrow().as_ref().and_then(|m| m.advertised_addr());
            let addr = self.remotes.choose().map(|remote| remote.addr).or_else(own);
            let addr = addr.ok_or(ConnectError::Address { addr: String::new() })?;
            connect::Dial::new(tls, name).connect(&addr).await
        }
        .boxed()
    }
}
