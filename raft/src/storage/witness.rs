//! The witness: how the loss of the last acknowledged batch is told from a batch that was never acknowledged.
//!
//! A log that finds its last batch damaged after a crash goes on from the one before it, as it must: the damage may be
//! a batch that was torn and never acknowledged. But rot in the last batch looks just the same, and going back then
//! would forget an acknowledged entry or a vote without a word. So after each batch is durable its number is written
//! into a file of its own, before anybody is told of the batch. That write is not synced (it costs no second wait): after a power
//! cut the witness may be older than the log, which says nothing, but it is never newer, unless the log has lost something.
//!
//! A witness that cannot be read is no witness, and harmless: it only means that this one check cannot be made.

use super::disk::{Disk, DiskFile};
use super::layout::WITNESS_NAME;
use super::seal::{OVERHEAD_BYTES, Sealer, Slot};

/// Fixed width, within one sector, so that a write cannot tear it.
const RECORD_BYTES: usize = 8 + OVERHEAD_BYTES;

/// The file, open for writing.
#[derive(Debug)]
pub struct Witness(Box<dyn DiskFile>);

impl Witness {
    /// Opens the file, creating it when it is not there.
    pub fn open(disk: &dyn Disk) -> std::io::Result<Self> {
        match disk.open(WITNESS_NAME) {
            Ok(file) => Ok(Self(file)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                disk.create(WITNESS_NAME).map(Self)
            }
            Err(error) => Err(error),
        }
    }

    /// The last batch known to have been acknowledged; `None` when the file says nothing.
    pub fn read(&self, sealer: &Sealer) -> Option<u64> {
        let mut sealed = [0; RECORD_BYTES];
        self.0.read_at(0, &mut sealed).ok()?;
        let (record, _) = sealer.open(Slot::Witness, &sealed).ok()?;
        Some(u64::from_le_bytes(record.try_into().ok()?))
    }

    /// Notes a durable batch.
    pub fn write(&self, sealer: &Sealer, batch: u64) -> std::io::Result<()> {
        let sealed = sealer.seal(Slot::Witness, batch.to_le_bytes().to_vec());
        self.0.write_at(0, &sealed)
    }
}
