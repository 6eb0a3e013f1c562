//! A manager's control interface, as far as the load needs it: create, list and remove small objects.

use std::{
    path::{Path, PathBuf},
    time::Duration,
};

use anyhow::Context as _;
use bytes::Bytes;
use clap::ValueEnum;
use skep_proto::swarmkit::{
    Annotations, ConfigSpec, CreateConfigRequest, CreateSecretRequest, ListClustersRequest,
    ListConfigsRequest, ListSecretsRequest, RemoveConfigRequest, RemoveSecretRequest, SecretSpec,
    control_client::ControlClient, list_configs_request, list_secrets_request,
};
use tonic::{Code, Request, Status, transport::Channel};

/// The deadline of one call under load; a stock manager that looks for a leader needs more than 20 s.
const CALL_LIMIT: Duration = Duration::from_secs(60);
/// The deadline of the call that finds out whether a socket speaks TLS.
const HELLO_LIMIT: Duration = Duration::from_secs(10);

/// What the load creates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Configs
    Config,
    /// Secrets
    Secret,
}

/// Connections to one control socket, used in turn.
pub struct Manager {
    channels: Vec<Channel>,
}

impl Manager {
    /// Opens `connections` connections. Ours speak plaintext and TLS at the control socket, a stock one TLS only, so
    /// plaintext is tried first.
    pub async fn open(socket: &Path, connections: usize) -> anyhow::Result<Manager> {
        let plaintext = skep_ca::connect::unix(socket);
        let open: fn(&Path) -> Channel = match hello(plaintext).await {
            Ok(()) => skep_ca::connect::unix,
            Err(_) => {
                let answer = hello(skep_ca::connect::unix_tls(socket)).await;
                answer.with_context(|| format!("cannot use {}", socket.display()))?;
                skep_ca::connect::unix_tls
            }
        };
        Ok(Manager { channels: (0..connections).map(|_| open(socket)).collect() })
    }

    /// The control interface.
    pub fn control(&self) -> ControlClient<Channel> {
        ControlClient::new(self.channels[0].clone()).max_decoding_message_size(usize::MAX)
    }

    /// A client for the writer of this number.
    pub fn client(&self, writer: usize) -> Client {
        let channel = self.channels[writer % self.channels.len()].clone();
        // Thousands of objects are listed at the end.
        Client(ControlClient::new(channel).max_decoding_message_size(usize::MAX))
    }
}

/// Opens the managers of several sockets.
pub async fn open_all(sockets: &[PathBuf], connections: usize) -> anyhow::Result<Vec<Manager>> {
    let mut managers = Vec::new();
    for socket in sockets {
        managers.push(Manager::open(socket, connections).await?);
    }
    Ok(managers)
}

/// One writer's client.
#[derive(Clone)]
pub struct Client(ControlClient<Channel>);

impl Client {
    /// Creates an object and gives its id.
    pub async fn create(
        &mut self,
        kind: Kind,
        name: String,
        data: Bytes,
    ) -> Result<String, Status> {
        let annotations = Some(Annotations { name, ..Annotations::default() });
        let id = match kind {
            Kind::Config => {
                let spec = Some(ConfigSpec { annotations, data, ..ConfigSpec::default() });
                let reply = self.0.create_config(within(CreateConfigRequest { spec })).await?;
                reply.into_inner().config.map(|c| c.id)
            }
            Kind::Secret => {
                let spec = Some(SecretSpec { annotations, data, ..SecretSpec::default() });
                let reply = self.0.create_secret(within(CreateSecretRequest { spec })).await?;
                reply.into_inner().secret.map(|s| s.id)
            }
        };
        id.ok_or_else(|| Status::internal("the reply has no object"))
    }

    /// Removes an object.
    pub async fn remove(&mut self, kind: Kind, id: String) -> Result<(), Status> {
        match kind {
            Kind::Config => {
                let request = within(RemoveConfigRequest { config_id: id });
                self.0.remove_config(request).await.map(drop)
            }
            Kind::Secret => {
                let request = within(RemoveSecretRequest { secret_id: id });
                self.0.remove_secret(request).await.map(drop)
            }
        }
    }

    /// Ids and names of the objects whose names begin with `prefix`.
    pub async fn list(
        &mut self,
        kind: Kind,
        prefix: &str,
    ) -> Result<Vec<(String, String)>, Status> {
        let name_prefixes = vec![prefix.to_owned()];
        let name = |annotations: Option<Annotations>| annotations.unwrap_or_default().name;
        match kind {
            Kind::Config => {
                let filters = Some(list_configs_request::Filters {
                    name_prefixes,
                    ..list_configs_request::Filters::default()
                });
                let reply = self.0.list_configs(within(ListConfigsRequest { filters })).await?;
                let configs = reply.into_inner().configs.into_iter();
                Ok(configs.map(|c| (c.id, name(c.spec.and_then(|s| s.annotations)))).collect())
            }
            Kind::Secret => {
                let filters = Some(list_secrets_request::Filters {
                    name_prefixes,
                    ..list_secrets_request::Filters::default()
                });
                let reply = self.0.list_secrets(within(ListSecretsRequest { filters })).await?;
                let secrets = reply.into_inner().secrets.into_iter();
                Ok(secrets.map(|s| (s.id, name(s.spec.and_then(|s| s.annotations)))).collect())
            }
        }
    }
}

/// Whether there is a manager at the other end that has a cluster.
async fn hello(channel: Channel) -> Result<(), Status> {
    let mut request = Request::new(ListClustersRequest::default());
    request.set_timeout(HELLO_LIMIT);
    let reply = ControlClient::new(channel).list_clusters(request).await?;
    match reply.into_inner().clusters.is_empty() {
        true => Err(Status::new(Code::FailedPrecondition, "it has no cluster")),
        false => Ok(()),
    }
}

fn within<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_LIMIT);
    request
}
