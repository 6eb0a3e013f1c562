//! Election safety: at most one leader is elected in a given term. Raft paper, figure 3; §5.2.

use std::collections::BTreeMap;

use super::Violation;
use crate::RaftId;

#[derive(Debug, Default)]
pub struct ElectionSafety {
    leaders: BTreeMap<u64, RaftId>,
}

impl ElectionSafety {
    /// A member leads in this term. True when it is seen for the first time.
    pub fn leads(&mut self, raft_id: RaftId, term: u64) -> Result<bool, Violation> {
        match self.leaders.insert(term, raft_id) {
            None => Ok(true),
            Some(before) if before == raft_id => Ok(false),
            Some(before) => Err(Violation::new(
                "election_safety",
                format!("{before} and {raft_id} both lead in term {term}"),
            )),
        }
    }
}

#[cfg(test)]
#[test]
fn two_leaders_of_one_term_are_noticed() {
    let mut elections = ElectionSafety::default();
    assert_eq!(elections.leads(RaftId(1), 5), Ok(true));
    assert_eq!(elections.leads(RaftId(1), 5), Ok(false));
    assert_eq!(elections.leads(RaftId(2), 6), Ok(true));
    assert!(elections.leads(RaftId(2), 5).is_err());
}
