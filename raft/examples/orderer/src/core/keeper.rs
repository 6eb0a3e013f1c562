//! What to write to the ledger, and what to pull from other orderers.
//!
//! Committed blocks come from raft in order. Most come right after the last one in the ledger and are written; after a restart some
//! are there already and are passed over. What comes after a snapshot that is ahead of the ledger waits while the blocks in between are
//! pulled: first their headers, which must lead from the ledger's last block to a hash that came through raft, then the
//! blocks, each of which must be what its header says. So a peer can refuse, but not deceive.

use std::collections::VecDeque;

use super::chain::{ChainError, Hash, Header, Kept, Tip, check_link};

/// Blocks that wait for the ledger hold this many bytes at most; what comes on top is pulled from others later. A leader takes far
/// fewer; this is for an orderer that is behind, or whose disk is.
pub const QUEUE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// One write holds so many bytes, or one block: it bounds what a crash can tear.
pub const WRITE_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How far an orderer may be behind and still pull: a header's hash for each block is held meanwhile, 32 MiB at this.
pub const GAP_BLOCKS_MAX: u64 = 1 << 20;

/// Something to do. One at a time; its end is told before the next one is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Work {
    /// Write these to the ledger and sync it, then say [`Keeper::wrote`].
    Write(Vec<Kept>),
    /// Ask a peer for these headers, then say [`Keeper::headers`], or nothing.
    Headers {
        /// The first.
        from: u64,
        /// The last.
        through: u64,
    },
    /// Ask a peer for these blocks, then say [`Keeper::pulled`] with some of the first of them, or nothing.
    Blocks {
        /// The first.
        from: u64,
        /// The last.
        through: u64,
    },
}

/// The ledger and the chain contradict one another: this orderer must not go on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeeperError {
    /// The ledger's last block is not the chain's.
    #[error(
        "the ledger is of another chain: its block {number} is not the one that was ordered; move the data directory away"
    )]
    OtherChain {
        /// The ledger's last block.
        number: u64,
    },
    /// The ledger is too far behind.
    #[error(
        "the ledger ends {blocks} blocks before the chain, which is more than can be pulled; copy another orderer's ledger"
    )]
    Behind {
        /// How far.
        blocks: u64,
    },
}

/// What a peer sent is not what was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PullError {
    /// Too few or too many.
    #[error("it sent {found} of {expected} headers")]
    Count {
        /// What was asked for.
        expected: u64,
        /// What came.
        found: u64,
    },
    /// They do not follow from what is there.
    #[error(transparent)]
    Chain(#[from] ChainError),
    /// They do not lead to the hash that raft gave.
    #[error("its headers lead to {found} and not to {expected}")]
    Goal {
        /// From raft.
        expected: Hash,
        /// From the peer.
        found: Hash,
    },
    /// A block is not the one that its header promised.
    #[error("its block {number} is another one than its headers said")]
    Block {
        /// Which.
        number: u64,
    },
}

/// What becomes of a committed block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// The ledger has it.
    Skip,
    /// It comes right after the ledger's last one.
    Append,
    /// There are others in between.
    Later,
    /// The ledger is of another chain.
    Conflict,
}

/// What becomes of a committed block, given where the ledger ends. Numbers and places in raft's log must grow alike: the ledger was
/// written from the same log.
pub fn fate(ledger: Option<Tip>, kept: &Kept) -> Fate {
    let (number, header) = (kept.block.header.number, &kept.block.header);
    let Some(tip) = ledger else {
        return if number == 0 { Fate::Append } else { Fate::Later };
    };
    let last = tip.header.number;
    if (number <= last) != (kept.index <= tip.index) || (number == last && *header != tip.header) {
        return Fate::Conflict;
    }
    if number <= last {
        Fate::Skip
    } else if number > last + 1 {
        Fate::Later
    } else if check_link(Some(&tip.header), header).is_ok() {
        Fate::Append
    } else {
        Fate::Conflict
    }
}

/// Checks that headers lead from the ledger's last block to a hash that is known; gives their hashes.
///
/// # Errors
/// How they do not.
pub fn check_headers(
    ledger: Option<&Header>,
    headers: &[Header],
    expected: u64,
    goal: Hash,
) -> Result<Vec<Hash>, PullError> {
    if headers.len() as u64 != expected {
        return Err(PullError::Count { expected, found: headers.len() as u64 });
    }
    let mut last = ledger;
    let mut hashes = Vec::with_capacity(headers.len());
    for header in headers {
        check_link(last, header)?;
        hashes.push(header.hash());
        last = Some(header);
    }
    match hashes.last() {
        Some(found) if *found != goal => Err(PullError::Goal { expected: goal, found: *found }),
        _ => Ok(hashes),
    }
}

/// See the module.
#[derive(Debug)]
pub struct Keeper {
    /// Where the ledger ends.
    ledger: Option<Tip>,
    /// Where the chain ends, as raft has it.
    chain: Option<Tip>,
    /// Committed blocks that follow one another.
    queue: VecDeque<Kept>,
    queue_bytes: usize,
    /// Hashes of the blocks after the ledger's last one, checked.
    expected: VecDeque<Hash>,
    /// Blocks from a peer, checked, the first of them right after the ledger's last one.
    pulled: Vec<Kept>,
}

impl Keeper {
    /// Over a ledger that ends here.
    pub fn new(ledger: Option<Tip>) -> Self {
        Keeper {
            ledger,
            chain: None,
            queue: VecDeque::new(),
            queue_bytes: 0,
            expected: VecDeque::new(),
            pulled: Vec::new(),
        }
    }

    /// Where the ledger ends.
    pub fn ledger(&self) -> Option<Tip> {
        self.ledger
    }

    /// Whether the ledger holds the whole chain, as far as raft has told it here.
    pub fn is_complete(&self) -> bool {
        Tip::next_number(self.ledger) >= Tip::next_number(self.chain)
    }

    /// A block was committed.
    ///
    /// # Errors
    /// When the ledger is of another chain.
    pub fn applied(&mut self, kept: Kept) -> Result<(), KeeperError> {
        self.chain = Some(kept.tip());
        match fate(self.ledger, &kept) {
            Fate::Conflict => return Err(self.other_chain()),
            Fate::Skip => return Ok(()),
            Fate::Append | Fate::Later => {}
        }
        let bytes = kept.block.data_bytes();
        let takes = match self.queue.back() {
            None => true,
            Some(last) => {
                last.block.header.number + 1 == kept.block.header.number
                    && self.queue_bytes + bytes <= QUEUE_BYTES_MAX
            }
        };
        if takes {
            self.queue_bytes += bytes;
            self.queue.push_back(kept);
        }
        Ok(())
    }

    /// The replicated state was replaced by a snapshot's, which ends here.
    ///
    /// # Errors
    /// When the ledger is of another chain.
    pub fn restored(&mut self, chain: Option<Tip>) -> Result<(), KeeperError> {
        self.chain = chain;
        match (self.ledger, chain) {
            (Some(ledger), Some(chain))
                if ledger.header.number == chain.header.number && ledger != chain =>
            {
                Err(self.other_chain())
            }
            _ => Ok(()),
        }
    }

    fn other_chain(&self) -> KeeperError {
        KeeperError::OtherChain { number: self.ledger.map_or(0, |tip| tip.header.number) }
    }

    /// What the ledger must reach before what waits can be written: a block's number and hash.
    fn goal(&self) -> Option<(u64, Hash)> {
        match self.queue.front() {
            Some(first) => {
                let header = &first.block.header;
                Some((header.number.checked_sub(1)?, header.previous))
            }
            None => self.chain.map(|tip| (tip.header.number, tip.header.hash())),
        }
    }

    /// What to do next.
    ///
    /// # Errors
    /// When the ledger cannot be brought up to the chain.
    pub fn work(&mut self) -> Result<Option<Work>, KeeperError> {
        if !self.pulled.is_empty() {
            return Ok(Some(Work::Write(self.pulled.clone())));
        }
        let next = Tip::next_number(self.ledger);
        if let Some(first) = self.queue.front() {
            match fate(self.ledger, first) {
                Fate::Append => return Ok(Some(Work::Write(self.first_of_queue()))),
                Fate::Later => {}
                Fate::Skip | Fate::Conflict => return Err(self.other_chain()),
            }
        }
        let Some((through, hash)) = self.goal() else { return Ok(None) };
        if through < next {
            let ours = self.ledger.filter(|tip| tip.header.number == through);
            let same = ours.is_none_or(|tip| tip.header.hash() == hash);
            return if same { Ok(None) } else { Err(self.other_chain()) };
        }
        if !self.expected.is_empty() {
            let through = next + self.expected.len() as u64 - 1;
            return Ok(Some(Work::Blocks { from: next, through }));
        }
        let blocks = through - next + 1;
        if blocks > GAP_BLOCKS_MAX {
            return Err(KeeperError::Behind { blocks });
        }
        Ok(Some(Work::Headers { from: next, through }))
    }

    fn first_of_queue(&self) -> Vec<Kept> {
        let mut bytes = 0;
        let fits = |kept: &&Kept| {
            let first = bytes == 0;
            bytes += kept.block.data_bytes().max(1);
            first || bytes <= WRITE_BYTES_MAX
        };
        self.queue.iter().take_while(fits).cloned().collect()
    }

    /// A peer sent headers, which were asked for.
    ///
    /// # Errors
    /// When they do not lead to the chain; another peer may be asked.
    pub fn headers(&mut self, headers: &[Header]) -> Result<(), PullError> {
        let Some((through, hash)) = self.goal() else { return Ok(()) };
        let expected = (through + 1).saturating_sub(Tip::next_number(self.ledger));
        let ledger = self.ledger.map(|tip| tip.header);
        self.expected = check_headers(ledger.as_ref(), headers, expected, hash)?.into();
        Ok(())
    }

    /// A peer sent blocks, the first of those that were asked for.
    ///
    /// # Errors
    /// When one is not what its header said; those before it are kept.
    pub fn pulled(&mut self, blocks: Vec<Kept>) -> Result<(), PullError> {
        for kept in blocks {
            let header = &kept.block.header;
            let number = header.number;
            if self.expected.get(self.pulled.len()) != Some(&header.hash()) {
                return Err(PullError::Block { number });
            }
            kept.block.check_data()?;
            self.pulled.push(kept);
        }
        Ok(())
    }

    /// The ledger is durable up to here.
    pub fn wrote(&mut self, ledger: Tip) {
        self.ledger = Some(ledger);
        let number = ledger.header.number;
        for kept in std::mem::take(&mut self.pulled) {
            if kept.block.header.number <= number {
                self.expected.pop_front();
            } else {
                self.pulled.push(kept);
            }
        }
        while self.queue.front().is_some_and(|kept| kept.block.header.number <= number) {
            if let Some(kept) = self.queue.pop_front() {
                self.queue_bytes -= kept.block.data_bytes();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::chain::{Block, Kind};
    use bytes::Bytes;

    /// A chain of blocks, each from the log entry ten times its number.
    fn chain(blocks: u64, salt: &str) -> Vec<Kept> {
        let mut previous = Hash::default();
        (0..blocks)
            .map(|number| {
                let item = Bytes::from(format!("{salt}{number}"));
                let items = vec![(item.clone(), Hash::of(&item))];
                let block = Block::next(number, previous, Kind::Envelopes, items);
                previous = block.header.hash();
                Kept { block, index: number * 10 + 3, term: 1 }
            })
            .collect()
    }

    fn headers(blocks: &[Kept]) -> Vec<Header> {
        blocks.iter().map(|kept| kept.block.header).collect()
    }

    #[test]
    fn a_committed_block_is_written_once() {
        let ours = chain(5, "a");
        let other = chain(5, "b");
        let tip = Some(ours[2].tip());
        let moved = Kept { index: 999, ..ours[1].clone() };
        let early = Kept { index: 2, ..ours[3].clone() };
        for (what, ledger, block, expected) in [
            ("the first block", None, &ours[0], Fate::Append),
            ("a block after a snapshot, into an empty ledger", None, &ours[3], Fate::Later),
            ("a block that is there", tip, &ours[1], Fate::Skip),
            ("the last one that is there", tip, &ours[2], Fate::Skip),
            ("the next one", tip, &ours[3], Fate::Append),
            ("one after a gap", tip, &ours[4], Fate::Later),
            ("another chain's last one", tip, &other[2], Fate::Conflict),
            ("another chain's next one", tip, &other[3], Fate::Conflict),
            ("one that is there, from a later entry", tip, &moved, Fate::Conflict),
            ("the next one, from an entry that is there", tip, &early, Fate::Conflict),
        ] {
            assert_eq!(fate(ledger, block), expected, "{what}");
        }
    }

    #[test]
    fn headers_are_believed_only_when_they_lead_to_what_raft_gave() {
        let ours = headers(&chain(6, "a"));
        let other = headers(&chain(6, "b"));
        let goal = ours[5].hash();
        let mixed = [ours[2], ours[3], other[4], ours[5]];
        for (what, from, sent, good) in [
            ("all of them", Some(&ours[1]), &ours[2..], true),
            ("from the beginning", None, &ours[..], true),
            ("too few", Some(&ours[1]), &ours[2..5], false),
            ("too many", Some(&ours[1]), &ours[1..], false),
            ("of another chain", Some(&ours[1]), &other[2..], false),
            ("another chain from the beginning", None, &other[..], false),
            ("one of another chain", Some(&ours[1]), &mixed[..], false),
        ] {
            let expected = 5 - from.map_or(0, |header| header.number + 1) + 1;
            let found = check_headers(from, sent, expected, goal);
            assert_eq!(found.is_ok(), good, "{what}: {found:?}");
        }
    }

    /// Does everything that the keeper asks for, with the help of a peer that has `blocks`; gives what was written.
    fn keep(keeper: &mut Keeper, blocks: &[Kept]) -> Vec<u64> {
        let mut written = Vec::new();
        while let Some(work) = keeper.work().unwrap() {
            match work {
                Work::Write(batch) => {
                    written.extend(batch.iter().map(|kept| kept.block.header.number));
                    keeper.wrote(batch.last().unwrap().tip());
                }
                Work::Headers { from, through } => {
                    let asked = &blocks[from as usize..=through as usize];
                    keeper.headers(&headers(asked)).unwrap();
                }
                Work::Blocks { from, through } => {
                    // A peer sends as many as it likes.
                    let last = through.min(from + 1) as usize;
                    keeper.pulled(blocks[from as usize..=last].to_vec()).unwrap();
                }
            }
        }
        written
    }

    #[test]
    fn a_replay_writes_only_what_the_ledger_lacks() {
        let chain = chain(6, "a");
        let mut keeper = Keeper::new(Some(chain[3].tip()));
        keeper.restored(Some(chain[1].tip())).unwrap();
        for kept in &chain[2..] {
            keeper.applied(kept.clone()).unwrap();
        }
        assert_eq!(keep(&mut keeper, &[]), [4, 5]);
        assert!(keeper.is_complete());
    }

    #[test]
    fn an_orderer_that_is_behind_pulls_what_a_snapshot_left_out() {
        let chain = chain(12, "a");
        for (what, ledger, snapshot) in [("some blocks", Some(2), 8), ("everything", None, 8)] {
            let mut keeper = Keeper::new(ledger.map(|at: usize| chain[at].tip()));
            keeper.restored(Some(chain[snapshot].tip())).unwrap();
            for kept in &chain[snapshot + 1..] {
                keeper.applied(kept.clone()).unwrap();
            }
            assert!(!keeper.is_complete(), "{what}");
            let first = ledger.map_or(0, |at| at as u64 + 1);
            assert_eq!(keep(&mut keeper, &chain), (first..12).collect::<Vec<_>>(), "{what}");
            assert!(keeper.is_complete(), "{what}");
        }
    }

    #[test]
    fn a_ledger_of_another_chain_is_found_out() {
        let (ours, other) = (chain(6, "a"), chain(6, "b"));
        let refused = Err(KeeperError::OtherChain { number: 3 });
        let keeper = || Keeper::new(Some(other[3].tip()));
        assert_eq!(keeper().restored(Some(ours[3].tip())), refused, "by a snapshot");
        assert_eq!(keeper().applied(ours[3].clone()), refused, "by an entry");
        assert_eq!(keeper().applied(ours[4].clone()), refused, "by the next one");
        let mut behind = keeper();
        behind.restored(Some(ours[5].tip())).unwrap();
        assert!(behind.headers(&headers(&ours[4..])).is_err(), "by what a peer sends");
    }

    #[test]
    fn a_peer_that_sends_another_block_is_not_believed() {
        let (ours, other) = (chain(6, "a"), chain(6, "b"));
        let mut keeper = Keeper::new(Some(ours[1].tip()));
        keeper.restored(Some(ours[5].tip())).unwrap();
        keeper.headers(&headers(&ours[2..])).unwrap();
        let mut forged = ours[3].clone();
        forged.block.data = other[3].block.data.clone();
        let sent = vec![ours[2].clone(), forged];
        assert_eq!(keeper.pulled(sent), Err(ChainError::Data { number: 3 }.into()));
        assert_eq!(keeper.pulled(vec![other[3].clone()]), Err(PullError::Block { number: 3 }));
        assert_eq!(keep(&mut keeper, &ours), [2, 3, 4, 5], "what was good is kept");
    }

    #[test]
    fn what_is_too_much_to_hold_is_pulled_later() {
        let chain = chain(10, "a");
        let mut keeper = Keeper::new(None);
        keeper.queue_bytes = QUEUE_BYTES_MAX - 3;
        for kept in &chain {
            keeper.applied(kept.clone()).unwrap();
        }
        assert_eq!(keeper.queue.len(), 1, "a block has two bytes");
        keeper.queue_bytes = 2;
        assert_eq!(keep(&mut keeper, &chain), (0..10).collect::<Vec<_>>());
    }
}
