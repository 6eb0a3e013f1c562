//! The replicated state: keys with values, and the nodes that may be members. No clock, lock or socket: entries of the
//! log go in, in order, and every replica comes to the same.

use bytes::Bytes;
use imbl::OrdMap;
use prost::Message;
use skep_raft::{Member, Membership, RaftId};

use crate::command::{Action, Command, Outcome};

/// A value, and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// The bytes.
    pub value: Bytes,
    /// The place in the log of the write.
    pub revision: u64,
}

/// See the module. A clone shares everything with the original, in O(1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The place in the log of the last command.
    pub revision: u64,
    /// Values by key.
    pub items: OrdMap<Bytes, Item>,
    /// Nodes that may be members: addresses by name.
    pub admitted: OrdMap<String, String>,
}

/// What a command changed, for those who watch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: Bytes,
    /// Its value, or that it is gone.
    pub value: Option<Bytes>,
    /// The place in the log.
    pub revision: u64,
}

/// Bytes of their own: a slice would keep the whole buffer alive in which the entry came off the network.
fn own(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

impl State {
    /// Applies the command at a place in the log.
    pub fn apply(&mut self, revision: u64, command: &Command) -> (Outcome, Option<Change>) {
        self.revision = revision;
        match &command.action {
            Some(Action::Put(put)) => self.put(&put.key, Some(&put.value), put.if_revision),
            Some(Action::Delete(delete)) => self.put(&delete.key, None, delete.if_revision),
            Some(Action::Admit(admit)) => {
                for node in &admit.nodes {
                    self.admitted.insert(node.name.clone(), node.addr.clone());
                }
                (Outcome { revision, ..Outcome::default() }, None)
            }
            Some(Action::Expel(name)) => {
                let before = u64::from(self.admitted.remove(name).is_some());
                (Outcome { revision, before, conflict: false }, None)
            }
            None => (Outcome { revision, ..Outcome::default() }, None),
        }
    }

    fn put(
        &mut self,
        key: &Bytes,
        value: Option<&Bytes>,
        if_revision: Option<u64>,
    ) -> (Outcome, Option<Change>) {
        let revision = self.revision;
        let before = self.items.get(key).map_or(0, |item| item.revision);
        let conflict = if_revision.is_some_and(|wanted| wanted != before);
        let outcome = Outcome { revision, before, conflict };
        if conflict || (value.is_none() && before == 0) {
            return (outcome, None);
        }
        let (key, value) = (own(key), value.map(own));
        match &value {
            Some(value) => {
                self.items.insert(key.clone(), Item { value: value.clone(), revision });
            }
            None => {
                self.items.remove(&key);
            }
        }
        (outcome, Some(Change { key, value, revision }))
    }

    /// The items whose key begins so, in order.
    pub fn under<'a>(&'a self, prefix: &'a [u8]) -> impl Iterator<Item = (&'a Bytes, &'a Item)> {
        let from = Bytes::copy_from_slice(prefix);
        self.items.range(from..).take_while(move |(key, _)| key.starts_with(prefix))
    }

    /// The state and the membership as the bytes of a snapshot.
    pub fn encode(&self, membership: &Membership) -> Bytes {
        let item = |(key, item): (&Bytes, &Item)| ItemRecord {
            key: key.clone(),
            value: item.value.clone(),
            revision: item.revision,
        };
        let member = |member: &Member| MemberRecord {
            raft_id: member.raft_id.0,
            node_id: member.node_id.clone(),
            addr: member.addr.clone(),
        };
        let admitted = |(name, addr): (&String, &String)| AdmittedRecord {
            name: name.clone(),
            addr: addr.clone(),
        };
        let record = SnapshotRecord {
            format: FORMAT,
            revision: self.revision,
            members: membership.members().map(member).collect(),
            removed: membership.removed().map(|raft_id| raft_id.0).collect(),
            admitted: self.admitted.iter().map(admitted).collect(),
            items: self.items.iter().map(item).collect(),
        };
        record.encode_to_vec().into()
    }

    /// What [`encode`](Self::encode) wrote.
    pub fn decode(bytes: Bytes) -> Result<(State, Membership), SnapshotFormatError> {
        let record = SnapshotRecord::decode(bytes)?;
        if record.format != FORMAT {
            return Err(SnapshotFormatError::Format(record.format));
        }
        let member = |member: MemberRecord| Member {
            raft_id: RaftId(member.raft_id),
            node_id: member.node_id,
            addr: member.addr,
        };
        let item = |item: ItemRecord| {
            (own(&item.key), Item { value: own(&item.value), revision: item.revision })
        };
        let membership = Membership::new(
            record.members.into_iter().map(member),
            record.removed.into_iter().map(RaftId),
        );
        let state = State {
            revision: record.revision,
            items: record.items.into_iter().map(item).collect(),
            admitted: record.admitted.into_iter().map(|a| (a.name, a.addr)).collect(),
        };
        Ok((state, membership))
    }
}

/// The version of a snapshot's bytes.
const FORMAT: u32 = 1;

/// Why a snapshot cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotFormatError {
    /// Not the bytes of one.
    #[error("the snapshot cannot be read")]
    Unreadable(#[from] prost::DecodeError),
    /// Of another version.
    #[error("the snapshot has format {0}, and this program reads {FORMAT}")]
    Format(u32),
}

#[derive(Clone, PartialEq, Message)]
struct SnapshotRecord {
    #[prost(uint32, tag = "1")]
    format: u32,
    #[prost(uint64, tag = "2")]
    revision: u64,
    #[prost(message, repeated, tag = "3")]
    members: Vec<MemberRecord>,
    #[prost(fixed64, repeated, tag = "4")]
    removed: Vec<u64>,
    #[prost(message, repeated, tag = "5")]
    admitted: Vec<AdmittedRecord>,
    #[prost(message, repeated, tag = "6")]
    items: Vec<ItemRecord>,
}

#[derive(Clone, PartialEq, Message)]
struct MemberRecord {
    #[prost(fixed64, tag = "1")]
    raft_id: u64,
    #[prost(string, tag = "2")]
    node_id: String,
    #[prost(string, tag = "3")]
    addr: String,
}

#[derive(Clone, PartialEq, Message)]
struct AdmittedRecord {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    addr: String,
}

#[derive(Clone, PartialEq, Message)]
struct ItemRecord {
    #[prost(bytes = "bytes", tag = "1")]
    key: Bytes,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
    #[prost(uint64, tag = "3")]
    revision: u64,
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::command::{Admit, Delete, Node, Put};

    /// `put k v`, `put k v if 3`, `del k`, `del k if 0`.
    fn command(text: &str) -> Command {
        let words: Vec<&str> = text.split(' ').collect();
        let key = Bytes::copy_from_slice(words[1].as_bytes());
        let if_revision = text.split_once(" if ").map(|(_, revision)| revision.parse().unwrap());
        Command::new(match words[0] {
            "put" => {
                let value = Bytes::copy_from_slice(words[2].as_bytes());
                Action::Put(Put { key, value, if_revision })
            }
            _ => Action::Delete(Delete { key, if_revision }),
        })
    }

    #[test]
    fn a_script_of_commands() {
        let mut state = State::default();
        for (revision, (text, before, conflict, changed)) in [
            ("put a 1", 0, false, true),
            ("put a 2", 1, false, true),
            ("put a 3 if 1", 2, true, false),
            ("put a 3 if 2", 2, false, true),
            ("put b 1 if 0", 0, false, true),
            ("put b 2 if 0", 5, true, false),
            ("del c", 0, false, false),
            ("del b if 4", 5, true, false),
            ("del b if 5", 5, false, true),
            ("put b 3 if 0", 0, false, true),
        ]
        .into_iter()
        .enumerate()
        {
            let revision = revision as u64 + 1;
            let (outcome, change) = state.apply(revision, &command(text));
            assert_eq!(outcome, Outcome { revision, before, conflict }, "{text}");
            assert_eq!(change.is_some(), changed, "{text}");
        }
        let held: Vec<_> = state.items.iter().map(|(k, i)| (k.clone(), i.value.clone())).collect();
        assert_eq!(held, [("a".into(), "3".into()), ("b".into(), "3".into())]);
    }

    #[test]
    fn a_prefix_is_a_range() {
        let mut state = State::default();
        for (at, key) in ["a", "a/1", "a/2", "a0", "b"].into_iter().enumerate() {
            state.apply(at as u64 + 1, &command(&format!("put {key} v")));
        }
        let under = |prefix: &str| state.under(prefix.as_bytes()).count();
        assert_eq!((under(""), under("a"), under("a/"), under("c")), (5, 4, 2, 0));
    }

    #[test]
    fn snapshots_that_are_none_are_refused() {
        let other = SnapshotRecord { format: 2, ..SnapshotRecord::default() };
        let other = State::decode(other.encode_to_vec().into());
        assert_eq!(other, Err(SnapshotFormatError::Format(2)));
        assert!(State::decode(Bytes::from_static(b"\x07garbage")).is_err());
    }

    proptest! {
        #[test]
        fn a_snapshot_holds_everything(
            keys in proptest::collection::vec((any::<Vec<u8>>(), any::<Vec<u8>>()), 0..50),
            ids in proptest::collection::btree_set(1u64.., 0..6),
        ) {
            let mut state = State::default();
            for (at, (key, value)) in keys.into_iter().enumerate() {
                let put = Put { key: key.into(), value: value.into(), if_revision: None };
                state.apply(at as u64 + 1, &Command::new(Action::Put(put)));
            }
            let node = Node { name: "1".to_owned(), addr: "a:1".to_owned() };
            let admit = Admit { nodes: vec![node] };
            state.apply(99, &Command::new(Action::Admit(admit)));
            let members = ids.iter().skip(2).map(|id| Member {
                raft_id: RaftId(*id),
                node_id: format!("{id}"),
                addr: String::new(),
            });
            let membership = Membership::new(members, ids.iter().take(2).map(|id| RaftId(*id)));
            let decoded = State::decode(state.encode(&membership)).unwrap();
            prop_assert_eq!(decoded, (state, membership));
        }
    }
}
