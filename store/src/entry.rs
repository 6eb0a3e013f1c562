//! A transaction as bytes of the log: docker.swarmkit.v1.InternalRaftRequest, byte for byte as SwarmKit writes it.
//!
//! Objects are written straight from the tables; a message that owns them would have to copy them first.

use bytes::{Bytes, BytesMut};
use prost::{
    Message as _,
    encoding::{WireType, encode_key, encode_varint, encoded_len_varint},
};
use skep_proto::swarmkit::{
    InternalRaftRequest, StoreAction, StoreActionKind, store_action::Target,
};

use crate::{
    Action, Change, EntryError, Event, Kind, Object, StoreError, Tables, object::for_each_kind,
    tables::checked_id,
};

/// Fields of InternalRaftRequest and StoreAction.
const REQUEST_ID: u32 = 1;
const REQUEST_ACTION: u32 = 2;
const ACTION_KIND: u32 = 1;
/// A key of a field below 16, or a small enum value.
const SHORT: usize = 1;

/// Encodes what a transaction changed, under an id that no other entry has.
pub(crate) fn encode(id: u64, events: &[Event]) -> Bytes {
    let lengths: Vec<usize> = events.iter().map(action_len).collect();
    let actions: usize = lengths.iter().map(|&len| SHORT + delimited(len)).sum();
    let mut entry = BytesMut::with_capacity(SHORT + encoded_len_varint(id) + actions);
    encode_key(REQUEST_ID, WireType::Varint, &mut entry);
    encode_varint(id, &mut entry);
    for (event, len) in events.iter().zip(lengths) {
        encode_key(REQUEST_ACTION, WireType::LengthDelimited, &mut entry);
        encode_varint(len as u64, &mut entry);
        encode_key(ACTION_KIND, WireType::Varint, &mut entry);
        encode_varint(action_kind(event.action()) as u64, &mut entry);
        encode_target(event, &mut entry);
    }
    entry.freeze()
}

/// What one event adds to an entry.
pub(crate) fn encoded_len(event: &Event) -> usize {
    SHORT + delimited(action_len(event))
}

fn action_len(event: &Event) -> usize {
    SHORT + SHORT + SHORT + delimited(target_len(event))
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
        fn target_len(event: &Event) -> usize {
            match event {
                $(Event::$Kind(change) => change.object().map_or(0, |o| o.encoded_len()),)*
            }
        }

        fn encode_target(event: &Event, entry: &mut BytesMut) {
            match event {
                $(Event::$Kind(change) => if let Some(object) = change.object() {
                    encode_key($tag, WireType::LengthDelimited, entry);
                    encode_varint(object.encoded_len() as u64, entry);
                    object.encode_raw(entry);
                })*
            }
        }

        fn apply_action(
            tables: &mut Tables,
            position: usize,
            action: StoreAction,
        ) -> Result<Event, EntryError> {
            let kind = action.action;
            match action.target {
                None => Err(EntryError::UnknownTarget { position }),
                $(Some(Target::$Kind(object)) => apply_to(tables, position, kind, object),)*
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
    // From a slice, so that fields are copied out and a small field does not keep the whole entry in memory.
    let request = InternalRaftRequest::decode(entry)?;
    let mut events = Vec::with_capacity(request.action.len());
    for (position, action) in request.action.into_iter().enumerate() {
        match apply_action(tables, position, action) {
            Ok(event) => events.push(event),
            Err(error) => {
                undo(tables, events);
                return Err(error);
            }
        }
    }
    Ok(events)
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
