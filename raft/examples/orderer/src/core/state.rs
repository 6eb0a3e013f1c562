//! The replicated state, and what a committed entry does to it: where the chain ends, its configuration, the window.

use bytes::Bytes;
use prost::Message as _;
use skep_raft::{Member, Membership, RaftId};

use super::chain::{Block, ChainError, Header, Kept, Kind, Tip, check_link};
use super::consenters::Configuration;
use super::envelope::{Key, Print, key, print};
use super::window::{self, Window};
use crate::core::chain::Hash;
use crate::wire;

/// See the module.
#[derive(Debug, Default)]
pub struct State {
    tip: Option<Tip>,
    configuration: Option<Configuration>,
    window: Window,
}

/// The state at one moment, cheap to take.
#[derive(Debug)]
pub struct Captured {
    tip: Option<Tip>,
    configuration: Option<Configuration>,
    window: window::Captured,
}

/// Why a snapshot cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the snapshot of the chain cannot be read: {0}")]
pub struct SnapshotError(&'static str);

/// An entry of raft's log: a block, and who proposed it as its how manieth.
pub fn encode_proposal(proposer: u64, ticket: u64, block: &Block) -> Bytes {
    let block = Some(block.to_wire(None));
    wire::Proposal { proposer, ticket, block }.encode_to_vec().into()
}

/// The block in an entry of raft's log.
///
/// # Errors
/// [`ChainError::Malformed`].
pub fn decode_proposal(data: Bytes) -> Result<Block, ChainError> {
    let proposal = wire::Proposal::decode(data)
        .map_err(|_| ChainError::Malformed("the entry cannot be decoded"))?;
    Block::from_wire(proposal.block.ok_or(ChainError::Malformed("the entry holds no block"))?)
}

/// What the envelopes of a block go by.
fn ids(block: &Block) -> Result<Vec<(Key, Print)>, ChainError> {
    let id = |item: &Bytes| {
        let envelope = wire::Envelope::decode(item.clone())
            .map_err(|_| ChainError::Malformed("it holds something else than envelopes"))?;
        Ok((key(&envelope.submitter, &envelope.id), print(&Hash::of(item))))
    };
    block.data.iter().map(id).collect()
}

impl State {
    /// Takes in the next block. After an error the state is as it was: this replica differs from the others and must not go on.
    ///
    /// # Errors
    /// When it is not the next one, or does not hold what it says.
    pub fn apply(&mut self, kept: &Kept) -> Result<(), ChainError> {
        let block = &kept.block;
        check_link(self.tip.as_ref().map(|tip| &tip.header), &block.header)?;
        block.check_data()?;
        match block.kind {
            Kind::Configuration => {
                let [item] = block.data.as_slice() else {
                    return Err(ChainError::Malformed("it holds not one configuration"));
                };
                let configuration = Configuration::decode(item)
                    .ok_or(ChainError::Malformed("its configuration makes no sense"))?;
                self.configuration = Some(configuration);
            }
            Kind::Envelopes => {
                let configuration = self.configuration.as_ref();
                let configuration = configuration
                    .ok_or(ChainError::Malformed("the first block is no configuration"))?;
                let window_blocks = configuration.limits.window_blocks;
                self.window.add(block.header.number, ids(block)?, window_blocks);
            }
        }
        self.tip = Some(kept.tip());
        Ok(())
    }

    /// Where the chain ends.
    pub fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// The chain's configuration; there is one from the first block on.
    pub fn configuration(&self) -> Option<&Configuration> {
        self.configuration.as_ref()
    }

    /// What was ordered lately.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// As it is now.
    pub fn capture(&self) -> Captured {
        Captured {
            tip: self.tip,
            configuration: self.configuration.clone(),
            window: self.window.capture(),
        }
    }

    /// From a snapshot, with the membership that it holds.
    ///
    /// # Errors
    /// When the bytes are no snapshot.
    pub fn restore(data: Bytes) -> Result<(State, Membership), SnapshotError> {
        let snapshot =
            wire::Snapshot::decode(data).map_err(|_| SnapshotError("it cannot be decoded"))?;
        let tip = match &snapshot.tip {
            None => None,
            Some(header) => {
                let header = Header::from_wire(header);
                let header = header.ok_or(SnapshotError("its header has no hashes"))?;
                Some(Tip { header, index: snapshot.tip_index })
            }
        };
        let configuration = match snapshot.configuration {
            None => None,
            Some(wire) => Some(
                Configuration::from_wire(wire)
                    .ok_or(SnapshotError("its configuration makes no sense"))?,
            ),
        };
        let window =
            Window::from_wire(snapshot.window).ok_or(SnapshotError("its window makes no sense"))?;
        let members: Option<Vec<_>> =
            snapshot.members.iter().map(|member| Member::decode(member)).collect();
        let members = members.ok_or(SnapshotError("its members cannot be decoded"))?;
        let removed = snapshot.removed.into_iter().map(RaftId);
        Ok((State { tip, configuration, window }, Membership::new(members, removed)))
    }
}

impl Captured {
    /// The last block that it includes.
    pub fn tip(&self) -> Option<Tip> {
        self.tip
    }

    /// The bytes of a snapshot.
    pub fn encode(&self, membership: &Membership) -> Bytes {
        let snapshot = wire::Snapshot {
            tip: self.tip.map(|tip| tip.header.to_wire()),
            tip_index: self.tip.map_or(0, |tip| tip.index),
            configuration: self.configuration.as_ref().map(Configuration::to_wire),
            window: self.window.to_wire(),
            members: membership.members().map(|member| member.encode().into()).collect(),
            removed: membership.removed().map(|raft_id| raft_id.0).collect(),
        };
        snapshot.encode_to_vec().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::envelope::Submission;
    use crate::core::limits::Limits;
    use crate::core::window::Known;

    fn configuration() -> Configuration {
        Configuration {
            chain_id: "chain".to_owned(),
            limits: Limits::default(),
            consenters: Default::default(),
        }
    }

    fn kept(number: u64, previous: Hash, kind: Kind, items: &[Bytes]) -> Kept {
        let items = items.iter().map(|item| (item.clone(), Hash::of(item))).collect();
        Kept { block: Block::next(number, previous, kind, items), index: number + 5, term: 1 }
    }

    fn submission(id: &str) -> Submission {
        let envelope =
            wire::Envelope { submitter: "a".into(), id: id.into(), ..Default::default() };
        Submission::new(&envelope).unwrap()
    }

    #[test]
    fn the_state_follows_from_the_blocks_and_survives_a_snapshot() {
        let mut state = State::default();
        let first = kept(0, Hash::default(), Kind::Configuration, &[configuration().encode()]);
        let envelope = submission("1");
        let items = [envelope.bytes.clone()];
        let second = kept(1, first.block.header.hash(), Kind::Envelopes, &items);
        state.apply(&first).unwrap();
        state.apply(&second).unwrap();

        let member = Member { raft_id: RaftId(4), node_id: "1-7".into(), addr: "a:1".into() };
        let membership = Membership::new([member], [RaftId(9)]);
        let data = state.capture().encode(&membership);
        let (restored, members) = State::restore(data).unwrap();
        assert_eq!(members, membership);
        for state in [&state, &restored] {
            assert_eq!(state.tip(), Some(second.tip()));
            assert_eq!(state.configuration(), Some(&configuration()));
            let known = state.window().look_up(&envelope.key, envelope.print());
            assert_eq!(known, Known::In(1));
        }
    }

    #[test]
    fn what_is_not_the_next_block_changes_nothing() {
        let first = kept(0, Hash::default(), Kind::Configuration, &[configuration().encode()]);
        let hash = first.block.header.hash();
        let item = submission("1").bytes;
        let mut lying = kept(1, hash, Kind::Envelopes, std::slice::from_ref(&item));
        lying.block.data.push(item.clone());
        for (what, block) in [
            ("one that is ahead", kept(2, hash, Kind::Envelopes, &[])),
            ("one that is linked elsewhere", kept(1, Hash::default(), Kind::Envelopes, &[])),
            ("one that holds something else than it says", lying),
            ("no envelopes", kept(1, hash, Kind::Envelopes, &[Bytes::from_static(b"\xff")])),
            ("no configuration", kept(1, hash, Kind::Configuration, &[Bytes::new()])),
            ("two configurations", kept(1, hash, Kind::Configuration, &[item.clone(), item])),
        ] {
            let mut state = State::default();
            state.apply(&first).unwrap();
            assert!(state.apply(&block).is_err(), "{what}");
            assert_eq!(state.tip(), Some(first.tip()), "{what}");
        }
    }

    #[test]
    fn a_chain_begins_with_a_configuration() {
        let block = kept(0, Hash::default(), Kind::Envelopes, &[submission("1").bytes]);
        assert_eq!(
            State::default().apply(&block),
            Err(ChainError::Malformed("the first block is no configuration"))
        );
    }
}
