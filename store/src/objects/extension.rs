//! Extensions: kinds of resources that users add. They never change, and stay while resources of their kind exist.

use skep_proto::swarmkit::Resource;

use super::{
    named::{NamedIndexes, annotated},
    object,
};
use crate::{By, Object, StoreError, Tables};

object!(
    Extension, extension, ExtensionId, 9, unique_name: true, indexes: NamedIndexes,
    annotations: |e| e.annotations.as_ref(), name: |e| annotated(e.annotations()),
    own: {
        fn check(tables: &Tables, old: Option<&Self>, new: Option<&Self>) -> Result<(), StoreError> {
            match (old, new) {
                (Some(old), Some(_)) => Err(StoreError::ExtensionImmutable { id: old.id.clone() }),
                (Some(old), None) => {
                    let name = old.name().unwrap_or_default();
                    match tables.find_one::<Resource>(By::Kind(name.to_string())) {
                        None => Ok(()),
                        Some(_) => Err(StoreError::ExtensionInUse {
                            id: old.id.clone(),
                            name: name.into_owned(),
                        }),
                    }
                }
                (None, _) => Ok(()),
            }
        }
    }
);
