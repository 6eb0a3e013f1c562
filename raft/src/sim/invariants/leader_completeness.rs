//! Leader completeness: an entry committed in a term is in the log of every leader of a later term. Raft paper, figure 3; §5.4.

use super::{History, LogView, Violation};
use crate::RaftId;

/// Checks a member that was just elected against everything known to be committed.
pub fn check(
    raft_id: RaftId,
    term: u64,
    log: &LogView,
    history: &History,
) -> Result<(), Violation> {
    for (index, committed) in history.iter() {
        if committed.term >= term || log.covers(index) {
            continue;
        }
        if log.term(index) != Some(committed.term) {
            return Err(Violation::new(
                "leader_completeness",
                format!(
                    "{raft_id}, elected in term {term}, lacks entry {index} of term {} that was committed; it has {:?}",
                    committed.term,
                    log.term(index)
                ),
            ));
        }
    }
    Ok(())
}
