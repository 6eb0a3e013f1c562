//! The [`LogStore`] that managers use: redb for the log, files for snapshots, one folder.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use crate::{
    Batch, Entry, HardState, Identity, KeyId, Keyring, LogStore, Recovered, Sizes, Snapshot,
    StorageError,
};

use super::disk::{Disk, DiskFile};
use super::layout::{
    self, Found, LOG_ASIDE_NAME, LOG_NAME, REJOIN, WITNESS_NAME, io_error, snapshot_name,
};
use super::records::{SnapshotRecord, StateRecord};
use super::seal::Sealer;
use super::snapshot_file;
use super::tables::{Change, Tables};
use super::witness::Witness;

/// Entries sealed with an older key that one compaction seals again: about a megabyte, so that it is not felt.
const RESEAL_ENTRIES_MAX: usize = 1000;

/// What may be chosen about a log.
#[derive(Clone, Copy, Debug)]
pub struct RedbLogConfig {
    /// Snapshots kept besides the newest, for as long as the log reaches back to them. An older one stands in for the
    /// newest should that have rotted.
    pub older_snapshots_max: usize,
}

impl Default for RedbLogConfig {
    fn default() -> Self {
        Self { older_snapshots_max: 1 }
    }
}

/// The log of one member in one folder. Blocks on the disk; belongs on a thread of its own.
///
/// After an error that is final every further call is refused as [`StorageError::Misuse`].
pub struct RedbLog {
    disk: Arc<dyn Disk>,
    config: RedbLogConfig,
    sealer: Sealer,
    open: Option<Open>,
    /// The first final error, in words.
    failed: Option<String>,
}

/// What there is once the folder was loaded or made.
struct Open {
    tables: Tables,
    /// The log's file once more, to ask for its length.
    file: Box<dyn DiskFile>,
    witness: Witness,
    identity: Identity,
    state: StateRecord,
    /// For each entry of the log, in order, the key that sealed it.
    entry_keys: VecDeque<KeyId>,
}

impl RedbLog {
    /// A log in this folder. Nothing is read or written before [`LogStore::load`] or [`LogStore::create`].
    pub fn new(disk: Arc<dyn Disk>, keys: &Keyring, config: RedbLogConfig) -> Self {
        Self { disk, config, sealer: Sealer::new(keys), open: None, failed: None }
    }

    /// Runs one call: refuses it after a final error, and remembers one.
    fn call<R>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<R, StorageError>,
    ) -> Result<R, StorageError> {
        if let Some(first) = &self.failed {
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

    /// Makes the change and `state` durable, then notes the batch.
    fn commit(&mut self, change: &Change<'_>, mut state: StateRecord) -> Result<(), StorageError> {
        state.batch += 1;
        let path = self.disk.describe(WITNESS_NAME);
        let open = self.open.as_mut().expect("every caller has looked that it is open");
        open.tables.commit(&self.sealer, change, &state)?;
        open.witness.write(&self.sealer, state.batch).map_err(io_error(format!("write {path}")))?;
        open.state = state;
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

    fn load_folder(&mut self) -> Result<Option<Recovered>, StorageError> {
        if layout::inspect(&*self.disk)? == Found::Nothing {
            return Ok(None);
        }
        layout::rewrite(&*self.disk)?;
        let path = self.disk.describe(LOG_NAME);
        let file = || self.disk.open(LOG_NAME).map_err(io_error(format!("open {path}")));
        let tables = Tables::open(file()?, path.clone())?;
        let (identity, state, current) = tables.read_records(&self.sealer)?;
        let witness = self.witness()?;
        if let Some(batch) = witness.read(&self.sealer)
            && batch > state.batch
        {
            return Err(StorageError::Damaged {
                what: path,
                detail: format!(
                    "batch {batch} was acknowledged, but the newest that is whole is {}; {REJOIN}",
                    state.batch
                ),
            });
        }
        let (entries, entry_keys) =
            tables.read_entries(&self.sealer, state.compacted + 1..=state.last)?;
        let snapshot = self.newest_usable(&state)?;
        let recovered = Recovered {
            identity: identity.clone(),
            hard_state: state.hard_state(),
            snapshot,
            entries,
        };
        let listed: Vec<_> =
            state.snapshots.iter().map(|s| snapshot_name(s.index, s.term)).collect();
        layout::tidy(&*self.disk, &listed)?;
        self.open = Some(Open { tables, file: file()?, witness, identity, state, entry_keys });
        if !current {
            self.reseal_records()?;
        }
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
        let path = self.disk.describe(LOG_NAME);
        let failed = || io_error(format!("create {path}"));
        let database = self.disk.create(LOG_ASIDE_NAME).map_err(failed())?;
        let file = self.disk.open(LOG_ASIDE_NAME).map_err(failed())?;
        let tables = Tables::open(database, path.clone())?;
        let witness = self.witness()?;
        self.open = Some(Open {
            tables,
            file,
            witness,
            identity: identity.clone(),
            state: StateRecord::default(),
            entry_keys: VecDeque::new(),
        });
        let change = Change { identity: Some(identity), ..Change::default() };
        self.commit(&change, StateRecord::default())?;
        self.disk.sync_dir().map_err(failed())?;
        layout::write_version(&*self.disk)?;
        layout::finish(&*self.disk)
    }

    fn append_batch(&mut self, batch: &Batch) -> Result<(), StorageError> {
        let open = self.opened()?;
        let (mut state, old_last) = (open.state.clone(), open.state.last);
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
        let remove_from = match (&batch.snapshot, batch.entries.first()) {
            (Some(_), _) => Some(0),
            (None, Some(first)) if first.index <= old_last => Some(first.index),
            _ => None,
        };
        let remove = remove_from.map(|first| first..=old_last);
        self.commit(&Change { remove, put: &batch.entries, identity: None }, state)?;
        self.note_keys(remove_from, &batch.entries);
        self.remove_files(&unlisted)
    }

    /// Keeps the list of keys in step with the entries.
    fn note_keys(&mut self, removed_from: Option<u64>, put: &[Entry]) {
        let current = self.sealer.current();
        let Some(open) = &mut self.open else { return };
        if removed_from == Some(0) {
            open.entry_keys.clear();
        } else if let Some(first) = removed_from {
            let kept = first.saturating_sub(open.state.compacted + 1);
            open.entry_keys.truncate(kept as usize);
        }
        open.entry_keys.extend(put.iter().map(|_| current));
    }

    fn keep_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StorageError> {
        let kept_max = self.config.older_snapshots_max + 1;
        let current = self.sealer.current();
        let mut state = self.opened()?.state.clone();
        let index = snapshot.meta.index;
        if state.snapshots.last().is_some_and(|newest| newest.index >= index) {
            return Ok(());
        }
        if index > state.last || index <= state.compacted {
            return Err(StorageError::Misuse(format!(
                "a snapshot at {index} does not lie on the log, which goes from {} to {}",
                state.compacted + 1,
                state.last
            )));
        }
        let record = snapshot_file::write(&*self.disk, &self.sealer, snapshot)?;
        state.snapshots.push(record);
        let surplus = state.snapshots.len().saturating_sub(kept_max);
        let mut unlisted: Vec<_> = state.snapshots.drain(..surplus).collect();
        // An older snapshot is not worth keeping an older key for.
        unlisted.extend(state.snapshots.extract_if(.., |s| s.key != current.0));
        self.commit(&Change::default(), state)?;
        self.remove_files(&unlisted)
    }

    fn compact_log(&mut self, through: u64) -> Result<(), StorageError> {
        let open = self.opened()?;
        let mut state = open.state.clone();
        let newest = state.snapshots.last().map_or(0, |newest| newest.index);
        if through > newest {
            return Err(StorageError::Misuse(format!(
                "asked to drop the log through {through} while the newest snapshot is at {newest}"
            )));
        }
        let from = state.compacted;
        let through = through.max(from);
        let dropped = (through - from) as usize;
        let stale = self.stale_entries(through)?;
        if dropped == 0 && stale.is_empty() {
            return Ok(());
        }
        state.compacted = through;
        let unlisted: Vec<_> = state.snapshots.extract_if(.., |s| s.index < through).collect();
        let remove = (dropped > 0).then_some(from..=through);
        self.commit(&Change { remove, put: &stale, identity: None }, state)?;
        let current = self.sealer.current();
        let open = self.opened()?;
        open.entry_keys.drain(..dropped);
        for entry in &stale {
            open.entry_keys[(entry.index - through - 1) as usize] = current;
        }
        self.remove_files(&unlisted)
    }

    /// The first entries after `through` that are sealed with an older key: to be sealed again with the next change.
    fn stale_entries(&self, through: u64) -> Result<Vec<Entry>, StorageError> {
        let Some(open) = &self.open else { return Ok(Vec::new()) };
        let current = self.sealer.current();
        let first = through + 1;
        let keys = open.entry_keys.iter().skip((through - open.state.compacted) as usize);
        // Keys only change forward, so the stale entries are the first ones.
        let count = keys.take(RESEAL_ENTRIES_MAX).take_while(|key| **key != current).count();
        let range = first..=through + count as u64;
        Ok(open.tables.read_entries(&self.sealer, range)?.0)
    }

    fn change_keys(&mut self, sealer: Sealer) -> Result<(), StorageError> {
        self.sealer = sealer;
        if self.open.is_some() { self.reseal_records() } else { Ok(()) }
    }

    /// Writes the records that every batch needs anyway with the current key.
    fn reseal_records(&mut self) -> Result<(), StorageError> {
        let open = self.opened()?;
        let (identity, state) = (open.identity.clone(), open.state.clone());
        self.commit(&Change { identity: Some(&identity), ..Change::default() }, state)
    }
}

/// Refuses a batch that cannot stand on the log, above all one that would replace what is committed.
fn check_batch(state: &StateRecord, batch: &Batch) -> Result<(), StorageError> {
    let (lowest, highest) = match &batch.snapshot {
        Some(snapshot) if snapshot.meta.index <= state.compacted => {
            return Err(StorageError::Misuse(format!(
                "asked to install a snapshot at {} over one at {}",
                snapshot.meta.index, state.compacted
            )));
        }
        Some(snapshot) => (snapshot.meta.index + 1, snapshot.meta.index + 1),
        None => (state.commit.max(state.compacted) + 1, state.last + 1),
    };
    let Some(first) = batch.entries.first() else { return Ok(()) };
    if first.index < lowest || first.index > highest {
        return Err(StorageError::Misuse(format!(
            "asked to write from entry {}, but only {lowest} to {highest} may come next",
            first.index
        )));
    }
    if batch.entries.iter().zip(first.index..).any(|(entry, index)| entry.index != index) {
        return Err(StorageError::Misuse("asked to write entries with a gap".to_owned()));
    }
    Ok(())
}

impl LogStore for RedbLog {
    fn load(&mut self) -> Result<Option<Recovered>, StorageError> {
        self.call(Self::load_folder)
    }

    fn create(&mut self, identity: &Identity) -> Result<(), StorageError> {
        self.call(|log| log.create_folder(identity))
    }

    fn append(&mut self, batch: &Batch) -> Result<(), StorageError> {
        self.call(|log| log.append_batch(batch))
    }

    fn save_snapshot(&mut self, snapshot: &Snapshot) -> Result<(), StorageError> {
        self.call(|log| log.keep_snapshot(snapshot))
    }

    fn read_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let (disk, sealer) = (&*self.disk, &self.sealer);
        let newest = self.open.as_ref().and_then(|open| open.state.snapshots.last());
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
        self.call(|log| log.change_keys(sealer))
    }

    fn keys_in_use(&self) -> BTreeSet<KeyId> {
        let mut keys = BTreeSet::new();
        if let Some(open) = &self.open {
            keys.insert(self.sealer.current());
            keys.extend(open.entry_keys.iter().copied());
            keys.extend(open.state.snapshots.iter().map(|snapshot| KeyId(snapshot.key)));
        }
        keys
    }

    fn sizes(&self) -> Sizes {
        let Some(open) = &self.open else { return Sizes::default() };
        Sizes {
            log_bytes: open.file.len().unwrap_or(0),
            snapshot_bytes: open.state.snapshots.last().map_or(0, |newest| newest.file_bytes),
        }
    }
}
