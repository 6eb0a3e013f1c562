//! A ledger's file on a machine that loses power: what was not synced may be gone, sector by sector.

use std::io;
use std::sync::Arc;

use parking_lot::Mutex;
use rand::Rng as _;
use rand::rngs::StdRng;
use skep_orderer::ledger::Storage;

const SECTOR_BYTES: usize = 64;

#[derive(Default)]
struct Contents {
    synced: Vec<u8>,
    written: Vec<u8>,
    /// Nothing is synced any more.
    out: bool,
}

/// A file. Clones are the same file.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Contents>>);

impl Disk {
    /// The power is about to go: what is written from now on is not synced.
    pub fn power_out(&self) {
        self.0.lock().out = true;
    }

    /// The power goes.
    pub fn crash(&self, rng: &mut StdRng) {
        let mut contents = self.0.lock();
        let Contents { synced, written, .. } = &mut *contents;
        let kept = rng.random_range(synced.len().min(written.len())..=written.len());
        let mut left = synced.clone();
        left.resize(kept, 0);
        let sectors = (synced.len().min(kept)..kept).step_by(SECTOR_BYTES);
        for start in sectors.filter(|_| rng.random_bool(0.7)).collect::<Vec<_>>() {
            let end = (start + SECTOR_BYTES).min(kept);
            left[start..end].copy_from_slice(&written[start..end]);
        }
        *contents = Contents { synced: left.clone(), written: left, out: false };
    }

    /// The file is gone.
    pub fn wipe(&self) {
        *self.0.lock() = Contents::default();
    }
}

impl Storage for Disk {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.0.lock().written.len() as u64)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let contents = self.0.lock();
        let start = offset as usize;
        let found = contents.written.get(start..start + buffer.len());
        buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut contents = self.0.lock();
        let end = offset as usize + bytes.len();
        if contents.written.len() < end {
            contents.written.resize(end, 0);
        }
        contents.written[offset as usize..end].copy_from_slice(bytes);
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.0.lock().written.truncate(bytes as usize);
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let mut contents = self.0.lock();
        if !contents.out {
            let Contents { synced, written, .. } = &mut *contents;
            synced.clone_from(written);
        }
        Ok(())
    }
}
