//! Networks. Addresses are given by the allocator later; here only what was asked for is stored.

use std::sync::Arc;

use skep_proto::{
    ids::NetworkId,
    swarmkit::{
        CreateNetworkRequest, CreateNetworkResponse, EndpointSpec, GetNetworkRequest,
        GetNetworkResponse, ListNetworksRequest, ListNetworksResponse, Network,
        RemoveNetworkRequest, RemoveNetworkResponse, Service, ServiceSpec,
        port_config::PublishMode,
    },
};
use skep_store::{By, Kind, Object, Tables, Tx};

use crate::allocator;

use super::{
    ControlService,
    errors::ControlError,
    filters::{common_filter, own_labels},
    id_of, usage, validate, wanted,
};

/// The name that the ingress network of an old cluster has, beside its label.
const INGRESS_NAME: &str = "ingress";

/// One network, by id or by name.
pub(super) async fn get(
    control: &ControlService,
    request: GetNetworkRequest,
) -> Result<GetNetworkResponse, ControlError> {
    let view = control.read().await?;
    let network = find(&view, &request.network_id, &request.name)?;
    Ok(GetNetworkResponse { network: Some(Network::clone(network)) })
}

/// The networks that pass the filters.
pub(super) async fn list(
    control: &ControlService,
    request: ListNetworksRequest,
) -> Result<ListNetworksResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let view = control.read().await?;
    Ok(ListNetworksResponse { networks: filter.list::<Network>(&view, own_labels, |_| true) })
}

/// Stores a new network. There is one ingress network at most.
pub(super) async fn create(
    control: &ControlService,
    request: CreateNetworkRequest,
) -> Result<CreateNetworkResponse, ControlError> {
    let spec = validate::network_spec(&request.spec)?;
    let network = Network { id: control.new_id(), spec: Some(spec.clone()), ..Default::default() };
    let network = control
        .write(|tx| {
            if let (true, Some(present)) = (spec.ingress, ingress(tx)) {
                return Err(ControlError::Exists {
                    what: format!("the ingress network ({})", present.id),
                });
            }
            allocator::check_network(tx, &network)
                .map_err(|why| ControlError::argument(why.to_string()))?;
            Ok(tx.create(network)?)
        })
        .await?;
    Ok(CreateNetworkResponse { network: Some(Network::clone(&network)) })
}

/// Removes a network that nothing is attached to, or the ingress network when no service publishes ports by it.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveNetworkRequest,
) -> Result<RemoveNetworkResponse, ControlError> {
    control
        .write(|tx| {
            let network = find(tx, &request.network_id, &request.name)?;
            let id: NetworkId = id_of(&**network)?;
            removable(tx, network, id)?;
            Ok(tx.remove::<Network>(&id)?)
        })
        .await?;
    Ok(RemoveNetworkResponse {})
}

fn removable(tx: &Tx, network: &Network, id: NetworkId) -> Result<(), ControlError> {
    let name = network.name().unwrap_or_default();
    if own_labels(network).is_some_and(|labels| labels.contains_key(validate::PREDEFINED_LABEL)) {
        return Err(ControlError::Precondition(format!(
            "{name} is a pre-defined network and cannot be removed"
        )));
    }
    if is_ingress(network) {
        let dependent =
            tx.all::<Service>().find(|service| service.spec.as_ref().is_some_and(needs_ingress));
        if let Some(service) = dependent {
            return Err(ControlError::Precondition(format!(
                "ingress network cannot be removed because service {} depends on it",
                service.name().unwrap_or_default()
            )));
        }
    }
    match usage::users(tx, By::ReferencedNetwork(id)) {
        Some(users) => {
            Err(ControlError::Precondition(format!("network {name} is in use by {users}")))
        }
        None => Ok(()),
    }
}

fn find<'a>(tables: &'a Tables, id: &str, name: &str) -> Result<&'a Arc<Network>, ControlError> {
    if id.is_empty() && !name.is_empty() {
        let network = tables.find_one::<Network>(By::Name(name.into()));
        return network.ok_or_else(|| ControlError::not_found(Kind::Network, name));
    }
    wanted(tables, id)
}

/// The network that published ports come in by.
pub(super) fn ingress(tables: &Tables) -> Option<&Arc<Network>> {
    tables.all::<Network>().find(|network| is_ingress(network))
}

/// Whether it is the ingress network.
pub(crate) fn is_ingress(network: &Network) -> bool {
    let Some(spec) = &network.spec else { return false };
    let legacy = spec
        .annotations
        .as_ref()
        .is_some_and(|a| a.name == INGRESS_NAME && a.labels.contains_key(validate::INTERNAL_LABEL));
    spec.ingress || legacy
}

/// Whether a service publishes ports in ingress mode.
pub(crate) fn needs_ingress(spec: &ServiceSpec) -> bool {
    let ports = |endpoint: &EndpointSpec| {
        endpoint.ports.iter().any(|port| port.publish_mode() == PublishMode::Ingress)
    };
    spec.endpoint.as_ref().is_some_and(ports)
}
