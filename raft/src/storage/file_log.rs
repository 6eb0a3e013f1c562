//! The [`LogStore`] that managers use: one file for the log, files for snapshots, one folder.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::{
    Batch, Entry, HardState, Identity, KeyId, Keyring, LogStore, Recovered, Sizes, Snapshot,
    SnapshotContents, SnapshotMeta, SnapshotStage, StageError, StagedSnapshot, StorageError,
};

use super::contents::{Contents, check_batch};
use super::disk::Disk;
use super::journal::Journal;
use super::layout::{self, Found, LOG_NAME, REJOIN, WITNESS_NAME, io_error, snapshot_name};
use super::records::{FrameRecord, SnapshotRecord, StateRecord};
use super::replay::{Replayed, replay};
use super::seal::Sealer;
use super::snapshot_file;
use super::witness::Witness;

/// What may be chosen about a log.
#[derive(Clone, Copy, Debug)]
pub struct FileLogConfig {
    /// Snapshots kept besides the newest, for as long as the log reaches back to them. An older one stands in for the
    /// newest should that have rotted.
    pub older_snapshots_max: usize,
    /// What the log's file may hold besides the entries of the log, in bytes, before it is written anew. Compactions clear
    /// it away; this bounds what gathers without any, as the votes of a member that cannot reach its group do.
    pub garbage_bytes_max: u64,
}

impl Default for FileLogConfig {
    fn default() -> Self {
        Self { older_snapshots_max: 1, garbage_bytes_max: 32 << 20 }
    }
}

/// The log of one member in one folder. Blocks on the disk; belongs on a thread of its own.
///
/// After an error that is final every further call is refused as [`StorageError::Misuse`].
pub struct FileLog {
    disk: Arc<dyn Disk>,
    config: FileLogConfig,
    sealer: Arc<Sealer>,
    stage: Arc<Stage>,
    open: Option<Open>,
    /// The first final error, in words.
    failed: Option<String>,
}

/// Where this member's snapshots are written while the log goes on.
struct Stage {
    disk: Arc<dyn Disk>,
    /// The log's, and changed with it.
    sealer: Mutex<Arc<Sealer>>,
    /// What the disk failed with, in words: the log writes nothing more either.
    failed: Mutex<Option<String>>,
}

impl SnapshotStage for Stage {
    fn stage(
        &self,
        meta: SnapshotMeta,
        contents: SnapshotContents,
    ) -> Result<StagedSnapshot, StageError> {
        let sealer = self.sealer.lock().clone();
        let staged = snapshot_file::stage(&*self.disk, &sealer, meta, contents);
        if let Err(StageError::Storage(error)) = &staged {
            self.failed.lock().get_or_insert(error.to_string());
        }
        staged
    }
}

/// What there is once the folder was loaded or made.
struct Open {
    journal: Journal,
    witness: Witness,
    contents: Contents,
}

impl FileLog {
    /// A log in this folder. Nothing is read or written before [`LogStore::load`] or [`LogStore::create`].
    pub fn new(disk: Arc<dyn Disk>, keys: &Keyring, config: FileLogConfig) -> Self {
        let sealer = Arc::new(Sealer::new(keys));
        let stage = Stage {
            disk: disk.clone(),
            sealer: Mutex::new(sealer.clone()),
            failed: Mutex::default(),
        };
        Self { disk, config, sealer, stage: Arc::new(stage), open: None, failed: None }
    }

    /// Runs one call: refuses it after a final error, and remembers one.
    fn call<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        let failed = self.stage.failed.lock().clone();
        if let Some(first) = self.failed.as_ref().or(failed.as_ref()) {
            return Err(StorageError::Misuse(format!("called again after it failed: {first}")));
        }
        let outcome = work(self);
        if let Err(error) = &outcome
            && !matches!(error, StorageError::Misuse(_))
        {
            self.failed = Some(error.to_string());
            self.open = None;
        }
        outcome
    }

    fn opened(&mut self) -> Result<&mut Open, StorageError> {
        self.open
            .as_mut()
            .ok_or_else(|| StorageError::Misuse("used before it was loaded or created".to_owned()))
    }

    /// Makes a batch durable, then notes it.
    fn commit(&mut self, state: StateRecord, entries: &[Entry]) -> Result<(), StorageError> {
        let record = FrameRecord::batch(state, entries);
        let open = self.open.as_mut().expect("every caller has looked that it is open");
        open.journal.append(&self.sealer, &record)?;
        note(&*self.disk, &self.sealer, &open.witness, open.journal.number())?;
        open.contents
            .apply(record.state, entries.iter().cloned())
            .expect("every caller has looked that the batch goes on from what is there");
        let garbage_bytes = open.journal.used_bytes().saturating_sub(open.contents.bytes());
        if garbage_bytes > self.config.garbage_bytes_max {
            self.renew()?;
        }
        Ok(())
    }

    /// Puts a fresh file in the place of the log's.
    fn renew(&mut self) -> Result<(), StorageError> {
        match self.open.take() {
            Some(Open { journal, witness, contents }) => {
                self.replace(contents, journal.number() + 1, witness)
            }
            None => Ok(()),
        }
    }

    /// Puts a file that holds just this in the place of the log's, and goes on with it. Its first batch is number
    /// `first`.
    fn replace(
        &mut self,
        contents: Contents,
        first: u64,
        witness: Witness,
    ) -> Result<(), StorageError> {
        let journal = Journal::write_aside(&*self.disk, &self.sealer, &contents, first)?;
        layout::finish(&*self.disk)?;
        note(&*self.disk, &self.sealer, &witness, journal.number())?;
        self.open = Some(Open { journal, witness, contents });
        Ok(())
    }

    /// Removes the files of snapshots that are no longer listed. They are unlisted already, so a crash in between
    /// leaves only work for the next start.
    fn remove_files(&self, unlisted: &[SnapshotRecord]) -> Result<(), StorageError> {
        for record in unlisted {
            let name = snapshot_name(record.index, record.term);
            match self.disk.remove(&name) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io_error(format!("remove {}", self.disk.describe(&name)))(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The file is written anew, because what is read at a start may be on the disk or in the system's cache alone: after
    /// a sync that failed, the cache goes on showing the data, and takes it for written. Had the process before this one
    /// stopped over such a failure, this one would believe what it reads, and lose it with the next power cut.
    fn load_folder(&mut self) -> Result<Option<Recovered>, StorageError> {
        if layout::inspect(&*self.disk)? == Found::Nothing {
            return Ok(None);
        }
        let path = self.disk.describe(LOG_NAME);
        let file = self.disk.open(LOG_NAME).map_err(io_error(format!("open {path}")))?;
        let witness = self.witness()?;
        let witnessed = witness.read(&self.sealer);
        let Replayed { contents, number } = replay(&*file, &path, &self.sealer, witnessed)?;
        drop(file);
        let recovered = Recovered {
            identity: contents.identity().clone(),
            hard_state: contents.state().hard_state(),
            snapshot: self.newest_usable(contents.state())?,
            entries: contents.entries().iter().cloned().collect(),
        };
        let snapshots = contents.state().snapshots.iter();
        let listed: Vec<_> = snapshots.map(|s| snapshot_name(s.index, s.term)).collect();
        layout::clear_aside(&*self.disk)?;
        self.replace(contents, number + 1, witness)?;
        layout::tidy(&*self.disk, &listed)?;
        Ok(Some(recovered))
    }

    fn witness(&self) -> Result<Witness, StorageError> {
        Witness::open(&*self.disk)
            .map_err(io_error(format!("open {}", self.disk.describe(WITNESS_NAME))))
    }

    /// The newest snapshot, or, when it is damaged, an older one from which the log still goes on.
    fn newest_usable(&self, state: &StateRecord) -> Result<Option<Snapshot>, StorageError> {
        let mut first_error = None;
        for record in state.snapshots.iter().rev().filter(|s| s.index >= state.compacted) {
            match snapshot_file::read(&*self.disk, &self.sealer, record) {
                Ok(snapshot) => {
                    if let Some(error) = first_error {
                        tracing::warn!(
                            index = snapshot.meta.index,
                            "{error}. Going on from the older snapshot and the log"
                        );
                    }
                    return Ok(Some(snapshot));
                }
                Err(error) => {
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            // With the log reaching back to the first entry no snapshot is needed at all.
            Some(error) if state.compacted > 0 => Err(error),
            Some(error) => {
                tracing::warn!("{error}. Going on from the log, which is whole");
                Ok(None)
            }
            None if state.compacted > 0 => Err(StorageError::Damaged {
                what: self.disk.describe(LOG_NAME),
                detail: format!(
                    "it begins after entry {} and lists no snapshot; {REJOIN}",
                    state.compacted
                ),
            }),
            None => Ok(None),
        }
    }

    fn create_folder(&mut self, identity: &Identity) -> Result<(), StorageError> {
        if self.open.is_some() || layout::inspect(&*self.disk)? == Found::Whole {
            return Err(StorageError::Misuse(format!(
                "{} holds a log already",
                self.disk.describe("")
            )));
        }
        layout::tidy(&*self.disk, &[])?;
        let witness = self.witness()?;
        let contents = Contents::new(identity.clone());
        let journal = Journal::write_aside(&*self.disk, &self.sealer, &contents, 1)?;
        let folder = self.disk.describe("");
        self.disk.sync_dir().map_err(io_error(format!("sync {folder}")))?;
        layout::write_version(&*self.disk)?;
        layout::finish(&*self.disk)?;
        note(&*self.disk, &self.sealer, &witness, journal.number())?;
        self.open = Some(Open { journal, witness, contents });
        Ok(())
    }

    fn append_batch(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let mut state = self.opened()?.contents.state().clone();
        check_batch(&state, batch)?;
        let mut unlisted = Vec::new();
        if let Some(snapshot) = &batch.snapshot {
            let record = snapshot_file::write(&*self.disk, &self.sealer, snapshot)?;
            unlisted = std::mem::replace(&mut state.snapshots, vec![record]);
            unlisted.retain(|old| (old.index, old.term) != (record.index, record.term));
            state.compacted = record.index;
            state.last = record.index;
            state.commit = state.commit.max(record.index);
            state.term = state.term.max(record.term);
        }
        if let Some(hard_state) = &batch.hard_state {
            let commit = state.commit.max(hard_state.commit);
            state.set_hard_state(&HardState { commit, ..*hard_state });
        }
        if let Some(last) = batch.entries.last() {
            state.last = last.index;
        }
        self.commit(state, &batch.entries)?;
        self.remove_files(&unlisted)
    }

    fn keep_snapshot(&mut self, staged: &StagedSnapshot) -> Result<bool, StorageError> {
        let kept_max = self.config.older_snapshots_max + 1;
        let current = self.sealer.current();
        let mut state = self.opened()?.contents.state().clone();
        let index = staged.meta.index;
        let is_old = state.snapshots.last().is_some_and(|newest| newest.index >= index);
        // A key that is not the current one may be thrown away as soon as nothing that is listed needs it.
        if is_old || staged.key != current {
            snapshot_file::remove_staged(&*self.disk, staged)?;
            return Ok(false);
        }
        if index > state.last || index <= state.compacted {
            return Err(StorageError::Misuse(format!(
                "a snapshot at {index} does not lie on the log, which goes from {} to {}",
                state.compacted + 1,
                state.last
            )));
        }
        let record = snapshot_file::name_staged(&*self.disk, staged)?;
        state.snapshots.push(record);
        let surplus = state.snapshots.len().saturating_sub(kept_max);
        let mut unlisted: Vec<_> = state.snapshots.drain(..surplus).collect();
        // An older snapshot is not worth keeping an older key for.
        unlisted.extend(state.snapshots.extract_if(.., |s| s.key != current.0));
        self.commit(state, &[])?;
        self.remove_files(&unlisted)?;
        Ok(true)
    }

    fn compact_log(&mut self, through: u64) -> Result<(), StorageError> {
        let current = self.sealer.current();
        let open = self.opened()?;
        let mut state = open.contents.state().clone();
        let newest = state.snapshots.last().map_or(0, |newest| newest.index);
        if through > newest.min(state.last) {
            return Err(StorageError::Misuse(format!(
                "asked to drop the log through {through} while the newest snapshot is at {newest}"
            )));
        }
        if through <= state.compacted && open.journal.keys().iter().all(|key| *key == current) {
            return Ok(());
        }
        state.compacted = state.compacted.max(through);
        let compacted = state.compacted;
        let unlisted: Vec<_> = state.snapshots.extract_if(.., |s| s.index < compacted).collect();
        open.contents
            .apply(state, std::iter::empty())
            .expect("the newest snapshot lies on the log, and nothing beyond it is dropped");
        self.renew()?;
        self.remove_files(&unlisted)
    }
}

/// Notes a batch that is durable.
fn note(
    disk: &dyn Disk,
    sealer: &Sealer,
    witness: &Witness,
    batch: u64,
) -> Result<(), StorageError> {
    witness
        .write(sealer, batch)
        .map_err(|error| io_error(format!("write {}", disk.describe(WITNESS_NAME)))(error))
}

impl LogStore for FileLog {
    fn load(&mut self) -> Result<Option<Recovered>, StorageError> {
        self.call(Self::load_folder)
    }

    fn create(&mut self, identity: &Identity) -> Result<(), StorageError> {
        self.call(|log| log.create_folder(identity))
    }

    fn append(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.call(|log| log.append_batch(batch))
    }

    fn snapshot_stage(&self) -> Arc<dyn SnapshotStage> {
        self.stage.clone()
    }

    fn save_snapshot(&mut self, staged: StagedSnapshot) -> Result<bool, StorageError> {
        self.call(|log| log.keep_snapshot(&staged))
    }

    fn read_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let (disk, sealer) = (&*self.disk, &self.sealer);
        let newest = self.open.as_ref().and_then(|open| open.contents.state().snapshots.last());
        newest.map(|record| snapshot_file::read(disk, sealer, record)).transpose()
    }

    fn compact(&mut self, through: u64) -> Result<(), StorageError> {
        self.call(|log| log.compact_log(through))
    }

    fn rotate(&mut self, keys: Keyring) -> Result<(), StorageError> {
        let sealer = Sealer::new(&keys);
        let lacking = self.keys_in_use().into_iter().find(|key| !sealer.holds(*key));
        if let Some(key) = lacking {
            let what = self.disk.describe("");
            return Err(StorageError::UnknownKey { what, key });
        }
        self.call(|log| {
            log.sealer = Arc::new(sealer);
            *log.stage.sealer.lock() = log.sealer.clone();
            Ok(())
        })
    }

    fn keys_in_use(&self) -> BTreeSet<KeyId> {
        let mut keys = BTreeSet::new();
        if let Some(open) = &self.open {
            keys.insert(self.sealer.current());
            keys.extend(open.journal.keys());
            let snapshots = &open.contents.state().snapshots;
            keys.extend(snapshots.iter().map(|snapshot| KeyId(snapshot.key)));
        }
        keys
    }

    fn sizes(&self) -> Sizes {
        let Some(open) = &self.open else { return Sizes::default() };
        Sizes {
            log_bytes: open.journal.file_bytes(),
            snapshot_bytes: open
                .contents
                .state()
                .snapshots
                .last()
                .map_or(0, |newest| newest.file_bytes),
        }
    }
}
