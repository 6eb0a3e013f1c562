//! Who the orderers shall be, as the chain says, and what brings raft's membership into line with it.
//!
//! A change is ordered first, as a block of configuration; then the leader changes raft's membership accordingly. Whoever leads
//! compares the two, so it makes no difference who began. While they differ nothing else is ordered, and no other change is taken
//! but one that takes the present one back.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use prost::Message as _;
use skep_raft::Membership;

use super::limits::Limits;
use crate::wire;

/// One orderer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Consenter {
    /// The name that its operator gave it.
    pub id: String,
    /// Where the other orderers reached it when it was added. Where it is now is for raft's membership to say.
    pub addr: String,
}

/// What a block of configuration holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Names the chain.
    pub chain_id: String,
    /// How blocks are cut.
    pub limits: Limits,
    /// The orderers by name.
    pub consenters: BTreeMap<String, Consenter>,
}

/// A change of the orderers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// One more.
    Add(Consenter),
    /// One less.
    Remove(String),
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
    /// The name is another's.
    #[error("orderer {id} is a member already, at {addr}; remove it first, or give another id")]
    Taken {
        /// The name.
        id: String,
        /// Where its bearer is.
        addr: String,
    },
    /// It is one already.
    #[error("orderer {0} is a member already")]
    Present(String),
    /// Another one listens there.
    #[error("orderer {id} has the address {addr} already")]
    AddressTaken {
        /// Whose it is.
        id: String,
        /// The address.
        addr: String,
    },
    /// There is no such orderer.
    #[error("orderer {0} is not a member")]
    Unknown(String),
    /// It is the last one.
    #[error("orderer {0} is the last one and cannot be removed")]
    Last(String),
}

/// What brings raft's membership nearer to the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Wait for this one to join.
    Admit(Consenter),
    /// Remove the member of this name.
    Remove(String),
}

impl Configuration {
    /// The bytes of a block's item.
    pub fn encode(&self) -> Bytes {
        self.to_wire().encode_to_vec().into()
    }

    /// As it stands in a block and a snapshot.
    pub fn to_wire(&self) -> wire::Configuration {
        let consenter = |consenter: &Consenter| wire::Consenter {
            id: consenter.id.clone(),
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
            .map(|c| (c.id.clone(), Consenter { id: c.id, addr: c.addr }));
        Some(Configuration {
            chain_id: configuration.chain_id,
            limits,
            consenters: consenters.collect(),
        })
    }

    /// The steps that bring raft's membership into line: admissions first, since more members lose less.
    pub fn steps(&self, members: &Membership) -> Vec<Step> {
        let present: BTreeSet<&str> =
            members.members().map(|member| name_of(&member.node_id)).collect();
        let missing = self.consenters.values().filter(|c| !present.contains(c.id.as_str()));
        let admit = missing.map(|consenter| Step::Admit(consenter.clone()));
        let surplus = present.iter().filter(|id| !self.consenters.contains_key(**id));
        let remove = surplus.map(|id| Step::Remove((*id).to_owned()));
        admit.chain(remove).collect()
    }

    /// Whether an orderer of this name may join at this address.
    pub fn admits(&self, id: &str, addr: &str) -> bool {
        self.consenters.get(id).is_some_and(|consenter| consenter.addr == addr)
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
                match self.consenters.get(&new.id).cloned() {
                    Some(old) if old == *new => return Err(ChangeError::Present(old.id)),
                    Some(Consenter { id, addr }) => return Err(ChangeError::Taken { id, addr }),
                    None => {}
                }
                if let Some(other) = self.consenters.values().find(|c| c.addr == new.addr) {
                    let Consenter { id, addr } = other.clone();
                    return Err(ChangeError::AddressTaken { id, addr });
                }
                next.consenters.insert(new.id.clone(), new.clone());
            }
            Change::Remove(id) => {
                if next.consenters.remove(id).is_none() {
                    return Err(ChangeError::Unknown(id.clone()));
                }
                if next.consenters.is_empty() {
                    return Err(ChangeError::Last(id.clone()));
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
            Step::Remove(id) => {
                let mut members = members.members();
                let addr = members.find(|m| name_of(&m.node_id) == id)?.addr.clone();
                next.consenters.insert(id.clone(), Consenter { id: id.clone(), addr });
            }
        }
        (!next.consenters.is_empty()).then_some(next)
    }
}

/// The orderer's name in what raft calls its node, which also tells one data directory from the next.
pub fn name_of(node_id: &str) -> &str {
    node_id.rsplit_once('#').map_or(node_id, |(name, _)| name)
}

#[cfg(test)]
pub(crate) mod tests {
    use skep_raft::{Member, RaftId};

    use super::*;

    pub(crate) fn consenter(id: u32) -> Consenter {
        Consenter { id: id.to_string(), addr: format!("host{id}:7050") }
    }

    type Ids = &'static [u32];

    fn configuration(ids: &[u32]) -> Configuration {
        Configuration {
            chain_id: "chain".to_owned(),
            limits: Limits::default(),
            consenters: ids.iter().map(|id| (id.to_string(), consenter(*id))).collect(),
        }
    }

    fn members(ids: &[u32]) -> Membership {
        let member = |id: &u32| {
            let Consenter { id: name, addr } = consenter(*id);
            Member { raft_id: RaftId(u64::from(*id)), node_id: format!("{name}#7"), addr }
        };
        Membership::new(ids.iter().map(member), [])
    }

    #[test]
    fn raft_follows_the_chain_one_step_at_a_time() {
        let admit = |id| Step::Admit(consenter(id));
        let remove = |id: u32| Step::Remove(id.to_string());
        let remove2 = remove(2);
        for (what, wanted, present, expected) in [
            ("in line", &[1, 2, 3][..], &[1, 2, 3][..], vec![]),
            ("a founder admits the others", &[1, 2, 3], &[1], vec![admit(2), admit(3)]),
            ("one more", &[1, 2, 3, 4], &[1, 2, 3], vec![admit(4)]),
            ("one less", &[1, 3], &[1, 2, 3], vec![remove2.clone()]),
            ("admissions come first", &[1, 4], &[1, 2], vec![admit(4), remove2]),
        ] {
            assert_eq!(configuration(wanted).steps(&members(present)), expected, "{what}");
        }
    }

    #[test]
    fn a_change_is_taken_only_when_the_last_one_is_done() {
        let add = |id| Change::Add(consenter(id));
        let remove = |id: u32| Change::Remove(id.to_string());
        let moved = Change::Add(Consenter { addr: "host7:7050".into(), ..consenter(2) });
        let bearer = ChangeError::Taken { id: "2".into(), addr: "host2:7050".into() };
        let squatter = Change::Add(Consenter { addr: "host1:7050".into(), ..consenter(4) });
        let taken = ChangeError::AddressTaken { id: "1".into(), addr: "host1:7050".into() };
        use ChangeError::{InProgress, Last, Present, Unknown};
        type Row = (&'static str, Ids, Ids, Change, Result<Ids, ChangeError>);
        let rows: Vec<Row> = vec![
            ("one more", &[1, 2, 3], &[1, 2, 3], add(4), Ok(&[1, 2, 3, 4])),
            ("one less", &[1, 2, 3], &[1, 2, 3], remove(2), Ok(&[1, 3])),
            ("there already", &[1, 2], &[1, 2], add(2), Err(Present("2".into()))),
            ("there, and elsewhere", &[1, 2], &[1, 2], moved, Err(bearer)),
            ("another's address", &[1, 2], &[1, 2], squatter, Err(taken)),
            ("not there", &[1, 2], &[1, 2], remove(9), Err(Unknown("9".into()))),
            ("the last one", &[1], &[1], remove(1), Err(Last("1".into()))),
            ("while one is being added", &[1, 2, 3], &[1, 2], add(4), Err(InProgress)),
            ("another leaves meanwhile", &[1, 2, 3], &[1, 2], remove(2), Err(InProgress)),
            ("it is taken back", &[1, 2, 3], &[1, 2], remove(3), Ok(&[1, 2])),
            ("a removal is taken back", &[1, 2], &[1, 2, 3], add(3), Ok(&[1, 2, 3])),
            ("a founder goes on without one", &[1, 2, 3], &[1], remove(3), Ok(&[1, 2])),
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
