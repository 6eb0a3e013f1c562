//! Secrets: replies never carry their data, and once they are made only their labels change.

use skep_proto::{
    ids::SecretId,
    swarmkit::{
        CreateSecretRequest, CreateSecretResponse, GetSecretRequest, GetSecretResponse,
        ListSecretsRequest, ListSecretsResponse, RemoveSecretRequest, RemoveSecretResponse, Secret,
        SecretSpec, UpdateSecretRequest, UpdateSecretResponse,
    },
};
use skep_store::{By, Object};

use super::{
    ControlService, at_version,
    errors::ControlError,
    filters::{common_filter, own_labels},
    id_of, redact, usage, validate, wanted,
};

/// One secret, without its data.
pub(super) async fn get(
    control: &ControlService,
    request: GetSecretRequest,
) -> Result<GetSecretResponse, ControlError> {
    let view = control.read().await?;
    let secret = Secret::clone(wanted(&view, &request.secret_id)?);
    Ok(GetSecretResponse { secret: Some(redact::secret(secret)) })
}

/// The secrets that pass the filters, without their data and without the managers' own.
pub(super) async fn list(
    control: &ControlService,
    request: ListSecretsRequest,
) -> Result<ListSecretsResponse, ControlError> {
    let filter = common_filter!(request.filters)?;
    let view = control.read().await?;
    let secrets = filter.list::<Secret>(&view, own_labels, |secret| !secret.internal);
    Ok(ListSecretsResponse { secrets: secrets.into_iter().map(redact::secret).collect() })
}

/// Stores a new secret.
pub(super) async fn create(
    control: &ControlService,
    request: CreateSecretRequest,
) -> Result<CreateSecretResponse, ControlError> {
    let spec = validate::secret_spec(&request.spec)?;
    let secret = Secret { id: control.new_id(), spec: Some(spec.clone()), ..Default::default() };
    let secret = control.write(|tx| Ok(tx.create(secret)?)).await?;
    Ok(CreateSecretResponse { secret: Some(redact::secret(Secret::clone(&secret))) })
}

/// Changes a secret's labels. The name must be the present one; data and drivers too, or left out.
pub(super) async fn update(
    control: &ControlService,
    request: UpdateSecretRequest,
) -> Result<UpdateSecretResponse, ControlError> {
    let spec = validate::secret_labels(&request.spec)?;
    let secret = control
        .write(|tx| {
            let mut secret: Secret = at_version(tx, &request.secret_id, request.secret_version)?;
            let own = secret.spec.get_or_insert_with(SecretSpec::default);
            if !labels_only(own, spec) {
                return Err(ControlError::argument("only updates to Labels are allowed"));
            }
            let labels = spec.annotations.as_ref().map(|a| a.labels.clone()).unwrap_or_default();
            own.annotations.get_or_insert_default().labels = labels;
            Ok(tx.update(secret)?)
        })
        .await?;
    Ok(UpdateSecretResponse { secret: Some(redact::secret(Secret::clone(&secret))) })
}

fn labels_only(own: &SecretSpec, given: &SecretSpec) -> bool {
    let name = |spec: &SecretSpec| spec.annotations.as_ref().map(|a| a.name.clone());
    name(own) == name(given)
        && (given.data.is_empty() || given.data == own.data)
        && (given.driver.is_none() || given.driver == own.driver)
        && (given.templating.is_none() || given.templating == own.templating)
}

/// Removes a secret that nothing refers to.
pub(super) async fn remove(
    control: &ControlService,
    request: RemoveSecretRequest,
) -> Result<RemoveSecretResponse, ControlError> {
    control
        .write(|tx| {
            let secret = wanted::<Secret>(tx, &request.secret_id)?;
            let id: SecretId = id_of(&**secret)?;
            if let Some(users) = usage::users(tx, By::ReferencedSecret(id)) {
                let name = secret.name().unwrap_or_default();
                return Err(ControlError::argument(format!(
                    "secret '{name}' is in use by: {users}; update or remove these first"
                )));
            }
            Ok(tx.remove::<Secret>(&id)?)
        })
        .await?;
    Ok(RemoveSecretResponse {})
}
