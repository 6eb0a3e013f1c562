//! A state machine that remembers what it was told. Clones share the memory.

use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use prost::Message as _;

use crate::{
    ApplyError, Committed, Epoch, Member, Membership, RaftId, Refusal, RestoreError,
    SnapshotWriter, StateMachine, Ticket,
};

/// What a state machine was told, besides entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    Leading(Epoch),
    Following,
    Refused(Ticket, Refusal),
    Committed(Ticket),
    Restored(u64),
}

/// See the module.
#[derive(Clone, Default)]
pub struct Recorder {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    entries: Vec<String>,
    seen: Vec<Seen>,
    fail: bool,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Image {
    #[prost(string, repeated, tag = "1")]
    entries: Vec<String>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    members: Vec<Vec<u8>>,
    #[prost(uint64, repeated, tag = "3")]
    removed: Vec<u64>,
}

impl Recorder {
    /// Every entry applied, in order.
    pub fn entries(&self) -> Vec<String> {
        self.inner.lock().entries.clone()
    }

    /// Everything else, in order.
    pub fn seen(&self) -> Vec<Seen> {
        self.inner.lock().seen.clone()
    }

    /// Forgets what was seen so far, and gives it.
    pub fn take_seen(&self) -> Vec<Seen> {
        std::mem::take(&mut self.inner.lock().seen)
    }

    /// Refuses every entry from now on.
    pub fn fail(&self) {
        self.inner.lock().fail = true;
    }
}

impl StateMachine for Recorder {
    fn apply(&mut self, entries: Vec<Committed>) -> Result<(), ApplyError> {
        let mut inner = self.inner.lock();
        for entry in entries {
            if inner.fail {
                return Err(ApplyError::new("told to fail"));
            }
            assert!(!entry.data.is_empty(), "an empty entry reached the state machine");
            inner.entries.push(String::from_utf8_lossy(&entry.data).into_owned());
            inner.seen.extend(entry.ticket.map(Seen::Committed));
        }
        Ok(())
    }

    fn refused(&mut self, ticket: Ticket, why: Refusal) {
        self.inner.lock().seen.push(Seen::Refused(ticket, why));
    }

    fn leading(&mut self, epoch: Epoch, _commit_index: u64) {
        self.inner.lock().seen.push(Seen::Leading(epoch));
    }

    fn following(&mut self) {
        self.inner.lock().seen.push(Seen::Following);
    }

    fn snapshot(&self) -> SnapshotWriter {
        let entries = self.inner.lock().entries.clone();
        Box::new(move |membership| {
            let members = membership.members().map(Member::encode).collect();
            let removed = membership.removed().map(|id| id.0).collect();
            Ok(Image { entries, members, removed }.encode_to_vec().into())
        })
    }

    fn restore(&mut self, index: u64, data: Bytes) -> Result<Membership, RestoreError> {
        let image = Image::decode(data).map_err(RestoreError::new)?;
        let members: Option<Vec<_>> =
            image.members.iter().map(|member| Member::decode(member)).collect();
        let members = members.ok_or_else(|| RestoreError::new("a member cannot be read"))?;
        let mut inner = self.inner.lock();
        inner.entries = image.entries;
        inner.seen.push(Seen::Restored(index));
        Ok(Membership::new(members, image.removed.into_iter().map(RaftId)))
    }
}
