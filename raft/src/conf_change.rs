//! Conf changes as they stand in the log, and what they mean to the raft library.
//!
//! The wire's number 2 is "update node", which the library would take for "add learner" and demote a voter by it.
//! So the library never sees that number: an update becomes a change of node 0, which it ignores by definition.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;
use skep_proto::raftpb;

use crate::{Member, Membership, MembershipRuleError, RaftId};

/// A change of one member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConfChange {
    /// A new voter.
    Add(Member),
    /// A voter leaves for ever.
    Remove(RaftId),
    /// A voter's address changes.
    Update(Member),
    /// Something else that a log might hold: without effect here.
    Other {
        raft_id: RaftId,
        /// The library must still count this member as a voter.
        voter: bool,
    },
}

impl ConfChange {
    /// The bytes of the log entry. `id` is random; only its proposer looks at it.
    pub fn encode(&self, id: u64) -> Bytes {
        use raftpb::ConfChangeType as Kind;
        let (kind, raft_id, context) = match self {
            ConfChange::Add(member) => (Kind::ConfChangeAddNode, member.raft_id, Some(member)),
            ConfChange::Remove(raft_id) => (Kind::ConfChangeRemoveNode, *raft_id, None),
            ConfChange::Update(member) => {
                (Kind::ConfChangeUpdateNode, member.raft_id, Some(member))
            }
            ConfChange::Other { raft_id, .. } => (Kind::ConfChangeUpdateNode, *raft_id, None),
        };
        raftpb::ConfChange {
            id: Some(id),
            r#type: Some(kind as i32),
            node_id: Some(raft_id.0),
            context: context.map(|member| member.encode().into()),
        }
        .encode_to_vec()
        .into()
    }

    /// Reads a log entry. `None` when it is no conf change at all.
    pub fn decode(data: &Bytes) -> Option<ConfChange> {
        use raftpb::ConfChangeType as Kind;
        let change = raftpb::ConfChange::decode(data.clone()).ok()?;
        let raft_id = RaftId(change.node_id());
        let kind = Kind::try_from(change.r#type.unwrap_or_default()).ok();
        let member = Member::decode(change.context()).filter(|member| member.raft_id == raft_id);
        Some(match (kind, member) {
            (Some(Kind::ConfChangeAddNode), Some(member)) => ConfChange::Add(member),
            (Some(Kind::ConfChangeRemoveNode), _) => ConfChange::Remove(raft_id),
            (Some(Kind::ConfChangeUpdateNode), Some(member)) => ConfChange::Update(member),
            (Some(Kind::ConfChangeAddNode), None) => ConfChange::Other { raft_id, voter: true },
            _ => ConfChange::Other { raft_id, voter: false },
        })
    }

    /// What the library is told. Its configuration follows the log even when the rules of membership do not allow
    /// the change, as SwarmKit's does: all members must count the same voters.
    pub fn to_raft(&self) -> eraftpb::ConfChange {
        use eraftpb::ConfChangeType as Kind;
        let (kind, raft_id) = match self {
            ConfChange::Add(member) => (Kind::AddNode, member.raft_id.0),
            ConfChange::Remove(raft_id) => (Kind::RemoveNode, raft_id.0),
            ConfChange::Other { raft_id, voter: true } => (Kind::AddNode, raft_id.0),
            ConfChange::Update(_) | ConfChange::Other { .. } => (Kind::AddNode, raft::INVALID_ID),
        };
        let mut out = eraftpb::ConfChange::default();
        out.set_change_type(kind);
        out.node_id = raft_id;
        out
    }
}

impl Membership {
    /// Applies a change from the log, or says which rule it breaks and changes nothing.
    pub(crate) fn apply(&mut self, change: &ConfChange) -> Result<(), MembershipRuleError> {
        match change {
            ConfChange::Add(member) if self.get(member.raft_id).is_some() => {
                Err(MembershipRuleError::Exists(member.raft_id))
            }
            ConfChange::Add(member) if self.is_removed(member.raft_id) => {
                Err(MembershipRuleError::Removed(member.raft_id))
            }
            ConfChange::Add(member) => {
                self.insert(member.clone());
                Ok(())
            }
            ConfChange::Remove(raft_id) => self.remove(*raft_id),
            ConfChange::Update(member) => {
                let Some(old) = self.get(member.raft_id) else {
                    return Err(MembershipRuleError::Unknown(member.raft_id));
                };
                if old.node_id != member.node_id {
                    return Err(MembershipRuleError::NodeMismatch {
                        raft_id: member.raft_id,
                        expected: old.node_id.clone(),
                        found: member.node_id.clone(),
                    });
                }
                self.insert(member.clone());
                Ok(())
            }
            ConfChange::Other { raft_id, voter: true } => {
                Err(MembershipRuleError::BadContext(*raft_id))
            }
            ConfChange::Other { .. } => Err(MembershipRuleError::Unsupported),
        }
    }
}
