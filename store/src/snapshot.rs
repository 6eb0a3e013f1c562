//! The whole store as bytes and back: docker.swarmkit.v1.Snapshot, byte for byte as SwarmKit writes it.

use std::io;

use bytes::{Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use skep_proto::{
    ids::Id,
    swarmkit::{
        Cluster, ClusterSnapshot, Config, Extension, Network, Node, Resource, Secret, Service,
        Snapshot, StoreSnapshot, Task, Volume, snapshot,
    },
};

use crate::{
    Change, Event, Object, RestoreError, StoreError, Tables, View, object::for_each_kind,
    tables::checked_id,
};

/// Fields of Snapshot. The version is 0, which is not written.
const MEMBERSHIP: u32 = 2;
const STORE: u32 = 3;
/// A key of a field below 16.
const SHORT: usize = 1;

/// The store at one moment, taken in O(1), to be encoded wherever there is time.
#[derive(Clone)]
pub struct StoreSnapshotCapture {
    view: View,
}

impl StoreSnapshotCapture {
    pub(crate) fn new(view: View) -> StoreSnapshotCapture {
        StoreSnapshotCapture { view }
    }

    /// Index of the last log entry in it.
    pub fn index(&self) -> u64 {
        self.view.version()
    }

    /// The payload of a raft snapshot, measured and not encoded yet. Takes time with the size of the store: not on an async
    /// thread.
    pub fn measure(&self, membership: &ClusterSnapshot) -> MeasuredSnapshot {
        let mut lengths = Vec::new();
        let store_len = measure_store(&self.view, &mut lengths);
        let membership = membership.encode_to_vec();
        let bytes = delimited(membership.len()) + delimited(store_len);
        MeasuredSnapshot { view: self.view.clone(), membership, store_len, lengths, bytes }
    }

    /// The payload in memory. Takes time with the size of the store: not on an async thread.
    pub fn encode(&self, membership: &ClusterSnapshot) -> Bytes {
        let measured = self.measure(membership);
        let mut bytes = Vec::with_capacity(measured.bytes);
        measured.write_to(&mut bytes).expect("a vector takes whatever is written to it");
        bytes.into()
    }
}

/// A snapshot whose length is known, to be encoded piece by piece.
pub struct MeasuredSnapshot {
    view: View,
    membership: Vec<u8>,
    store_len: usize,
    /// Of the objects, in the order in which they are written: it takes a while to find them out.
    lengths: Vec<usize>,
    bytes: usize,
}

impl MeasuredSnapshot {
    /// The length of the payload.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Writes the payload in pieces of some 64 KiB.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_to(&self, out: &mut dyn io::Write) -> io::Result<()> {
        let mut pieces = Pieces { bytes: BytesMut::with_capacity(PIECE_BYTES), out };
        encode_key(MEMBERSHIP, WireType::LengthDelimited, &mut pieces.bytes);
        encode_varint(self.membership.len() as u64, &mut pieces.bytes);
        pieces.bytes.extend_from_slice(&self.membership);
        encode_key(STORE, WireType::LengthDelimited, &mut pieces.bytes);
        encode_varint(self.store_len as u64, &mut pieces.bytes);
        encode_store(&self.view, &mut self.lengths.iter().copied(), &mut pieces)?;
        pieces.flush()
    }
}

/// Written at a time: much more than an object, and little memory.
const PIECE_BYTES: usize = 64 * 1024;

struct Pieces<'a> {
    bytes: BytesMut,
    out: &'a mut dyn io::Write,
}

impl Pieces<'_> {
    fn flush(&mut self) -> io::Result<()> {
        self.out.write_all(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

fn delimited(len: usize) -> usize {
    SHORT + encoded_len_varint(len as u64) + len
}

fn measure_table<T: Object>(tables: &Tables, lengths: &mut Vec<usize>) -> usize {
    let measure = |len: usize| {
        lengths.push(len);
        delimited(len)
    };
    tables.all::<T>().map(|object| object.encoded_len()).map(measure).sum()
}

fn encode_table<T: Object>(
    tables: &Tables,
    tag: u32,
    lengths: &mut impl Iterator<Item = usize>,
    pieces: &mut Pieces<'_>,
) -> io::Result<()> {
    for (object, len) in tables.all::<T>().zip(lengths) {
        encode_key(tag, WireType::LengthDelimited, &mut pieces.bytes);
        encode_varint(len as u64, &mut pieces.bytes);
        object.encode_raw(&mut pieces.bytes);
        if pieces.bytes.len() >= PIECE_BYTES {
            pieces.flush()?;
        }
    }
    Ok(())
}

/// A row for each table in the order of its field in StoreSnapshot.
macro_rules! snapshot_tables {
    ($($Kind:ident $field:ident $tag:literal,)*) => {
        fn measure_store(tables: &Tables, lengths: &mut Vec<usize>) -> usize {
            0 $(+ measure_table::<$Kind>(tables, lengths))*
        }

        fn encode_store(
            tables: &Tables,
            lengths: &mut impl Iterator<Item = usize>,
            pieces: &mut Pieces<'_>,
        ) -> io::Result<()> {
            $(encode_table::<$Kind>(tables, $tag, lengths, pieces)?;)*
            Ok(())
        }

        /// Builds new tables from a snapshot. Objects that are equal to those of `old` are shared with it.
        fn build(snapshot: StoreSnapshot, old: &Tables) -> Result<Tables, RestoreError> {
            let mut new = Tables::default();
            // A resource's kind is checked against the extensions, so those come first.
            build_table(snapshot.extensions, old, &mut new)?;
            let snapshot = StoreSnapshot { extensions: Vec::new(), ..snapshot };
            $(build_table::<$Kind>(snapshot.$field, old, &mut new)?;)*
            Ok(new)
        }
    };
}
snapshot_tables! {
    Node nodes 1,
    Service services 2,
    Network networks 3,
    Task tasks 4,
    Cluster clusters 5,
    Secret secrets 6,
    Resource resources 7,
    Extension extensions 8,
    Config configs 9,
    Volume volumes 10,
}

fn build_table<T: Object>(
    objects: Vec<T>,
    old: &Tables,
    new: &mut Tables,
) -> Result<(), RestoreError> {
    for object in objects {
        let name_of = |object: &T| object.id().chars().take(64).collect();
        let put = |new: &mut Tables, object: T| -> Result<(), StoreError> {
            let id: Id = checked_id(&object)?;
            match old.get::<T>(&id.into()).filter(|old| ***old == object) {
                Some(same) => new.create_shared(id, same.clone()),
                None => new.create(object).map(drop),
            }
        };
        let id = name_of(&object);
        put(new, object).map_err(|source| RestoreError::Object { kind: T::KIND, id, source })?;
    }
    Ok(())
}

fn differences<T: Object>(old: &Tables, new: &Tables, events: &mut Vec<Event>) {
    let id_of = |object: &std::sync::Arc<T>| object.id().parse::<Id>().ok();
    for object in old.all::<T>() {
        let Some(id) = id_of(object) else { continue };
        if new.get::<T>(&id.into()).is_none() {
            events.push(T::event(Change { id, old: Some(object.clone()), new: None }));
        }
    }
    for object in new.all::<T>() {
        let Some(id) = id_of(object) else { continue };
        let old = old.get::<T>(&id.into());
        if old.is_none_or(|old| !std::sync::Arc::ptr_eq(old, object)) {
            let change = Change { id, old: old.cloned(), new: Some(object.clone()) };
            events.push(T::event(change));
        }
    }
}

macro_rules! all_differences {
    ($($Kind:ident $field:ident $Id:ident $tag:literal,)*) => {
        fn all_differences(old: &Tables, new: &Tables) -> Vec<Event> {
            let mut events = Vec::new();
            $(differences::<$Kind>(old, new, &mut events);)*
            events
        }
    };
}
for_each_kind!(all_differences);

/// A decoded snapshot beside the tables that it was compared with.
pub(crate) struct Restored {
    pub(crate) tables: Tables,
    pub(crate) events: Vec<Event>,
    pub(crate) membership: ClusterSnapshot,
}

/// Decodes a snapshot and says what it changes in `old`.
pub(crate) fn restore(old: &Tables, bytes: &[u8]) -> Result<Restored, RestoreError> {
    // From a slice, so that fields are copied out and a small field does not keep the whole snapshot in memory.
    let snapshot = Snapshot::decode(bytes)?;
    if snapshot.version != snapshot::Version::V0 as i32 {
        return Err(RestoreError::UnknownVersion { version: snapshot.version });
    }
    let tables = build(snapshot.store.unwrap_or_default(), old)?;
    let events = all_differences(old, &tables);
    Ok(Restored { tables, events, membership: snapshot.membership.unwrap_or_default() })
}
