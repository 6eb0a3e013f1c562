//! Ledgers on a file in memory: cut at every byte, and with every byte changed.

use parking_lot::Mutex;

use super::*;
use crate::core::chain::{Block, Hash, Kind};

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Storage for Memory {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let bytes = self.0.lock();
        let start = offset as usize;
        let found = bytes.get(start..start + buffer.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        buffer.copy_from_slice(found);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut file = self.0.lock();
        let end = offset as usize + bytes.len();
        if file.len() < end {
            file.resize(end, 0);
        }
        file[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().truncate(bytes as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Ok(())
    }
}

fn chain(blocks: u64) -> Vec<Kept> {
    let mut previous = Hash::default();
    let block = |number| {
        let item = Bytes::from(format!("envelope {number}"));
        let items = vec![(item.clone(), Hash::of(&item))];
        let block = Block::next(number, previous, Kind::Envelopes, items);
        previous = block.header.hash();
        Kept { block, index: number + 2, term: 1 }
    };
    (0..blocks).map(block).collect()
}

fn open(memory: &Memory) -> Result<Ledger, LedgerError> {
    Ledger::open(Arc::new(memory.clone()))
}

/// A file of three writes, of two blocks each; gives where each block and the file ends.
fn three_writes(chain: &[Kept]) -> (Memory, Vec<usize>) {
    let memory = Memory::default();
    let mut ledger = open(&memory).unwrap();
    for blocks in chain.chunks(2) {
        ledger.append(blocks).unwrap();
    }
    let offsets = ledger.reader.offsets.read().clone();
    let mut offsets: Vec<_> = offsets.into_iter().map(|offset| offset as usize).collect();
    offsets.push(memory.0.lock().len());
    (memory, offsets)
}

#[test]
fn what_was_appended_is_there_after_a_restart() {
    let chain = chain(6);
    let (memory, _) = three_writes(&chain);
    let ledger = open(&memory).unwrap();
    assert_eq!(ledger.tip(), Some(chain[5].tip()));
    let reader = ledger.reader();
    assert_eq!(reader.height(), 6);
    for kept in &chain {
        let number = kept.block.header.number;
        assert_eq!(reader.block(number).unwrap(), *kept);
        assert_eq!(reader.header(number).unwrap(), kept.block.header);
    }
    assert!(matches!(reader.block(6), Err(LedgerError::Missing { number: 6 })));
}

#[test]
fn only_the_next_block_is_taken() {
    let chain = chain(4);
    let memory = Memory::default();
    let mut ledger = open(&memory).unwrap();
    ledger.append(&chain[..2]).unwrap();
    for blocks in [&chain[1..2], &chain[3..4], &chain[..1]] {
        assert!(matches!(ledger.append(blocks), Err(LedgerError::Chain(_))));
    }
    ledger.append(&chain[2..]).unwrap();
    assert_eq!(open(&memory).unwrap().reader().height(), 4);
}

#[test]
fn a_file_that_was_cut_anywhere_keeps_the_blocks_before_the_cut_and_goes_on() {
    let chain = chain(6);
    let (memory, ends) = three_writes(&chain);
    let whole = memory.0.lock().clone();
    for cut in 0..whole.len() {
        let memory = Memory(Arc::new(Mutex::new(whole[..cut].to_vec())));
        let mut ledger = open(&memory).unwrap();
        let blocks = ends[1..].iter().filter(|end| **end <= cut).count();
        assert_eq!(ledger.reader().height(), blocks as u64, "cut at {cut}");
        ledger.append(&chain[blocks..]).unwrap();
        assert_eq!(open(&memory).unwrap().tip(), Some(chain[5].tip()), "cut at {cut}");
    }
}

#[test]
fn what_is_torn_out_of_the_last_write_is_cut_and_what_is_torn_out_of_others_is_damage() {
    let chain = chain(6);
    let (memory, ends) = three_writes(&chain);
    let whole = memory.0.lock().clone();
    // A crash keeps what was synced, and of the rest any sectors: here of 64 bytes.
    for start in (0..whole.len()).step_by(64) {
        let mut bytes = whole.clone();
        let end = (start + 64).min(bytes.len());
        bytes[start..end].fill(0);
        let opened = open(&Memory(Arc::new(Mutex::new(bytes))));
        let block = ends.iter().filter(|end| **end <= start).count().saturating_sub(1);
        match opened {
            Ok(ledger) => {
                let height = ledger.reader().height() as usize;
                let noticed_later = (0..height as u64).find(|n| ledger.reader().block(*n).is_err());
                assert!(
                    (block >= 4 && height == block) || noticed_later == Some(block as u64),
                    "zeros at {start}: {height} blocks"
                );
            }
            Err(LedgerError::Unusable(ScanError::Damaged { number, .. })) => {
                assert!(block < 4 && number as usize <= block + 1, "zeros at {start}: {number}");
            }
            Err(LedgerError::Unusable(ScanError::NoLedger)) => assert_eq!(start, 0),
            Err(other) => panic!("zeros at {start}: {other}"),
        }
    }
}

#[test]
fn no_byte_can_rot_unnoticed() {
    let chain = chain(6);
    let (memory, _) = three_writes(&chain);
    let whole = memory.0.lock().clone();
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x20;
        let Ok(ledger) = open(&Memory(Arc::new(Mutex::new(bytes)))) else { continue };
        let reader = ledger.reader();
        let read: Result<Vec<_>, _> = (0..reader.height()).map(|n| reader.block(n)).collect();
        match read {
            Ok(blocks) => {
                assert!(blocks.len() < 6, "byte {at}");
                assert_eq!(blocks, chain[..blocks.len()], "byte {at}");
            }
            Err(error) => assert!(matches!(error, LedgerError::Damaged { .. }), "byte {at}"),
        }
    }
}

#[test]
fn a_file_of_something_else_is_left_alone() {
    let memory = Memory(Arc::new(Mutex::new(b"#!/bin/sh\necho hello world\n".to_vec())));
    assert!(matches!(open(&memory), Err(LedgerError::Unusable(ScanError::NoLedger))));
    assert!(memory.0.lock().starts_with(b"#!/bin/sh"));
}
