//! Cluster volumes.

use skep_proto::{ids::Id, swarmkit::Volume};

use super::{
    named::{NamedIndexes, annotated},
    object,
};
use crate::{
    By,
    index::{Ids, Index},
    key::Key,
    object::sealed::IndexSet,
};

/// Indexes of volumes.
#[derive(Clone, Default)]
pub struct VolumeIndexes {
    named: NamedIndexes,
    group: Index<Key>,
    driver: Index<Key>,
}

fn group(volume: &Volume) -> Option<&str> {
    volume.spec.as_ref().map(|s| s.group.as_str())
}

fn driver(volume: &Volume) -> Option<&str> {
    volume.spec.as_ref()?.driver.as_ref().map(|d| d.name.as_str())
}

impl IndexSet<Volume> for VolumeIndexes {
    fn replace(&mut self, id: Id, old: Option<&Volume>, new: Option<&Volume>) {
        self.named.replace(id, old, new);
        self.group.follow(id, old, new, |v| group(v).map(Key::exact));
        self.driver.follow(id, old, new, |v| driver(v).map(Key::exact));
    }

    fn candidates(&self, by: &By) -> Option<Ids<'_>> {
        match by {
            By::VolumeGroup(group) => Some(Box::new(self.group.with(Key::exact(group)))),
            By::Driver(driver) => Some(Box::new(self.driver.with(Key::exact(driver)))),
            _ => IndexSet::<Volume>::candidates(&self.named, by),
        }
    }
}

object!(
    Volume, volume, VolumeId, 11, unique_name: true, indexes: VolumeIndexes,
    annotations: |v| v.spec.as_ref()?.annotations.as_ref(), name: |v| annotated(v.annotations()),
    own: {
        fn matches_own(&self, by: &By) -> bool {
            match by {
                By::VolumeGroup(wanted) => group(self) == Some(wanted),
                By::Driver(wanted) => driver(self) == Some(wanted),
                _ => false,
            }
        }
    }
);
