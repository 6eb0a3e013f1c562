//! Watches see every commit in order: from its beginning on, a watcher is shown each committed entry once, in the order of the
//! log, and none is left out. The contract of the store's watch: a view and the events after it join exactly.

use std::collections::BTreeMap;

use super::super::program::Watched;
use super::{History, Violation};

#[derive(Debug, Default)]
pub struct Watches {
    /// The last index that each watcher knows of.
    watchers: BTreeMap<u64, u64>,
}

impl Watches {
    pub fn saw(&mut self, watched: Watched, history: &History) -> Result<(), Violation> {
        match watched {
            Watched::Began { watcher, index } => {
                self.watchers.insert(watcher, index);
                Ok(())
            }
            Watched::Saw { watcher, index } => {
                let Some(last) = self.watchers.get_mut(&watcher) else {
                    return Err(violation(format!("watcher {watcher} never began")));
                };
                let expected = history.next_after(*last);
                if expected != Some(index) {
                    return Err(violation(format!(
                        "watcher {watcher}, which knew {last}, was shown {index} where {expected:?} comes next"
                    )));
                }
                *last = index;
                Ok(())
            }
        }
    }
}

fn violation(detail: String) -> Violation {
    Violation::new("watches", detail)
}
