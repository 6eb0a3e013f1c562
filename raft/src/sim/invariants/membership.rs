//! Removed stays removed: members agree on who is in the group after each entry; an id stands for one node for ever; who was
//! removed is remembered by everybody from then on and never comes back. Raft paper §6 (changes go through the log), and the
//! permanent removed set that SwarmKit's managers keep.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Violation;
use crate::{Membership, RaftId};

#[derive(Debug, Default)]
pub struct Memberships {
    /// By index up to which was applied.
    at: BTreeMap<u64, Arc<Membership>>,
    nodes: BTreeMap<RaftId, String>,
}

impl Memberships {
    /// The membership as far as anybody has applied it.
    pub fn newest(&self) -> Option<&Membership> {
        self.at.last_key_value().map(|(_, membership)| &**membership)
    }

    pub fn holds(
        &mut self,
        own: RaftId,
        index: u64,
        membership: &Arc<Membership>,
    ) -> Result<(), Violation> {
        if let Some(known) = self.at.get(&index) {
            if known == membership {
                return Ok(());
            }
            return Err(violation(format!(
                "at index {index} {own} holds {membership:?}, others held {known:?}"
            )));
        }
        if let Some((_, before)) = self.at.range(..index).next_back() {
            forgets_nobody(before, membership, index)?;
        }
        if let Some((later, after)) = self.at.range(index..).next() {
            forgets_nobody(membership, after, *later)?;
        }
        for member in membership.members() {
            let node = self.nodes.entry(member.raft_id).or_insert_with(|| member.node_id.clone());
            if *node != member.node_id {
                return Err(violation(format!(
                    "raft id {} stood for node {node} and now stands for {}",
                    member.raft_id, member.node_id
                )));
            }
        }
        self.at.insert(index, membership.clone());
        Ok(())
    }
}

fn forgets_nobody(before: &Membership, after: &Membership, index: u64) -> Result<(), Violation> {
    for gone in before.removed() {
        if !after.is_removed(gone) || after.get(gone).is_some() {
            return Err(violation(format!(
                "{gone} was removed, but index {index} knows nothing of it"
            )));
        }
    }
    for member in before.members() {
        if after.get(member.raft_id).is_none() && !after.is_removed(member.raft_id) {
            return Err(violation(format!(
                "{} was a member before index {index} and is neither that nor removed now",
                member.raft_id
            )));
        }
    }
    Ok(())
}

fn violation(detail: String) -> Violation {
    Violation::new("membership", detail)
}
