//! Resources: objects whose kind is the name of an extension.

use skep_proto::{
    ids::Id,
    swarmkit::{Extension, Resource},
};

use super::{
    named::{NamedIndexes, annotated},
    object,
};
use crate::{
    By, StoreError, Tables,
    index::{Ids, Index},
    key::Key,
    object::sealed::IndexSet,
};

/// Indexes of resources.
#[derive(Clone, Default)]
pub struct ResourceIndexes {
    named: NamedIndexes,
    kind: Index<Key>,
}

impl IndexSet<Resource> for ResourceIndexes {
    fn replace(&mut self, id: Id, old: Option<&Resource>, new: Option<&Resource>) {
        self.named.replace(id, old, new);
        self.kind.follow(id, old, new, |r| Some(Key::exact(&r.kind)));
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        match by {
            By::Kind(kind) => Some(Box::new(self.kind.with(Key::exact(kind)))),
            _ => IndexSet::<Resource>::candidates(&self.named, by),
        }
    }
}

object!(
    Resource, resource, ResourceId, 8, unique_name: true, indexes: ResourceIndexes,
    annotations: |r| r.annotations.as_ref(), name: |r| annotated(r.annotations()),
    own: {
        fn matches_own(&self, by: &By) -> bool {
            matches!(by, By::Kind(kind) if self.kind == *kind)
        }

        fn check(tables: &Tables, _: Option<&Self>, new: Option<&Self>) -> Result<(), StoreError> {
            let Some(new) = new else { return Ok(()) };
            match tables.find_one::<Extension>(By::Name(new.kind.clone())) {
                Some(_) => Ok(()),
                None => Err(StoreError::UnregisteredKind {
                    id: new.id.clone(),
                    resource_kind: new.kind.clone(),
                }),
            }
        }
    }
);
