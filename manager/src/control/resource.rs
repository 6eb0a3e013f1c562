//! Resources: objects of kinds that extensions name.

use skep_proto::{
    ids::ResourceId,
    swarmkit::{
        CreateResourceRequest, CreateResourceResponse, GetResourceRequest, GetResourceResponse,
        ListResourcesRequest, ListResourcesResponse, RemoveResourceRequest, RemoveResourceResponse,
        Resource, UpdateResourceRequest, UpdateResourceResponse,
    },
};

use super::{
    ControlService, at_version,
    errors::ControlError,
    filters::{common_filter, own_labels},
    id_of, validate, wanted,
};

/// One resource.
pub(super) async fn get(
    control: &ControlService,
    request: GetResourceRequest,
) -> Result<GetResourceResponse, ControlError> {
    let view = control.read().await?;
    let resource = Resource::clone(wanted(&view, &request.resource_id)?);
    Ok(GetResourceResponse { resource: Some(resource) })
}

/// The resources that pass the filters; an empty kind is any.
pub(super) async fn list(
    control: &ControlService,
    request: ListResourcesRequest,
) -> Result<ListResourcesResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let kind = request.filters.as_ref().map_or("", |filters| &filters.kind);
    let view = control.read().await?;
    let resources = filter
        .list::<Resource>(&view, own_labels, |resource| kind.is_empty() || resource.kind == kind);
    Ok(ListResourcesResponse { resources })
}

/// Stores a new resource of a kind that there is.
pub(super) async fn create(
    control: &ControlService,
    request: CreateResourceRequest,
) -> Result<CreateResourceResponse, ControlError> {
    validate::resource(&request.annotations, &request.kind, request.payload.as_ref())?;
    let resource = Resource {
        id: control.new_id(),
        annotations: request.annotations,
        kind: request.kind,
        payload: request.payload,
        ..Default::default()
    };
    let resource = control.write(|tx| Ok(tx.create(resource)?)).await?;
    Ok(CreateResourceResponse { resource: Some(Resource::clone(&resource)) })
}

/// Changes a resource's annotations, its payload, or both: what the request leaves out stays. The name does not change.
pub(super) async fn update(
    control: &ControlService,
    request: UpdateResourceRequest,
) -> Result<UpdateResourceResponse, ControlError> {
    let resource = control
        .write(|tx| {
            let mut resource: Resource = at_version(tx, &request.resource_id, request.resource_version)?;
            if let Some(annotations) = request.annotations {
                let name = resource.annotations.as_ref().map_or("", |a| &a.name);
                if annotations.name != name {
                    return Err(ControlError::argument(
                        "resource: the name cannot be changed; create a resource with the new name instead",
                    ));
                }
                resource.annotations = Some(annotations);
            }
            if request.payload.is_some() {
                resource.payload = request.payload;
            }
            validate::resource(&resource.annotations, &resource.kind, resource.payload.as_ref())?;
            Ok(tx.update(resource)?)
        })
        .await?;
    Ok(UpdateResourceResponse { resource: Some(Resource::clone(&resource)) })
}

/// Removes a resource.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveResourceRequest,
) -> Result<RemoveResourceResponse, ControlError> {
    control
        .write(|tx| {
            let id: ResourceId = id_of(&**wanted::<Resource>(tx, &request.resource_id)?)?;
            Ok(tx.remove::<Resource>(&id)?)
        })
        .await?;
    Ok(RemoveResourceResponse {})
}
