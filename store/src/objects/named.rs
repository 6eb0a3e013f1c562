//! Kinds that are found by id, name and custom entries only: network, cluster, secret, config, and the part of the other
//! kinds' indexes that is the same.

use std::borrow::Cow;

use bytes::Bytes;
use skep_proto::{ids::Id, swarmkit::Annotations};

use super::object;
use crate::{
    By, Object,
    index::{Ids, Index, Keys},
    key::Key,
    object::sealed::IndexSet,
};

/// The name of an object whose name is that of its annotations. An object without annotations is named by the empty text,
/// which can be taken as any other.
pub(super) fn annotated(annotations: Option<&Annotations>) -> Option<Cow<'_, str>> {
    Some(Cow::Borrowed(annotations.map_or("", |a| &a.name)))
}

/// Indexes by name and by custom entry.
#[derive(Clone, Default)]
pub struct NamedIndexes {
    name: Index<Key>,
    custom: CustomIndex,
}

impl<T: Object> IndexSet<T> for NamedIndexes {
    fn replace(&mut self, id: Id, old: Option<&T>, new: Option<&T>) {
        self.name.follow(id, old, new, |o| o.name().map(|name| Key::lower(&name)));
        self.custom.replace(id, old, new);
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        match by {
            By::Name(name) => Some(Box::new(self.name.with(Key::lower(name)))),
            By::NamePrefix(prefix) => Some(Box::new(self.name.with_prefix(&prefix.to_lowercase()))),
            _ => self.custom.candidates(by),
        }
    }
}

/// The index by custom entry.
#[derive(Clone, Default)]
pub struct CustomIndex {
    entries: Index<Key>,
}

impl CustomIndex {
    pub(super) fn replace<T: Object>(&mut self, id: Id, old: Option<&T>, new: Option<&T>) {
        self.entries.follow_many(id, old, new, custom_keys);
    }

    pub(super) fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        match by {
            By::Custom { key, value } => {
                Some(Box::new(self.entries.with(Key::exact(&custom_text(key, value)))))
            }
            By::CustomPrefix { key, value_prefix } => {
                let mut ids: Vec<Id> =
                    self.entries.with_prefix(&custom_text(key, value_prefix)).collect();
                // Several entries of one object may begin alike.
                ids.sort_unstable();
                ids.dedup();
                Some(Box::new(ids.into_iter()))
            }
            _ => None,
        }
    }
}

fn custom_keys<T: Object>(object: &T) -> Keys {
    let indices = object.annotations().map_or(&[][..], |a| &a.indices);
    indices.iter().map(|e| Key::exact(&custom_text(&e.key, &e.val))).collect()
}

fn custom_text(key: &str, value: &str) -> String {
    format!("{key}\0{value}")
}

object!(
    Network, network, NetworkId, 5, unique_name: true, indexes: NamedIndexes,
    annotations: |n| n.spec.as_ref()?.annotations.as_ref(), name: |n| annotated(n.annotations()),
);
object!(
    Cluster, cluster, ClusterId, 6, unique_name: true, indexes: NamedIndexes,
    annotations: |c| c.spec.as_ref()?.annotations.as_ref(), name: |c| annotated(c.annotations()),
);
object!(
    Secret, secret, SecretId, 7, unique_name: true, indexes: NamedIndexes,
    annotations: |s| s.spec.as_ref()?.annotations.as_ref(), name: |s| annotated(s.annotations()),
    own: {
        fn own_bytes(&mut self) {
            if let Some(spec) = &mut self.spec {
                spec.data = Bytes::copy_from_slice(&spec.data);
            }
        }
    }
);
object!(
    Config, config, ConfigId, 10, unique_name: true, indexes: NamedIndexes,
    annotations: |c| c.spec.as_ref()?.annotations.as_ref(), name: |c| annotated(c.annotations()),
    own: {
        fn own_bytes(&mut self) {
            if let Some(spec) = &mut self.spec {
                spec.data = Bytes::copy_from_slice(&spec.data);
            }
        }
    }
);
