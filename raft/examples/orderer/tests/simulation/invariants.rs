//! What must hold of the chain at every moment.

use std::collections::BTreeMap;

use prost::Message as _;
use skep_orderer::core::chain::{Hash, Kind, check_link};
use skep_orderer::ledger::Reader;
use skep_orderer::wire::Envelope;
use skep_raft::sim::Violation;

use crate::program::LIMITS;
use crate::submitters::Submitter;

/// The chain, as first seen in any ledger.
#[derive(Default)]
pub struct Seen {
    blocks: Vec<Hash>,
    /// The block of each envelope, by submitter and number.
    envelopes: BTreeMap<(String, u64), u64>,
    /// The last number of each submitter.
    last: BTreeMap<String, u64>,
}

impl Seen {
    /// What a ledger holds from a height on: the same as every other, linked, within the limits, no envelope twice, each submitter's
    /// envelopes in their order.
    pub fn ledger(&mut self, place: usize, reader: &Reader, from: u64) -> Result<(), Violation> {
        for number in from..reader.height() {
            let kept = reader.block(number).map_err(|error| {
                Violation::new("ledger", format!("place {place} cannot read {number}: {error}"))
            })?;
            let hash = kept.block.header.hash();
            match self.blocks.get(number as usize) {
                Some(known) if *known == hash => continue,
                Some(_) => {
                    let detail = format!("place {place} holds another block {number}");
                    return Err(Violation::new("same_chain", detail));
                }
                None => {}
            }
            let previous = number.checked_sub(1).map(|previous| reader.header(previous));
            let previous = previous
                .transpose()
                .map_err(|error| Violation::new("ledger", format!("place {place}: {error}")))?;
            check_link(previous.as_ref(), &kept.block.header)
                .and_then(|()| kept.block.check_data())
                .map_err(|error| Violation::new("hash_linked", error.to_string()))?;
            self.blocks.push(hash);
            if kept.block.kind == Kind::Envelopes {
                self.envelopes(number, &kept.block.data)?;
            }
        }
        Ok(())
    }

    fn envelopes(&mut self, block: u64, data: &[bytes::Bytes]) -> Result<(), Violation> {
        let bytes: usize = data.iter().map(bytes::Bytes::len).sum();
        let limit = if data.len() == 1 { LIMITS.absolute_bytes } else { LIMITS.preferred_bytes };
        if data.is_empty() || data.len() > LIMITS.messages_max || bytes > limit {
            let detail = format!("block {block} has {} envelopes of {bytes} bytes", data.len());
            return Err(Violation::new("limits", detail));
        }
        for item in data {
            let envelope = Envelope::decode(item.clone())
                .map_err(|error| Violation::new("ledger", error.to_string()))?;
            let number: u64 = envelope.id.parse().unwrap_or_default();
            let key = (envelope.submitter.clone(), number);
            if let Some(first) = self.envelopes.insert(key, block) {
                let Envelope { submitter, id, .. } = envelope;
                let detail = format!("{submitter}'s {id} is in block {first} and in block {block}");
                return Err(Violation::new("exactly_once", detail));
            }
            if let Some(last) = self.last.insert(envelope.submitter.clone(), number)
                && last > number
            {
                let detail = format!("{}'s {number} comes after its {last}", envelope.submitter);
                return Err(Violation::new("submitters_order", detail));
            }
        }
        Ok(())
    }

    /// What a submitter was told is true.
    pub fn told(&self, submitter: &Submitter) -> Result<(), Violation> {
        for (number, block) in &submitter.acknowledged {
            let found = self.envelopes.get(&(submitter.name().to_owned(), *number));
            if found != Some(block) {
                let name = submitter.name();
                let detail = format!(
                    "{name} was told that its {number} is in {block}, and it is in {found:?}"
                );
                return Err(Violation::new("acknowledged", detail));
            }
        }
        Ok(())
    }

    /// How many blocks were seen.
    pub fn height(&self) -> u64 {
        self.blocks.len() as u64
    }
}
