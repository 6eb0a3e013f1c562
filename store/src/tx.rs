//! A transaction: reads what the head holds and its own writes, and collects changes.

use std::{ops::Deref, sync::Arc};

use bytes::Bytes;
use prost_types::Timestamp;
use skep_proto::swarmkit::{Meta, Version};

use crate::{Event, Object, StoreError, Tables, entry};

/// A transaction on the speculative head. It dereferences to [`Tables`] for reading.
///
/// An operation that fails changes nothing; the transaction may go on after it.
pub struct Tx {
    tables: Tables,
    events: Vec<Event>,
    /// Of each event's object, encoded.
    lengths: Vec<usize>,
    /// Of the events, encoded.
    bytes: usize,
    version: u64,
    lineage: u64,
    now: Timestamp,
}

impl Deref for Tx {
    type Target = Tables;

    fn deref(&self) -> &Tables {
        &self.tables
    }
}

impl Tx {
    pub(crate) fn new(tables: Tables, version: u64, lineage: u64, now: Timestamp) -> Tx {
        Tx { tables, events: Vec::new(), lengths: Vec::new(), bytes: 0, version, lineage, now }
    }

    /// Adds an object and returns it as it is stored, with its version and times set.
    pub fn create<T: Object>(&mut self, mut object: T) -> Result<Arc<T>, StoreError> {
        let created_at = object.meta().and_then(|m| m.created_at).unwrap_or(self.now);
        object.set_meta(self.meta(created_at));
        let change = self.tables.create(object)?;
        Ok(self.record(change))
    }

    /// Replaces an object and returns it as it is stored. The given one must carry the version of the stored one; where it was
    /// created is kept from the stored one.
    pub fn update<T: Object>(&mut self, mut object: T) -> Result<Arc<T>, StoreError> {
        if let Some(stored) = self.tables.get_text::<T>(object.id()) {
            let version_of = |m: &Meta| m.version.as_ref().map_or(0, |v| v.index);
            let now_stored = stored.meta().map_or(0, version_of);
            let given = object.meta().map_or(0, version_of);
            if now_stored != given {
                let id = object.id().to_owned();
                return Err(StoreError::OutOfSequence {
                    kind: T::KIND,
                    id,
                    stored: now_stored,
                    given,
                });
            }
            let created_at = stored.meta().and_then(|m| m.created_at).unwrap_or(self.now);
            object.set_meta(self.meta(created_at));
        }
        let change = self.tables.update(object)?;
        Ok(self.record(change))
    }

    /// Changes a stored object in place of reading, copying and updating it.
    pub fn modify<T: Object>(
        &mut self,
        id: &T::Id,
        change: impl FnOnce(&mut T),
    ) -> Result<Arc<T>, StoreError> {
        let Some(stored) = self.tables.get::<T>(id) else {
            return Err(StoreError::NotFound { kind: T::KIND, id: id.to_string() });
        };
        let mut object = T::clone(stored);
        change(&mut object);
        self.update(object)
    }

    /// Takes an object out and returns it as it was.
    pub fn remove<T: Object>(&mut self, id: &T::Id) -> Result<Arc<T>, StoreError> {
        let change = self.tables.remove::<T>((*id).into())?;
        Ok(self.record(change))
    }

    /// The version that objects written here carry.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Which line of transactions this one goes on. As long as it stays the same, everything that earlier calls wrote, in this
    /// transaction or in others, is in these tables or was changed by a later write; it is another one as soon as anything
    /// that was written was taken back, refused, or given up with the leadership. For who keeps a memory of what it wrote.
    pub fn lineage(&self) -> u64 {
        self.lineage
    }

    /// The time of this transaction; every object written in it carries the same.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// How many changes it has made so far.
    pub fn changes(&self) -> usize {
        self.events.len()
    }

    /// Size of the changes so far as part of a log entry, in bytes.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Takes back every change after the first `changes`.
    pub(crate) fn roll_back(&mut self, changes: usize) {
        let undone = self.events.split_off(changes);
        if !undone.is_empty() {
            self.lineage += 1;
        }
        let lengths = self.lengths.split_off(changes);
        self.bytes -= lengths.into_iter().map(entry::action_room).sum::<usize>();
        entry::undo(&mut self.tables, undone);
    }

    /// The tables, what was changed in them, and the transaction's entry under this id.
    pub(crate) fn finish(self, id: u64) -> (Tables, Vec<Event>, Bytes) {
        let entry = entry::encode(id, &self.events, &self.lengths);
        (self.tables, self.events, entry)
    }

    /// Takes everything back and gives the tables as they were, and their lineage.
    pub(crate) fn abort(mut self) -> (Tables, u64) {
        self.roll_back(0);
        (self.tables, self.lineage)
    }

    fn meta(&self, created_at: Timestamp) -> Meta {
        Meta {
            version: Some(Version { index: self.version }),
            created_at: Some(created_at),
            updated_at: Some(self.now),
        }
    }

    fn record<T: Object>(&mut self, change: crate::Change<T>) -> Arc<T> {
        let object = change.object().expect("a change has an object before or after").clone();
        let event = T::event(change);
        let length = entry::target_len(&event);
        self.bytes += entry::action_room(length);
        self.lengths.push(length);
        self.events.push(event);
        object
    }
}
