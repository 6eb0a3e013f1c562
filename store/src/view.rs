//! What is committed, at one moment.

use std::{ops::Deref, sync::Arc};

use crate::Tables;

/// A state of the store after a log entry.
#[derive(Default)]
pub(crate) struct Version {
    pub(crate) tables: Tables,
    pub(crate) version: u64,
}

/// An immutable state of the store. It costs nothing to take and to clone, stays as it is, and keeps alive what it shows: drop
/// it when done. It dereferences to [`Tables`] for reading.
#[derive(Clone)]
pub struct View(Arc<Version>);

impl View {
    pub(crate) fn new(version: Arc<Version>) -> View {
        View(version)
    }

    /// Index of the last log entry that is in it.
    pub fn version(&self) -> u64 {
        self.0.version
    }
}

impl Deref for View {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.0.tables
    }
}
