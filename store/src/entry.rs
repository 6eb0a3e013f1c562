//! A transaction as bytes of the log: docker.swarmkit.v1.InternalRaftRequest, byte for byte as SwarmKit writes it.
//!
//! Objects are written straight from the tables; a message that owns them would have to copy them first.

use bytes::{Bytes, BytesMut};
use prost::{
    DecodeError, Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use skep_proto::swarmkit::{
    Cluster, Config, Extension, Network, Node, Resource, Secret, Service, StoreActionKind, Task,
    Volume,
};

use crate::{
    Action, Change, EntryError, Event, Kind, Object, StoreError, Tables,
    fields::{Field, next_field},
    object::{for_each_kind, sealed::Row as _},
    tables::checked_id,
};

/// Fields of InternalRaftRequest and StoreAction.
const REQUEST_ID: u32 = 1;
const REQUEST_ACTION: u32 = 2;
const ACTION_KIND: u32 = 1;
/// A key of a field below 16, or a small enum value.
const SHORT: usize = 1;

/// Encodes what a transaction changed, under an id that no other entry has. Each event comes with the length of its object,
/// which takes a while to find out.
pub(crate) fn encode(id: u64, events: &[Event], lengths: &[usize]) -> Bytes {
    let actions: usize = lengths.iter().map(|&len| action_room(len)).sum();
    let mut entry = BytesMut::with_capacity(SHORT + encoded_len_varint(id) + actions);
    encode_key(REQUEST_ID, WireType::Varint, &mut entry);
    encode_varint(id, &mut entry);
    for (event, &len) in events.iter().zip(lengths) {
        encode_key(REQUEST_ACTION, WireType::LengthDelimited, &mut entry);
        encode_varint(action_len(len) as u64, &mut entry);
        encode_key(ACTION_KIND, WireType::Varint, &mut entry);
        encode_varint(action_kind(event.action()) as u64, &mut entry);
        encode_target(event, len, &mut entry);
    }
    entry.freeze()
}

/// What an event whose object has this length adds to an entry.
pub(crate) fn action_room(target_len: usize) -> usize {
    SHORT + delimited(action_len(target_len))
}

fn action_len(target_len: usize) -> usize {
    SHORT + SHORT + SHORT + delimited(target_len)
}

fn delimited(len: usize) -> usize {
    encoded_len_varint(len as u64) + len
}

fn action_kind(action: Action) -> StoreActionKind {
    match action {
        Action::Create => StoreActionKind::StoreActionCreate,
        Action::Update => StoreActionKind::StoreActionUpdate,
        Action::Remove => StoreActionKind::StoreActionRemove,
    }
}

macro_rules! targets {
    ($($Kind:ident $field:ident $Id:ident $tag:literal,)*) => {
        /// Length of an event's object.
        pub(crate) fn target_len(event: &Event) -> usize {
            match event {
                $(Event::$Kind(change) => change.object().map_or(0, |o| o.encoded_len()),)*
            }
        }

        fn encode_target(event: &Event, len: usize, entry: &mut BytesMut) {
            match event {
                $(Event::$Kind(change) => if let Some(object) = change.object() {
                    encode_key($tag, WireType::LengthDelimited, entry);
                    encode_varint(len as u64, entry);
                    object.encode_raw(entry);
                })*
            }
        }

        fn is_target(tag: u32) -> bool {
            [$($tag),*].contains(&tag)
        }

        fn apply_action(
            tables: &mut Tables,
            position: usize,
            action: &[u8],
        ) -> Result<Event, EntryError> {
            let RawAction { kind, target } = RawAction::decode(action)?;
            match target {
                $(Some(($tag, object)) => {
                    let object = $Kind::decode_for(object, tables)?;
                    apply_to(tables, position, kind, object)
                })*
                _ => Err(EntryError::UnknownTarget { position }),
            }
        }

        /// Does what was done elsewhere on the same state.
        pub(crate) fn redo(tables: &mut Tables, events: &[Event]) {
            for event in events {
                match event { $(Event::$Kind(change) => tables.redo(change),)* }
            }
        }

        /// Takes events back, the last one first.
        pub(crate) fn undo(tables: &mut Tables, events: Vec<Event>) {
            for event in events.into_iter().rev() {
                match event { $(Event::$Kind(change) => tables.undo(&change),)* }
            }
        }
    };
}
for_each_kind!(targets);

/// Applies an entry that was written elsewhere, as it stands: versions and times are the writer's. All or nothing.
pub(crate) fn apply(tables: &mut Tables, entry: &[u8]) -> Result<Vec<Event>, EntryError> {
    let mut events = Vec::new();
    let mut apply = |rest: &mut &[u8]| {
        while let Some((tag, field)) = next_field(rest)? {
            if let (REQUEST_ACTION, Field::Delimited(action)) = (tag, field) {
                events.push(apply_action(tables, events.len(), action)?);
            }
        }
        Ok(())
    };
    match apply(&mut &*entry) {
        Ok(()) => Ok(events),
        Err(error) => {
            undo(tables, events);
            Err(error)
        }
    }
}

/// A StoreAction whose object is still encoded.
#[derive(Default)]
struct RawAction<'a> {
    kind: i32,
    /// The object's field number, and the object. Of several the last one counts.
    target: Option<(u32, &'a [u8])>,
}

impl<'a> RawAction<'a> {
    fn decode(mut rest: &'a [u8]) -> Result<RawAction<'a>, DecodeError> {
        let mut action = RawAction::default();
        while let Some((tag, field)) = next_field(&mut rest)? {
            match (tag, field) {
                // An enum is a varint of which the low half counts.
                (ACTION_KIND, Field::Varint(kind)) => action.kind = kind as i32,
                (tag, Field::Delimited(object)) if is_target(tag) => {
                    action.target = Some((tag, object));
                }
                _ => {}
            }
        }
        Ok(action)
    }
}

fn apply_to<T: Object>(
    tables: &mut Tables,
    position: usize,
    action: i32,
    object: T,
) -> Result<Event, EntryError> {
    let (kind, id): (Kind, String) = (T::KIND, object.id().chars().take(64).collect());
    let (name, result): (_, Result<Change<T>, StoreError>) = match StoreActionKind::try_from(action)
    {
        Ok(StoreActionKind::StoreActionCreate) => ("create", tables.create(object)),
        Ok(StoreActionKind::StoreActionUpdate) => ("update", tables.update(object)),
        Ok(StoreActionKind::StoreActionRemove) => {
            ("remove", checked_id(&object).and_then(|id| tables.remove(id)))
        }
        Ok(StoreActionKind::Unknown) | Err(_) => {
            return Err(EntryError::UnknownAction { position, kind, id, action });
        }
    };
    match result {
        Ok(change) => Ok(T::event(change)),
        Err(source) => Err(EntryError::Action { position, action: name, kind, id, source }),
    }
}
