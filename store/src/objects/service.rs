//! Services.

use skep_proto::{
    ids::Id,
    swarmkit::{NetworkAttachmentConfig, Service, TaskSpec},
};

use super::{
    named::{NamedIndexes, annotated},
    object,
    references::{self, configs, keys, runtime_key, secrets, targets},
};
use crate::{
    By,
    index::{Ids, Index},
    key::Key,
    object::sealed::IndexSet,
};

/// Indexes of services.
#[derive(Clone, Default)]
pub struct ServiceIndexes {
    named: NamedIndexes,
    runtime: Index<Key>,
    network: Index<Key>,
    secret: Index<Key>,
    config: Index<Key>,
}

fn task(service: &Service) -> Option<&TaskSpec> {
    service.spec.as_ref()?.task.as_deref()
}

/// The task's networks, or the service's own where an old client put them there.
fn networks(service: &Service) -> &[NetworkAttachmentConfig] {
    match task(service) {
        Some(task) if !task.networks.is_empty() => &task.networks,
        _ => service.spec.as_ref().map_or(&[], |s| &s.networks),
    }
}

impl IndexSet<Service> for ServiceIndexes {
    fn replace(&mut self, id: Id, old: Option<&Service>, new: Option<&Service>) {
        self.named.replace(id, old, new);
        self.runtime.follow(id, old, new, |s| runtime_key(task(s)));
        self.network.follow_many(id, old, new, |s| keys(targets(networks(s))));
        self.secret.follow_many(id, old, new, |s| keys(secrets(task(s))));
        self.config.follow_many(id, old, new, |s| keys(configs(task(s))));
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        Some(match by {
            By::Runtime(runtime) => Box::new(self.runtime.with(Key::exact(runtime))),
            By::ReferencedNetwork(id) => Box::new(self.network.with(Key::id(id.0))),
            By::ReferencedSecret(id) => Box::new(self.secret.with(Key::id(id.0))),
            By::ReferencedConfig(id) => Box::new(self.config.with(Key::id(id.0))),
            _ => return IndexSet::<Service>::candidates(&self.named, by),
        })
    }
}

object!(
    Service, service, ServiceId, 3, unique_name: true, indexes: ServiceIndexes,
    annotations: |s| s.spec.as_ref()?.annotations.as_ref(), name: |s| annotated(s.annotations()),
    own: {
        fn matches_own(&self, by: &By) -> bool {
            references::matches(task(self), targets(networks(self)), by)
        }
    }
);
