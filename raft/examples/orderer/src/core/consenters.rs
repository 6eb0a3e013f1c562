//! Who the orderers shall be, as the chain says, and what brings raft's membership into line with it.
//!
//! A change is ordered first, as a block of configuration; then the leader changes raft's membership accordingly. Whoever leads
//! compares the two, so it makes no difference who began. While they differ nothing else is ordered, and no other change is taken
//! but one that takes the present one back.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message as _;
use skep_raft::{Member, Membership, RaftId};

use super::limits::Limits;
use crate::wire;

/// One orderer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consenter {
    /// The number that its operator gave it; never 0.
    pub id: u32,
    /// Names its data directory: what raft calls the node.
    pub node_id: String,
    /// Where it listens.
    pub addr: String,
}

/// What a block of configuration holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Names the chain.
    pub chain_id: String,
    /// How blocks are cut.
    pub limits: Limits,
    /// The orderers by number.
    pub consenters: BTreeMap<u32, Consenter>,
}

/// A change of the orderers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more.
    Add(Consenter),
    /// One less.
    Remove(u32),
}

/// Why a change is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// There is no first block yet.
    #[error("the chain has no first block yet; try again")]
    NoChain,
    /// Another change is on its way.
    #[error(
        "another change of the orderers is in progress; wait for it, or take it back by its opposite"
    )]
    InProgress,
    /// The number is taken by another data directory.
    #[error(
        "orderer {id} is a member with another data directory; remove it first with: orderer member remove {id}"
    )]
    Taken {
        /// The number.
        id: u32,
    },
    /// It is one already.
    #[error("orderer {0} is a member already")]
    Present(u32),
    /// Another one listens there.
    #[error("orderer {id} has the address {addr} already")]
    AddressTaken {
        /// Whose it is.
        id: u32,
        /// The address.
        addr: String,
    },
    /// There is no such orderer.
    #[error("orderer {0} is not a member")]
    Unknown(u32),
    /// It is the last one.
    #[error("orderer {0} is the last one and cannot be removed")]
    Last(u32),
    /// Removing it could leave the others without a majority.
    #[error("orderer {id} cannot be removed: {why}")]
    QuorumLoss {
        /// Which.
        id: u32,
        /// What raft says.
        why: String,
    },
}

/// What brings raft's membership nearer to the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Admit this one.
    Admit(Consenter),
    /// Remove this member.
    Remove(RaftId),
}

impl Configuration {
    /// The bytes of a block's item.
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// As it stands in a block and a snapshot.
    pub fn to_wire(&self) -> wire::Configuration {
        let consenter = |consenter: &Consenter| wire::Consenter {
            id: consenter.id,
            node_id: consenter.node_id.clone(),
            addr: consenter.addr.clone(),
        };
        wire::Configuration {
            chain_id: self.chain_id.clone(),
            limits: Some(self.limits.to_wire()),
            consenters: self.consenters.values().map(consenter).collect(),
        }
    }

    /// From a block's item; `None` when that is no configuration.
    pub fn decode(bytes: &Bytes) -> Option<Configuration> {
        Configuration::from_wire(wire::Configuration::decode(bytes.clone()).ok()?)
    }

    /// From the wire; `None` when it makes no sense.
    pub fn from_wire(configuration: wire::Configuration) -> Option<Configuration> {
        let limits = Limits::from_wire(configuration.limits.as_ref()?).ok()?;
        let consenters = configuration
            .consenters
            .into_iter()
            .map(|c| (c.id, Consenter { id: c.id, node_id: c.node_id, addr: c.addr }));
        Some(Configuration {
            chain_id: configuration.chain_id,
            limits,
            consenters: consenters.collect(),
        })
    }

    /// The steps that bring raft's membership into line: admissions first, since more members lose less.
    pub fn steps(&self, members: &Membership) -> Vec<Step> {
        let missing = self.consenters.values().filter(|c| members.by_node(&c.node_id).is_none());
        let admit = missing.map(|consenter| Step::Admit(consenter.clone()));
        let surplus = members.members().filter(|member| !self.has_node(&member.node_id));
        let remove = surplus.map(|member: &Member| Step::Remove(member.raft_id));
        admit.chain(remove).collect()
    }

    fn has_node(&self, node_id: &str) -> bool {
        self.consenters.values().any(|consenter| consenter.node_id == node_id)
    }

    /// The configuration after a change, if that may be made now.
    ///
    /// # Errors
    /// Why not.
    pub fn changed(
        &self,
        change: &Change,
        members: &Membership,
    ) -> Result<Configuration, ChangeError> {
        let mut next = self.clone();
        match change {
            Change::Add(new) => {
                match self.consenters.get(&new.id) {
                    Some(old) if old == new => return Err(ChangeError::Present(new.id)),
                    Some(_) => return Err(ChangeError::Taken { id: new.id }),
                    None => {}
                }
                if let Some(other) = self.consenters.values().find(|c| c.addr == new.addr) {
                    let (id, addr) = (other.id, other.addr.clone());
                    return Err(ChangeError::AddressTaken { id, addr });
                }
                next.consenters.insert(new.id, new.clone());
            }
            Change::Remove(id) => {
                if next.consenters.remove(id).is_none() {
                    return Err(ChangeError::Unknown(*id));
                }
                if next.consenters.is_empty() {
                    return Err(ChangeError::Last(*id));
                }
            }
        }
        let (before, after) = (self.steps(members).len(), next.steps(members).len());
        if before > 0 && after >= before {
            return Err(ChangeError::InProgress);
        }
        Ok(next)
    }

    /// The configuration in which this step is not to be made: what remains of a change that raft would not make.
    pub fn without(&self, step: &Step, members: &Membership) -> Option<Configuration> {
        let mut next = self.clone();
        match step {
            Step::Admit(consenter) => {
                next.consenters.remove(&consenter.id)?;
            }
            Step::Remove(raft_id) => {
                let member = members.get(*raft_id)?;
                let id = number(&member.node_id)?;
                if next.consenters.contains_key(&id) {
                    return None;
                }
                let (node_id, addr) = (member.node_id.clone(), member.addr.clone());
                next.consenters.insert(id, Consenter { id, node_id, addr });
            }
        }
        (!next.consenters.is_empty()).then_some(next)
    }
}

/// A node's name, from an orderer's number and what was drawn for its data directory.
pub fn node_id(id: u32, drawn: u64) -> String {
    format!("{id}-{drawn:016x}")
}

/// The orderer's number in a node's name.
pub fn number(node_id: &str) -> Option<u32> {
    node_id.split_once('-')?.0.parse().ok()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn consenter(id: u32) -> Consenter {
        Consenter { id, node_id: node_id(id, 7), addr: format!("host{id}:7050") }
    }

    fn configuration(ids: &[u32]) -> Configuration {
        Configuration {
            chain_id: "chain".to_owned(),
            limits: Limits::default(),
            consenters: ids.iter().map(|id| (*id, consenter(*id))).collect(),
        }
    }

    fn members(ids: &[u32]) -> Membership {
        let member = |id: &u32| {
            let Consenter { node_id, addr, .. } = consenter(*id);
            Member { raft_id: RaftId(u64::from(*id) * 100), node_id, addr }
        };
        Membership::new(ids.iter().map(member), [])
    }

    #[test]
    fn raft_follows_the_chain_one_step_at_a_time() {
        let admit = |id| Step::Admit(consenter(id));
        let remove = |id: u64| Step::Remove(RaftId(id * 100));
        for (what, wanted, present, expected) in [
            ("in line", &[1, 2, 3][..], &[1, 2, 3][..], vec![]),
            ("a founder admits the others", &[1, 2, 3], &[1], vec![admit(2), admit(3)]),
            ("one more", &[1, 2, 3, 4], &[1, 2, 3], vec![admit(4)]),
            ("one less", &[1, 3], &[1, 2, 3], vec![remove(2)]),
            ("admissions come first", &[1, 4], &[1, 2], vec![admit(4), remove(2)]),
        ] {
            assert_eq!(configuration(wanted).steps(&members(present)), expected, "{what}");
        }
    }

    #[test]
    fn a_change_is_taken_only_when_the_last_one_is_done() {
        let add = |id| Change::Add(consenter(id));
        let wiped = Change::Add(Consenter { node_id: node_id(2, 8), ..consenter(2) });
        let squatter = Change::Add(Consenter { addr: "host1:7050".into(), ..consenter(4) });
        let taken = ChangeError::AddressTaken { id: 1, addr: "host1:7050".into() };
        use ChangeError::{InProgress, Last, Present, Taken, Unknown};
        let rows: Vec<(&str, &[u32], &[u32], Change, Result<&[u32], ChangeError>)> = vec![
            ("one more", &[1, 2, 3], &[1, 2, 3], add(4), Ok(&[1, 2, 3, 4])),
            ("one less", &[1, 2, 3], &[1, 2, 3], Change::Remove(2), Ok(&[1, 3])),
            ("there already", &[1, 2], &[1, 2], add(2), Err(Present(2))),
            ("there with another disk", &[1, 2], &[1, 2], wiped, Err(Taken { id: 2 })),
            ("another's address", &[1, 2], &[1, 2], squatter, Err(taken)),
            ("not there", &[1, 2], &[1, 2], Change::Remove(9), Err(Unknown(9))),
            ("the last one", &[1], &[1], Change::Remove(1), Err(Last(1))),
            ("while one is being added", &[1, 2, 3], &[1, 2], add(4), Err(InProgress)),
            ("another leaves meanwhile", &[1, 2, 3], &[1, 2], Change::Remove(2), Err(InProgress)),
            ("it is taken back", &[1, 2, 3], &[1, 2], Change::Remove(3), Ok(&[1, 2])),
            ("a removal is taken back", &[1, 2], &[1, 2, 3], add(3), Ok(&[1, 2, 3])),
            ("a founder goes on without one", &[1, 2, 3], &[1], Change::Remove(3), Ok(&[1, 2])),
        ];
        for (what, wanted, present, change, expected) in rows {
            let found = configuration(wanted).changed(&change, &members(present));
            assert_eq!(found, expected.map(configuration), "{what}");
        }
    }

    #[test]
    fn a_step_that_raft_will_not_make_is_taken_back() {
        let present = members(&[1, 2]);
        for (wanted, remains) in [(&[1, 2, 3][..], &[1, 2][..]), (&[1], &[1, 2])] {
            let wanted = configuration(wanted);
            let step = wanted.steps(&present).remove(0);
            assert_eq!(wanted.without(&step, &present), Some(configuration(remains)));
        }
    }

    #[test]
    fn a_configuration_survives_its_encoding() {
        let configuration = configuration(&[1, 5, 9]);
        assert_eq!(Configuration::decode(&configuration.encode()), Some(configuration));
        assert_eq!(Configuration::decode(&Bytes::from_static(b"junk")), None);
    }
}
