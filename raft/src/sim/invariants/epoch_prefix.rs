//! Epoch prefix: what commits of the proposals of one epoch is a prefix of them, none twice, and nothing that was refused. The
//! contract of [`Epoch`](crate::Epoch): later proposals are computed on top of earlier ones, so one may not commit without the other.

use std::collections::BTreeMap;

use super::super::trace::hash_bytes;
use super::Violation;
use crate::{Committed, Epoch, Ticket};

#[derive(Clone, Copy, Debug)]
struct Proposed {
    life: u32,
    epoch: u64,
    /// Its place among the proposals of its epoch.
    number: u64,
    ticket: Ticket,
    refused: bool,
    committed: Option<u64>,
}

/// Every proposal that was made, by the hash of its bytes.
#[derive(Debug, Default)]
pub struct Ledger {
    proposed: BTreeMap<u64, Proposed>,
    by_ticket: BTreeMap<(u32, Ticket), u64>,
    taken: BTreeMap<(u32, u64), u64>,
    committed: BTreeMap<(u32, u64), u64>,
}

impl Ledger {
    /// A proposal was made, and taken or refused at once.
    pub fn proposed(&mut self, life: u32, epoch: Epoch, ticket: Ticket, data: &[u8], taken: bool) {
        let hash = hash_bytes(data);
        let count = self.taken.entry((life, epoch.0)).or_default();
        let proposed = Proposed {
            life,
            epoch: epoch.0,
            number: *count,
            ticket,
            refused: !taken,
            committed: None,
        };
        *count += u64::from(taken);
        self.proposed.insert(hash, proposed);
        self.by_ticket.insert((life, ticket), hash);
    }

    /// Its proposer is told that it will not commit.
    pub fn refused(&mut self, life: u32, ticket: Ticket) -> Result<(), Violation> {
        let hash = self.by_ticket.get(&(life, ticket));
        let Some(proposed) = hash.and_then(|hash| self.proposed.get_mut(hash)) else {
            return Err(violation(format!("{ticket:?} is refused, but was never proposed")));
        };
        proposed.refused = true;
        match proposed.committed {
            None => Ok(()),
            Some(index) => {
                Err(violation(format!("{ticket:?} is refused, but was committed at {index}")))
            }
        }
    }

    /// It is applied somewhere for the first time.
    pub fn committed(&mut self, entry: &Committed) -> Result<(), Violation> {
        let index = entry.index;
        let Some(proposed) = self.proposed.get_mut(&hash_bytes(&entry.data)) else {
            return Err(violation(format!("entry {index} was never proposed")));
        };
        let Proposed { life, epoch, number, ticket, refused, committed } = *proposed;
        if let Some(before) = committed {
            return Err(Violation::new(
                "applied_once",
                format!("{ticket:?} of life {life} is committed at {before} and again at {index}"),
            ));
        }
        if refused {
            return Err(violation(format!(
                "{ticket:?} of life {life} is committed at {index}, but was refused"
            )));
        }
        proposed.committed = Some(index);
        let next = self.committed.entry((life, epoch)).or_default();
        if number != *next {
            return Err(violation(format!(
                "of epoch {epoch} of life {life} proposal {number} is committed at {index} where {next} had to come first"
            )));
        }
        *next += 1;
        Ok(())
    }

    /// Its proposer is told that it committed.
    pub fn acknowledged(
        &self,
        life: u32,
        ticket: Ticket,
        entry: &Committed,
    ) -> Result<(), Violation> {
        if self.by_ticket.get(&(life, ticket)) == Some(&hash_bytes(&entry.data)) {
            Ok(())
        } else {
            Err(violation(format!("entry {} comes with another's {ticket:?}", entry.index)))
        }
    }
}

fn violation(detail: String) -> Violation {
    Violation::new("epoch_prefix", detail)
}
