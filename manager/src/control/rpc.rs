//! The service as the wire sees it: unwraps a request, calls the function of its kind, maps the error.

use skep_proto::swarmkit::{self, control_server::Control};
use tonic::{Request, Response, Status};

use super::{
    ControlService, cluster, config, extension, network, node, resource, secret, service, task,
    volume,
};

/// Each row: the method, its request and response, and the function behind it.
macro_rules! control {
    ($($method:ident($Request:ident) -> $Response:ident: $function:path;)*) => {
        #[tonic::async_trait]
        impl Control for ControlService {
            $(
                async fn $method(
                    &self,
                    request: Request<swarmkit::$Request>,
                ) -> Result<Response<swarmkit::$Response>, Status> {
                    let reply = $function(self, request.into_inner()).await?;
                    Ok(Response::new(reply))
                }
            )*
        }
    };
}

control! {
    get_node(GetNodeRequest) -> GetNodeResponse: node::get;
    list_nodes(ListNodesRequest) -> ListNodesResponse: node::list;
    update_node(UpdateNodeRequest) -> UpdateNodeResponse: node::update;
    remove_node(RemoveNodeRequest) -> RemoveNodeResponse: node::remove;
    get_task(GetTaskRequest) -> GetTaskResponse: task::get;
    list_tasks(ListTasksRequest) -> ListTasksResponse: task::list;
    remove_task(RemoveTaskRequest) -> RemoveTaskResponse: task::remove;
    get_service(GetServiceRequest) -> GetServiceResponse: service::get;
    list_services(ListServicesRequest) -> ListServicesResponse: service::list;
    create_service(CreateServiceRequest) -> CreateServiceResponse: service::create;
    update_service(UpdateServiceRequest) -> UpdateServiceResponse: service::update;
    remove_service(RemoveServiceRequest) -> RemoveServiceResponse: service::remove;
    list_service_statuses(ListServiceStatusesRequest) -> ListServiceStatusesResponse: service::statuses;
    get_network(GetNetworkRequest) -> GetNetworkResponse: network::get;
    list_networks(ListNetworksRequest) -> ListNetworksResponse: network::list;
    create_network(CreateNetworkRequest) -> CreateNetworkResponse: network::create;
    remove_network(RemoveNetworkRequest) -> RemoveNetworkResponse: network::remove;
    get_cluster(GetClusterRequest) -> GetClusterResponse: cluster::get;
    list_clusters(ListClustersRequest) -> ListClustersResponse: cluster::list;
    update_cluster(UpdateClusterRequest) -> UpdateClusterResponse: cluster::update;
    get_secret(GetSecretRequest) -> GetSecretResponse: secret::get;
    update_secret(UpdateSecretRequest) -> UpdateSecretResponse: secret::update;
    list_secrets(ListSecretsRequest) -> ListSecretsResponse: secret::list;
    create_secret(CreateSecretRequest) -> CreateSecretResponse: secret::create;
    remove_secret(RemoveSecretRequest) -> RemoveSecretResponse: secret::remove;
    get_config(GetConfigRequest) -> GetConfigResponse: config::get;
    update_config(UpdateConfigRequest) -> UpdateConfigResponse: config::update;
    list_configs(ListConfigsRequest) -> ListConfigsResponse: config::list;
    create_config(CreateConfigRequest) -> CreateConfigResponse: config::create;
    remove_config(RemoveConfigRequest) -> RemoveConfigResponse: config::remove;
    get_extension(GetExtensionRequest) -> GetExtensionResponse: extension::get;
    create_extension(CreateExtensionRequest) -> CreateExtensionResponse: extension::create;
    remove_extension(RemoveExtensionRequest) -> RemoveExtensionResponse: extension::remove;
    get_resource(GetResourceRequest) -> GetResourceResponse: resource::get;
    update_resource(UpdateResourceRequest) -> UpdateResourceResponse: resource::update;
    list_resources(ListResourcesRequest) -> ListResourcesResponse: resource::list;
    create_resource(CreateResourceRequest) -> CreateResourceResponse: resource::create;
    remove_resource(RemoveResourceRequest) -> RemoveResourceResponse: resource::remove;
    create_volume(CreateVolumeRequest) -> CreateVolumeResponse: volume::create;
    get_volume(GetVolumeRequest) -> GetVolumeResponse: volume::get;
    update_volume(UpdateVolumeRequest) -> UpdateVolumeResponse: volume::update;
    list_volumes(ListVolumesRequest) -> ListVolumesResponse: volume::list;
    remove_volume(RemoveVolumeRequest) -> RemoveVolumeResponse: volume::remove;
}
