//! What a service refers to must be there when it is written.

use skep_proto::swarmkit::{
    Config, Network, Secret, ServiceSpec, privileges::credential_spec::Source, task_spec::Runtime,
};
use skep_store::{Kind, Object, Tables};

use super::super::{errors::ControlError, network, validate::shown};

/// As many missing objects are named in a text; more would not help who reads it.
const MISSING_NAMED_MAX: usize = 5;

/// Secrets, configs and networks exist, and no network is the ingress network. SwarmKit lets networks through that are not
/// there: the tasks then wait for ever.
pub(super) fn exist(tables: &Tables, spec: &ServiceSpec) -> Result<(), ControlError> {
    let Some(task) = &spec.task else { return Ok(()) };
    for attachment in spec.networks.iter().chain(&task.networks) {
        let Some(target) = tables.get_text::<Network>(&attachment.target) else {
            return Err(ControlError::argument(format!(
                "network not found: {}; create it first, and name it by its id",
                shown(&attachment.target)
            )));
        };
        if network::is_ingress(target) {
            return Err(ControlError::argument(format!(
                "Service cannot be explicitly attached to the ingress network {}; publish a port instead",
                shown(&attachment.target)
            )));
        }
    }
    let Some(Runtime::Container(container)) = &task.runtime else { return Ok(()) };
    let secrets = container.secrets.iter().map(|s| (s.secret_id.as_str(), s.secret_name.as_str()));
    all_there::<Secret>(tables, secrets)?;
    let source =
        container.privileges.as_ref().and_then(|p| p.credential_spec.as_ref()?.source.as_ref());
    let credential = match source {
        Some(Source::Config(id)) => Some((id.as_str(), id.as_str())),
        _ => None,
    };
    let configs = container.configs.iter().map(|c| (c.config_id.as_str(), c.config_name.as_str()));
    all_there::<Config>(tables, configs.chain(credential))
}

fn all_there<'a, T: Object>(
    tables: &Tables,
    references: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<(), ControlError> {
    let missing: Vec<String> = references
        .filter(|(id, _)| tables.get_text::<T>(id).is_none())
        .map(|(_, name)| shown(name))
        .take(MISSING_NAMED_MAX)
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let what: Kind = T::KIND;
    Err(ControlError::argument(format!(
        "{what} not found: {}; create it first",
        missing.join(", ")
    )))
}
