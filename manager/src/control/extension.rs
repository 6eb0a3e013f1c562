//! Extensions: kinds of resources. They never change, and stay while resources of their kind exist.

use skep_proto::{
    ids::ExtensionId,
    swarmkit::{
        CreateExtensionRequest, CreateExtensionResponse, Extension, GetExtensionRequest,
        GetExtensionResponse, RemoveExtensionRequest, RemoveExtensionResponse, Resource,
    },
};
use skep_store::{By, Object};

use super::{ControlService, errors::ControlError, id_of, validate, wanted};

/// As many resources are named in a text; more would not help who reads it.
const RESOURCES_NAMED_MAX: usize = 5;

/// One extension.
pub(super) async fn get(
    control: &ControlService,
    request: GetExtensionRequest,
) -> Result<GetExtensionResponse, ControlError> {
    let view = control.read().await?;
    let extension = Extension::clone(wanted(&view, &request.extension_id)?);
    Ok(GetExtensionResponse { extension: Some(extension) })
}

/// Stores a new extension.
pub(super) async fn create(
    control: &ControlService,
    request: CreateExtensionRequest,
) -> Result<CreateExtensionResponse, ControlError> {
    validate::extension(&request.annotations, &request.description)?;
    let extension = Extension {
        id: control.new_id(),
        annotations: request.annotations,
        description: request.description,
        ..Default::default()
    };
    let extension = control.write(|tx| Ok(tx.create(extension)?)).await?;
    Ok(CreateExtensionResponse { extension: Some(Extension::clone(&extension)) })
}

/// Removes an extension that has no resources. (SwarmKit asks for resources whose kind is the extension's id, though
/// kinds are names, and so answers with an internal error instead.)
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveExtensionRequest,
) -> Result<RemoveExtensionResponse, ControlError> {
    control
        .write(|tx| {
            let extension = wanted::<Extension>(tx, &request.extension_id)?;
            let id: ExtensionId = id_of(&**extension)?;
            let name = extension.name().unwrap_or_default();
            let mut resources: Vec<_> = tx
                .find::<Resource>(By::Kind(name.to_string()))
                .map(|resource| resource.name().unwrap_or_default())
                .take(RESOURCES_NAMED_MAX + 1)
                .collect();
            if !resources.is_empty() {
                if resources.len() > RESOURCES_NAMED_MAX {
                    resources.truncate(RESOURCES_NAMED_MAX);
                    resources.push("others".into());
                }
                return Err(ControlError::argument(format!(
                    "extension '{name}' is in use by the resources: {}; remove these first",
                    resources.join(", ")
                )));
            }
            Ok(tx.remove::<Extension>(&id)?)
        })
        .await?;
    Ok(RemoveExtensionResponse {})
}
