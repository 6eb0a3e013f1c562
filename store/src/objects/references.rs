//! What a task spec refers to, for services and tasks alike.

use std::borrow::Cow;

use skep_proto::swarmkit::{NetworkAttachmentConfig, TaskSpec, task_spec::Runtime};

use crate::{By, index::Keys, key::Key};

/// The runtime's name as SwarmKit spells it; none if the spec names none.
fn runtime(spec: Option<&TaskSpec>) -> Option<Cow<'_, str>> {
    Some(match spec?.runtime.as_ref()? {
        Runtime::Attachment(_) => "attachment".into(),
        Runtime::Container(_) => "container".into(),
        Runtime::Generic(generic) => generic.kind.to_lowercase().into(),
    })
}

/// The key of the runtime's name.
pub(super) fn runtime_key(spec: Option<&TaskSpec>) -> Option<Key> {
    runtime(spec).map(|name| Key::exact(&name))
}

/// Ids of the secrets that the container uses.
pub(super) fn secrets(spec: Option<&TaskSpec>) -> impl Iterator<Item = &str> {
    let container = match spec.and_then(|s| s.runtime.as_ref()) {
        Some(Runtime::Container(container)) => Some(container),
        _ => None,
    };
    container.into_iter().flat_map(|c| &c.secrets).map(|s| s.secret_id.as_str())
}

/// Ids of the configs that the container uses.
pub(super) fn configs(spec: Option<&TaskSpec>) -> impl Iterator<Item = &str> {
    let container = match spec.and_then(|s| s.runtime.as_ref()) {
        Some(Runtime::Container(container)) => Some(container),
        _ => None,
    };
    container.into_iter().flat_map(|c| &c.configs).map(|c| c.config_id.as_str())
}

/// Targets of network attachments.
pub(super) fn targets(networks: &[NetworkAttachmentConfig]) -> impl Iterator<Item = &str> {
    networks.iter().map(|n| n.target.as_str())
}

/// The keys of all these texts.
pub(super) fn keys<'a>(texts: impl Iterator<Item = &'a str>) -> Keys {
    texts.map(Key::exact).collect()
}

/// Whether a condition on what is referred to holds; `networks` are the targets that count.
pub(super) fn matches<'a>(
    spec: Option<&TaskSpec>,
    mut networks: impl Iterator<Item = &'a str>,
    by: &By,
) -> bool {
    match by {
        By::Runtime(wanted) => runtime(spec).is_some_and(|own| own == *wanted),
        By::ReferencedNetwork(id) => networks.any(|n| n == id.as_str()),
        By::ReferencedSecret(id) => secrets(spec).any(|s| s == id.as_str()),
        By::ReferencedConfig(id) => configs(spec).any(|c| c == id.as_str()),
        _ => false,
    }
}
