//! Configs: once they are made only their labels change.

use skep_proto::{
    ids::ConfigId,
    swarmkit::{
        Config, ConfigSpec, CreateConfigRequest, CreateConfigResponse, GetConfigRequest,
        GetConfigResponse, ListConfigsRequest, ListConfigsResponse, RemoveConfigRequest,
        RemoveConfigResponse, UpdateConfigRequest, UpdateConfigResponse,
    },
};
use skep_store::{By, Object};

use super::{
    ControlService, at_version,
    errors::ControlError,
    filters::{common_filter, own_labels},
    id_of, usage, validate, wanted,
};

/// One config.
pub(super) async fn get(
    control: &ControlService,
    request: GetConfigRequest,
) -> Result<GetConfigResponse, ControlError> {
    let view = control.read().await?;
    let config = Config::clone(wanted(&view, &request.config_id)?);
    Ok(GetConfigResponse { config: Some(config) })
}

/// The configs that pass the filters.
pub(super) async fn list(
    control: &ControlService,
    request: ListConfigsRequest,
) -> Result<ListConfigsResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let view = control.read().await?;
    let configs = filter.list::<Config>(&view, own_labels, |_| true);
    Ok(ListConfigsResponse { configs })
}

/// Stores a new config.
pub(super) async fn create(
    control: &ControlService,
    request: CreateConfigRequest,
) -> Result<CreateConfigResponse, ControlError> {
    let spec = validate::config_spec(&request.spec)?;
    let config = Config { id: control.new_id(), spec: Some(spec.clone()), ..Default::default() };
    let config = control.write(|tx| Ok(tx.create(config)?)).await?;
    Ok(CreateConfigResponse { config: Some(Config::clone(&config)) })
}

/// Changes a config's labels. The name must be the present one; data and templating too, or left out.
pub(super) async fn update(
    control: &ControlService,
    request: UpdateConfigRequest,
) -> Result<UpdateConfigResponse, ControlError> {
    let spec = validate::config_labels(&request.spec)?;
    let config = control
        .write(|tx| {
            let mut config: Config = at_version(tx, &request.config_id, request.config_version)?;
            let own = config.spec.get_or_insert_with(ConfigSpec::default);
            if !labels_only(own, spec) {
                return Err(ControlError::argument("only updates to Labels are allowed"));
            }
            let labels = spec.annotations.as_ref().map(|a| a.labels.clone()).unwrap_or_default();
            own.annotations.get_or_insert_default().labels = labels;
            Ok(tx.update(config)?)
        })
        .await?;
    Ok(UpdateConfigResponse { config: Some(Config::clone(&config)) })
}

fn labels_only(own: &ConfigSpec, given: &ConfigSpec) -> bool {
    let name = |spec: &ConfigSpec| spec.annotations.as_ref().map(|a| a.name.clone());
    name(own) == name(given)
        && (given.data.is_empty() || given.data == own.data)
        && (given.templating.is_none() || given.templating == own.templating)
}

/// Removes a config that nothing refers to.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveConfigRequest,
) -> Result<RemoveConfigResponse, ControlError> {
    control
        .write(|tx| {
            let config = wanted::<Config>(tx, &request.config_id)?;
            let id: ConfigId = id_of(&**config)?;
            if let Some(users) = usage::users(tx, By::ReferencedConfig(id)) {
                let name = config.name().unwrap_or_default();
                return Err(ControlError::argument(format!(
                    "config '{name}' is in use by: {users}; update or remove these first"
                )));
            }
            Ok(tx.remove::<Config>(&id)?)
        })
        .await?;
    Ok(RemoveConfigResponse {})
}
