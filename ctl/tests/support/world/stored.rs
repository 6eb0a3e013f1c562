//! Create, get, list and remove, which are alike for most kinds of objects.

use skep_proto::swarmkit::*;
use tonic::Status;

use super::{World, any, samples::meta};

macro_rules! stored {
    ($kind:literal, $table:ident: $object:ident, $one:ident, blank: $blank:expr,
     $create:ident($create_q:ident) -> $create_a:ident,
     $get:ident($get_q:ident { $id:ident }) -> $get_a:ident,
     $list:ident($list_q:ident, $filters:ident) -> $list_a:ident,
     $remove:ident($remove_q:ident) -> $remove_a:ident) => {
        pub fn $create(world: &mut World, request: $create_q) -> Result<$create_a, Status> {
            let name =
                |o: &$object| o.spec.as_ref().unwrap().annotations.as_ref().unwrap().name.clone();
            let id = world.new_id($kind);
            #[allow(clippy::needless_update, reason = "some of the objects have more fields")]
            let object = $object { id, meta: meta(20), spec: request.spec, ..Default::default() };
            if world.$table.iter().any(|o| name(o) == name(&object)) {
                let text = format!(
                    "rpc error: name conflicts with an existing object: {} {}",
                    $kind,
                    name(&object)
                );
                return Err(Status::already_exists(text));
            }
            world.$table.push(object.clone());
            Ok($create_a { $one: Some(object) })
        }

        pub fn $get(world: &mut World, request: $get_q) -> Result<$get_a, Status> {
            let found = world.$table.iter().find(|o| o.id == request.$id).cloned();
            let mut object = found.ok_or_else(|| Status::not_found("not found"))?;
            let blank: fn(&mut $object) = $blank;
            blank(&mut object);
            Ok($get_a { $one: Some(object) })
        }

        pub fn $list(world: &mut World, request: $list_q) -> Result<$list_a, Status> {
            let wanted: $filters::Filters = request.filters.unwrap_or_default();
            let chosen = |o: &&$object| {
                let annotations = o.spec.as_ref().unwrap().annotations.clone().unwrap_or_default();
                any(&wanted.names, |n| *n == annotations.name)
                    && any(&wanted.name_prefixes, |n| annotations.name.starts_with(n.as_str()))
                    && any(&wanted.id_prefixes, |i| o.id.starts_with(i.as_str()))
            };
            Ok($list_a { $table: world.$table.iter().filter(chosen).cloned().collect() })
        }

        pub fn $remove(world: &mut World, request: $remove_q) -> Result<$remove_a, Status> {
            world.$table.retain(|o| o.id != request.$id);
            Ok($remove_a {})
        }
    };
}

stored!("secret", secrets: Secret, secret, blank: |secret| secret.spec.as_mut().unwrap().data.clear(),
    create_secret(CreateSecretRequest) -> CreateSecretResponse,
    get_secret(GetSecretRequest { secret_id }) -> GetSecretResponse,
    list_secrets(ListSecretsRequest, list_secrets_request) -> ListSecretsResponse,
    remove_secret(RemoveSecretRequest) -> RemoveSecretResponse);
stored!("config", configs: Config, config, blank: |_| {},
    create_config(CreateConfigRequest) -> CreateConfigResponse,
    get_config(GetConfigRequest { config_id }) -> GetConfigResponse,
    list_configs(ListConfigsRequest, list_configs_request) -> ListConfigsResponse,
    remove_config(RemoveConfigRequest) -> RemoveConfigResponse);
stored!("network", networks: Network, network, blank: |_| {},
    create_network(CreateNetworkRequest) -> CreateNetworkResponse,
    get_network(GetNetworkRequest { network_id }) -> GetNetworkResponse,
    list_networks(ListNetworksRequest, list_networks_request) -> ListNetworksResponse,
    remove_network(RemoveNetworkRequest) -> RemoveNetworkResponse);
stored!("service", services: Service, service, blank: |_| {},
    create_service(CreateServiceRequest) -> CreateServiceResponse,
    get_service(GetServiceRequest { service_id }) -> GetServiceResponse,
    list_services(ListServicesRequest, list_services_request) -> ListServicesResponse,
    remove_service(RemoveServiceRequest) -> RemoveServiceResponse);
