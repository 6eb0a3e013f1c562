//! What nodes, services, secrets, configs and networks have in common at the control interface: get, list with
//! filters, and remove. Told once here, so that finding and removing is written once.

use std::collections::BTreeMap;

use skep_proto::swarmkit::{self as api, Config, Network, Node, Secret, Service};
use tonic::Status;

use crate::connect::Connection;

/// Which objects of a kind a listing asks for. Values of one field are alternatives; fields narrow each other down.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Whole names; of nodes, host names.
    pub names: Vec<String>,
    /// Beginnings of names.
    pub name_prefixes: Vec<String>,
    /// Beginnings of ids.
    pub id_prefixes: Vec<String>,
    /// Labels; an empty value means any.
    pub labels: BTreeMap<String, String>,
}

/// A kind of object that is stored in the cluster.
#[allow(async_fn_in_trait, reason = "used with the types of this crate alone, on one thread")]
pub trait Stored: Sized {
    /// What operators call it.
    const NOUN: &'static str;

    /// Its id.
    fn id(&self) -> &str;
    /// Its name; of a node, its host name.
    fn name(&self) -> &str;
    /// The object of this id.
    async fn get(connection: &Connection, id: &str) -> Result<Option<Self>, Status>;
    /// The objects that `selection` names.
    async fn list(connection: &Connection, selection: Selection) -> Result<Vec<Self>, Status>;
    /// Removes the object; `force` means something for nodes alone.
    async fn remove(connection: &Connection, id: &str, force: bool) -> Result<(), Status>;
}

macro_rules! stored {
    ($object:ident, $noun:literal, name: |$this:ident| $name:expr,
     $get:ident($get_request:ident { $get_id:ident }) -> $one:ident,
     $list:ident($list_request:ident, $filters:ident) -> $many:ident,
     $remove:ident($remove_request:ident { $remove_id:ident $(, $force:ident)? })) => {
        #[allow(clippy::needless_update, reason = "some of the requests have more fields")]
        impl Stored for $object {
            const NOUN: &'static str = $noun;

            fn id(&self) -> &str {
                &self.id
            }

            fn name(&self) -> &str {
                let $this = self;
                $name
            }

            async fn get(connection: &Connection, id: &str) -> Result<Option<Self>, Status> {
                let request = api::$get_request { $get_id: id.into(), ..Default::default() };
                let reply = connection.control().$get(connection.request(request)).await?;
                Ok(reply.into_inner().$one)
            }

            async fn list(connection: &Connection, from: Selection) -> Result<Vec<Self>, Status> {
                let filters = api::$filters::Filters {
                    names: from.names,
                    name_prefixes: from.name_prefixes,
                    id_prefixes: from.id_prefixes,
                    labels: from.labels,
                    ..Default::default()
                };
                let request = api::$list_request { filters: Some(filters), ..Default::default() };
                let reply = connection.control().$list(connection.request(request)).await?;
                Ok(reply.into_inner().$many)
            }

            async fn remove(connection: &Connection, id: &str, _force: bool) -> Result<(), Status> {
                let request = api::$remove_request {
                    $remove_id: id.into(),
                    $($force: _force,)?
                    ..Default::default()
                };
                connection.control().$remove(connection.request(request)).await.map(drop)
            }
        }
    };
}

/// The name in the annotations of an object's spec.
macro_rules! spec_name {
    ($object:expr) => {
        $object.spec.as_ref().and_then(|s| s.annotations.as_ref()).map_or("", |a| &a.name)
    };
}

stored!(Node, "node", name: |node| node.description.as_ref().map_or("", |d| &d.hostname),
    get_node(GetNodeRequest { node_id }) -> node,
    list_nodes(ListNodesRequest, list_nodes_request) -> nodes,
    remove_node(RemoveNodeRequest { node_id, force }));
stored!(Service, "service", name: |service| spec_name!(service),
    get_service(GetServiceRequest { service_id }) -> service,
    list_services(ListServicesRequest, list_services_request) -> services,
    remove_service(RemoveServiceRequest { service_id }));
stored!(Secret, "secret", name: |secret| spec_name!(secret),
    get_secret(GetSecretRequest { secret_id }) -> secret,
    list_secrets(ListSecretsRequest, list_secrets_request) -> secrets,
    remove_secret(RemoveSecretRequest { secret_id }));
stored!(Config, "config", name: |config| spec_name!(config),
    get_config(GetConfigRequest { config_id }) -> config,
    list_configs(ListConfigsRequest, list_configs_request) -> configs,
    remove_config(RemoveConfigRequest { config_id }));
stored!(Network, "network", name: |network| spec_name!(network),
    get_network(GetNetworkRequest { network_id }) -> network,
    list_networks(ListNetworksRequest, list_networks_request) -> networks,
    remove_network(RemoveNetworkRequest { network_id }));
