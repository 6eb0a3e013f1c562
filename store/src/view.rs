//! What is committed: as it goes on, and at one moment.

use std::{ops::Deref, sync::Arc};

use parking_lot::Mutex;

use crate::Tables;

/// A state of the store after a log entry.
#[derive(Clone, Default)]
pub(crate) struct Version {
    pub(crate) tables: Tables,
    pub(crate) version: u64,
}

/// The newest committed state, and the view of it that was given out.
///
/// It changes in place: what a change touches is copied only where a view still shows it. So a view is made when it is asked
/// for and not with each commit, and who is done with one drops it.
#[derive(Default)]
pub(crate) struct Committed {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    newest: Version,
    shown: Option<Arc<Version>>,
}

impl Committed {
    /// The newest state, as it stays.
    pub(crate) fn view(&self) -> View {
        let state = &mut *self.state.lock();
        View(state.shown.get_or_insert_with(|| Arc::new(state.newest.clone())).clone())
    }

    /// The version of the newest state.
    pub(crate) fn version(&self) -> u64 {
        self.state.lock().newest.version
    }

    /// Another copy of the newest state, to go on from.
    pub(crate) fn tables(&self) -> Tables {
        self.state.lock().newest.tables.clone()
    }

    /// Changes the newest state into that of another version; an error leaves the version as it is. No view shows what is
    /// half done.
    pub(crate) fn advance<R, E>(
        &self,
        version: u64,
        change: impl FnOnce(&mut Tables) -> Result<R, E>,
    ) -> Result<R, E> {
        let state = &mut *self.state.lock();
        // Nobody else may hold it any more; then nothing has to be copied.
        state.shown = None;
        let result = change(&mut state.newest.tables)?;
        state.newest.version = version;
        Ok(result)
    }
}

/// An immutable state of the store. It costs nothing to take and to clone, stays as it is, and keeps alive what it shows: drop
/// it when done. It dereferences to [`Tables`] for reading.
#[derive(Clone)]
pub struct View(Arc<Version>);

impl View {
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
