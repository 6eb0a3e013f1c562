//! The database file: two tables, and the one transaction that every change is.

use std::collections::VecDeque;
use std::ops::RangeInclusive;

use prost::Message;
use redb::{Database, ReadableDatabase, TableDefinition};

use crate::{Entry, Identity, KeyId, StorageError};

use super::disk::DiskFile;
use super::layout::REJOIN;
use super::records::{EntryRecord, IdentityRecord, StateRecord};
use super::redb_backend::{Backend, redb_error, walled};
use super::seal::{OpenError, Sealer, Slot};

const ENTRIES: TableDefinition<'static, u64, &[u8]> = TableDefinition::new("entries");
const RECORDS: TableDefinition<'static, &str, &[u8]> = TableDefinition::new("records");
const STATE: &str = "state";
const IDENTITY: &str = "identity";

/// redb's page cache. The log is read once, at the start; after that only the edge of the tree is touched.
const CACHE_BYTES: usize = 8 << 20;

/// The open database. Dropping it closes it behind the wall.
pub struct Tables {
    db: Option<Database>,
    path: String,
}

/// What one transaction does, in this order.
#[derive(Default)]
pub struct Change<'a> {
    /// Remove these entries; `None` removes nothing.
    pub remove: Option<RangeInclusive<u64>>,
    /// Put these entries.
    pub put: &'a [Entry],
    /// Write the identity.
    pub identity: Option<&'a Identity>,
}

impl Tables {
    /// Opens the file and has every page's checksum verified; creates the database in an empty file.
    pub fn open(file: Box<dyn DiskFile>, path: String) -> Result<Self, StorageError> {
        let db = walled(&path, || {
            Database::builder()
                .set_cache_size(CACHE_BYTES)
                .set_check_integrity_on_open(true)
                .create_with_backend(Backend(file))
                .map_err(redb_error("open", &path))
        })?;
        Ok(Self { db: Some(db), path })
    }

    fn db(&self) -> &Database {
        self.db.as_ref().expect("only taken in drop")
    }

    /// Makes a change and the new state durable together, with one sync.
    pub fn commit(
        &self,
        sealer: &Sealer,
        change: &Change<'_>,
        state: &StateRecord,
    ) -> Result<(), StorageError> {
        walled(&self.path, || {
            let failed = "write to";
            let tx = self.db().begin_write().map_err(redb_error(failed, &self.path))?;
            {
                let mut entries = tx.open_table(ENTRIES).map_err(redb_error(failed, &self.path))?;
                if let Some(range) = &change.remove {
                    entries
                        .retain_in(range.clone(), |_, _| false)
                        .map_err(redb_error(failed, &self.path))?;
                }
                for entry in change.put {
                    let record = EntryRecord::new(entry).encode_to_vec();
                    let sealed = sealer.seal(Slot::Entry(entry.index), record);
                    entries
                        .insert(entry.index, sealed.as_slice())
                        .map_err(redb_error(failed, &self.path))?;
                }
                let mut records = tx.open_table(RECORDS).map_err(redb_error(failed, &self.path))?;
                let sealed = sealer.seal(Slot::State, state.encode_to_vec());
                records.insert(STATE, sealed.as_slice()).map_err(redb_error(failed, &self.path))?;
                if let Some(identity) = change.identity {
                    let record = IdentityRecord::new(identity).encode_to_vec();
                    let sealed = sealer.seal(Slot::Identity, record);
                    records
                        .insert(IDENTITY, sealed.as_slice())
                        .map_err(redb_error(failed, &self.path))?;
                }
            }
            tx.commit().map_err(redb_error(failed, &self.path))
        })
    }

    /// The identity and the state, and whether both are sealed with the current key.
    pub fn read_records(
        &self,
        sealer: &Sealer,
    ) -> Result<(Identity, StateRecord, bool), StorageError> {
        walled(&self.path, || {
            let tx = self.db().begin_read().map_err(redb_error("read", &self.path))?;
            let table = tx.open_table(RECORDS).map_err(redb_error("read", &self.path))?;
            let open = |name: &'static str, slot| {
                let sealed = table
                    .get(name)
                    .map_err(redb_error("read", &self.path))?
                    .ok_or_else(|| self.damaged(&format!("its {name} record"), "is missing"))?;
                self.opened(sealer, slot, sealed.value(), || format!("its {name} record"))
            };
            let (identity, identity_key) = open(IDENTITY, Slot::Identity)?;
            let (state, state_key) = open(STATE, Slot::State)?;
            let unreadable = |name| move || self.damaged(name, "cannot be read");
            let identity = IdentityRecord::decode(identity.as_slice())
                .ok()
                .and_then(IdentityRecord::into_identity)
                .ok_or_else(unreadable("its identity record"))?;
            let state = StateRecord::decode(state.as_slice())
                .map_err(|_| unreadable("its state record")())?;
            let current = [identity_key, state_key].iter().all(|key| *key == sealer.current());
            Ok((identity, state, current))
        })
    }

    /// The entries of a range, all of which must be there, each with the key that sealed it.
    pub fn read_entries(
        &self,
        sealer: &Sealer,
        range: RangeInclusive<u64>,
    ) -> Result<(Vec<Entry>, VecDeque<KeyId>), StorageError> {
        let (mut entries, mut keys) = (Vec::new(), VecDeque::new());
        if range.is_empty() {
            return Ok((entries, keys));
        }
        walled(&self.path, || {
            let tx = self.db().begin_read().map_err(redb_error("read", &self.path))?;
            let table = tx.open_table(ENTRIES).map_err(redb_error("read", &self.path))?;
            let mut expected = range.clone();
            for row in table.range(range.clone()).map_err(redb_error("read", &self.path))? {
                let (index, sealed) = row.map_err(redb_error("read", &self.path))?;
                let what = || format!("its entry {}", index.value());
                if expected.next() != Some(index.value()) {
                    return Err(self.damaged(&what(), "does not follow the one before it"));
                }
                let slot = Slot::Entry(index.value());
                let (plain, key) = self.opened(sealer, slot, sealed.value(), what)?;
                let entry = EntryRecord::decode(plain.as_slice())
                    .ok()
                    .and_then(|record| record.into_entry(index.value()))
                    .ok_or_else(|| self.damaged(&what(), "cannot be read"))?;
                entries.push(entry);
                keys.push_back(key);
            }
            match expected.next() {
                Some(index) => Err(self.damaged(&format!("its entry {index}"), "is missing")),
                None => Ok(()),
            }
        })?;
        Ok((entries, keys))
    }

    fn opened(
        &self,
        sealer: &Sealer,
        slot: Slot,
        sealed: &[u8],
        what: impl FnOnce() -> String,
    ) -> Result<(Vec<u8>, KeyId), StorageError> {
        sealer.open(slot, sealed).map_err(|error| match error {
            OpenError::Forged => self.damaged(&what(), "has a broken seal"),
            OpenError::UnknownKey(key) => StorageError::UnknownKey {
                what: format!("{} ({})", self.path, what().trim_start_matches("its ")),
                key,
            },
        })
    }

    /// `what` is a part of the file, as "its entry 5".
    pub fn damaged(&self, what: &str, detail: &str) -> StorageError {
        StorageError::Damaged {
            what: self.path.clone(),
            detail: format!("{what} {detail}; {REJOIN}"),
        }
    }
}

impl Drop for Tables {
    fn drop(&mut self) {
        // Closing writes: on a file that went bad underneath it may fail or panic, and there is nobody left to tell.
        let db = self.db.take();
        let _ = walled(&self.path, || {
            drop(db);
            Ok(())
        });
    }
}
