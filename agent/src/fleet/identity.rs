//! The identity of a worker that lives in memory alone: what managers say about it is acted on, and nothing is written.

use std::sync::Arc;

use bytes::Bytes;
use futures::{FutureExt as _, future::BoxFuture};
use rustls::ClientConfig;
use skep_ca::{
    PeerName, Role, RootCa, SecurityConfig,
    connect::{self, ConnectError},
    enroll::Managers,
    renewal::Renewals,
};
use skep_proto::swarmkit::{NodeRole, NodeTlsInfo};
use tonic::transport::Channel;

use crate::{IdentityEvents, Remotes};

/// Acts on what the managers say about a worker's identity.
pub(super) struct InMemory {
    pub security: SecurityConfig,
    pub renewals: Renewals,
}

impl IdentityEvents for InMemory {
    fn tls_info(&self) -> Option<NodeTlsInfo> {
        Some(self.security.tls_info())
    }

    fn tls_changed(&self) -> BoxFuture<'_, ()> {
        self.security.changed().boxed()
    }

    fn root_changed(&self, root_pem: Bytes) {
        if self.security.root().pem() == &root_pem {
            return;
        }
        let root = RootCa::from_pem(root_pem, self.security.clock().now());
        let taken = root
            .map_err(|e| e.to_string())
            .and_then(|root| self.security.replace_root(root).map_err(|e| e.to_string()));
        if let Err(error) = taken {
            tracing::warn!(error, "the cluster's root CA is not taken over");
        }
    }

    fn role_wanted(&self, role: NodeRole) {
        match role {
            NodeRole::Worker => self.renewals.expect_role(Role::Worker),
            NodeRole::Manager => tracing::warn!("a simulated worker cannot become a manager"),
        }
    }

    fn rotation_wanted(&self) {
        self.renewals.renew_now();
    }
}

/// The managers that a worker knows, for its certificate requests.
pub(super) struct Known(pub Arc<Remotes>);

impl Managers for Known {
    fn channel(
        &self,
        tls: Arc<ClientConfig>,
        name: PeerName,
        _: bool,
    ) -> BoxFuture<'_, Result<Channel, ConnectError>> {
        let remote = self.0.choose();
        async move {
            let remote = remote.ok_or(ConnectError::Address { addr: String::new() })?;
            connect::Dial::new(tls, name).connect(&remote.addr).await
        }
        .boxed()
    }
}
