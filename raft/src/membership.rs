//! Who is in the group, and who has ever been removed from it.
//!
//! Membership is replicated state: it changes only when a conf change is applied or a snapshot is installed, by the
//! same rules on every member.

use std::collections::{BTreeMap, BTreeSet};

use prost::Message as _;

use crate::{MembershipError, RaftId, Status};

/// A member of the group. Its encoding (fields 1 to 3) is the context of a conf change, as SwarmKit's `RaftMember`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// Its raft id.
    pub raft_id: RaftId,
    /// The node it runs on.
    pub node_id: String,
    /// `host:port` where its peers reach it.
    pub addr: String,
}

/// The wire form of [`Member`]. SwarmKit always writes the status as well, empty in a conf change; so do we, so that
/// the same member has the same bytes.
#[derive(Clone, PartialEq, prost::Message)]
struct MemberRecord {
    #[prost(uint64, tag = "1")]
    raft_id: u64,
    #[prost(string, tag = "2")]
    node_id: String,
    #[prost(string, tag = "3")]
    addr: String,
    #[prost(message, optional, tag = "4")]
    status: Option<StatusRecord>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct StatusRecord {}

impl Member {
    /// The bytes that go into a conf change's context.
    pub fn encode(&self) -> Vec<u8> {
        MemberRecord {
            raft_id: self.raft_id.0,
            node_id: self.node_id.clone(),
            addr: self.addr.clone(),
            status: Some(StatusRecord {}),
        }
        .encode_to_vec()
    }

    /// Reads a conf change's context. `None` when it is no member record or its raft id is zero.
    pub fn decode(bytes: &[u8]) -> Option<Member> {
        let record = MemberRecord::decode(bytes).ok()?;
        (record.raft_id != 0).then_some(Member {
            raft_id: RaftId(record.raft_id),
            node_id: record.node_id,
            addr: record.addr,
        })
    }
}

/// The members of the group and the ids of everybody who was ever removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Membership {
    members: BTreeMap<RaftId, Member>,
    removed: BTreeSet<RaftId>,
}

/// A conf change in the log that the rules of membership do not allow. Raft's own configuration follows the log all
/// the same; only the list of members does not change, and the proposer learns of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipRuleError {
    /// The id is a member's already.
    #[error("raft member {0} cannot be added: it is a member already")]
    Exists(RaftId),
    /// The id was removed once and never comes back.
    #[error(
        "raft member {0} cannot be added: it was removed from the group, and removed ids never come back"
    )]
    Removed(RaftId),
    /// There is no such member.
    #[error("raft member {0} is not part of the group")]
    Unknown(RaftId),
    /// An address change that names another node than the member's.
    #[error(
        "raft member {raft_id} runs on node {expected}, so its address cannot be changed for node {found}"
    )]
    NodeMismatch {
        /// The member.
        raft_id: RaftId,
        /// The node it runs on.
        expected: String,
        /// The node that the change named.
        found: String,
    },
    /// The change carries no readable member record.
    #[error("the conf change for raft member {0} carries no readable member record")]
    BadContext(RaftId),
    /// A kind of change that no member of a group may propose.
    #[error("conf changes of this kind are not supported")]
    Unsupported,
}

impl Membership {
    /// A membership as a snapshot holds it. Members that are also in the removed set are left out.
    pub fn new(
        members: impl IntoIterator<Item = Member>,
        removed: impl IntoIterator<Item = RaftId>,
    ) -> Self {
        let removed: BTreeSet<_> = removed.into_iter().collect();
        let members = members
            .into_iter()
            .filter(|member| !removed.contains(&member.raft_id))
            .map(|member| (member.raft_id, member))
            .collect();
        Membership { members, removed }
    }

    pub(crate) fn insert(&mut self, member: Member) {
        self.members.insert(member.raft_id, member);
    }

    pub(crate) fn remove(&mut self, raft_id: RaftId) -> Result<(), MembershipRuleError> {
        self.members.remove(&raft_id).ok_or(MembershipRuleError::Unknown(raft_id))?;
        self.removed.insert(raft_id);
        Ok(())
    }

    /// All members in order of raft id.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Member> {
        self.members.values()
    }

    /// One member.
    pub fn get(&self, raft_id: RaftId) -> Option<&Member> {
        self.members.get(&raft_id)
    }

    /// The member that runs on a node.
    pub fn by_node(&self, node_id: &str) -> Option<&Member> {
        self.members.values().find(|member| member.node_id == node_id)
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is no member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether this id was removed once.
    pub fn is_removed(&self, raft_id: RaftId) -> bool {
        self.removed.contains(&raft_id)
    }

    /// Everybody who was ever removed.
    pub fn removed(&self) -> impl ExactSizeIterator<Item = RaftId> {
        self.removed.iter().copied()
    }
}

/// SwarmKit's rule for removing a member: this one and the reachable ones among those that would remain must be a
/// majority of what the rule takes for the group afterwards. So the last member can never be removed.
pub(crate) fn check_removal(status: &Status, raft_id: RaftId) -> Result<(), MembershipError> {
    let members = &status.members;
    if members.get(raft_id).is_none() {
        return Err(MembershipError::Unknown(raft_id));
    }
    let reachable = members
        .members()
        .filter(|member| member.raft_id != raft_id && status.reachable(member.raft_id))
        .count();
    let needed = (members.len() - 1) / 2 + 1;
    if reachable < needed {
        let remaining = members.len() - 1;
        return Err(MembershipError::QuorumLoss { reachable, remaining, needed });
    }
    Ok(())
}
