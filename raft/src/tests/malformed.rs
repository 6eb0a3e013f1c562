//! No message of a peer, however malformed, may end the process or change what it must not.

use bytes::Bytes;
use proptest::prelude::*;
use skep_proto::raftpb::{
    ConfState, Entry, EntryType, Message, MessageType, Snapshot, SnapshotMetadata,
};

use crate::{
    RaftId,
    door::{self, Verdict},
    testing::Group,
};

fn message(kind: MessageType) -> Message {
    Message {
        r#type: Some(kind as i32),
        to: Some(1),
        from: Some(2),
        term: Some(5),
        ..Default::default()
    }
}

fn entry(index: u64, term: u64) -> Entry {
    Entry { index: Some(index), term: Some(term), ..Default::default() }
}

fn append(index: u64, log_term: u64, entries: Vec<Entry>) -> Message {
    Message {
        index: Some(index),
        log_term: Some(log_term),
        entries,
        ..message(MessageType::MsgApp)
    }
}

fn snapshot(index: u64, term: u64, conf_state: ConfState) -> Message {
    let metadata =
        SnapshotMetadata { conf_state: Some(conf_state), index: Some(index), term: Some(term) };
    let snapshot = Snapshot { data: None, metadata: Some(metadata) };
    Message { snapshot: Some(snapshot), ..message(MessageType::MsgSnap) }
}

fn voters(voters: &[u64]) -> ConfState {
    ConfState { voters: voters.to_vec(), ..Default::default() }
}

#[test]
fn what_no_healthy_peer_sends_is_refused_at_the_door() {
    let conf_change = |data: &'static [u8]| Entry {
        r#type: Some(EntryType::EntryConfChange as i32),
        data: Some(Bytes::from_static(data)),
        ..entry(8, 5)
    };
    let odd_entry = Entry { r#type: Some(9), ..entry(8, 5) };
    let learners = ConfState { learners: vec![3], ..voters(&[1, 2]) };
    let joint = ConfState { voters_outgoing: vec![1], ..voters(&[1, 2]) };
    let huge = Bytes::from(vec![0; 17 * 1024 * 1024]);
    let large_entry = Entry { data: Some(huge.clone()), ..entry(8, 5) };
    let read = |entries| Message { entries, ..message(MessageType::MsgReadIndex) };
    let table = [
        ("an unknown type", Message { r#type: Some(77), ..message(MessageType::MsgApp) }),
        ("a local type", message(MessageType::MsgHup)),
        ("a local type", message(MessageType::MsgUnreachable)),
        ("a storage type", message(MessageType::MsgStorageAppend)),
        ("forget the leader", message(MessageType::MsgForgetLeader)),
        ("transfer by a peer", message(MessageType::MsgTransferLeader)),
        ("no sender", Message { from: None, ..message(MessageType::MsgHeartbeat) }),
        ("from itself", Message { from: Some(1), ..message(MessageType::MsgHeartbeat) }),
        ("no term", Message { term: None, ..message(MessageType::MsgHeartbeat) }),
        ("a term near the end", Message { term: Some(u64::MAX), ..message(MessageType::MsgVote) }),
        (
            "a commit near the end",
            Message { commit: Some(u64::MAX), ..message(MessageType::MsgHeartbeat) },
        ),
        (
            "a hint near the end",
            Message {
                reject: Some(true),
                reject_hint: Some(u64::MAX),
                ..message(MessageType::MsgAppResp)
            },
        ),
        ("a long context", Message { context: Some(huge), ..message(MessageType::MsgHeartbeat) }),
        (
            "inner messages",
            Message {
                responses: vec![message(MessageType::MsgHup)],
                ..message(MessageType::MsgHeartbeat)
            },
        ),
        (
            "a heartbeat with entries",
            Message { entries: vec![entry(8, 5)], ..message(MessageType::MsgHeartbeat) },
        ),
        ("an index without a term", append(7, 0, vec![])),
        ("a term without an index", append(0, 3, vec![])),
        ("a previous term after the message's", append(7, 6, vec![])),
        ("a gap before the first entry", append(7, 5, vec![entry(9, 5)])),
        ("a gap", append(7, 5, vec![entry(8, 5), entry(10, 5)])),
        ("the same index twice", append(7, 5, vec![entry(8, 5), entry(8, 5)])),
        ("a term that goes back", append(7, 4, vec![entry(8, 5), entry(9, 4)])),
        ("an entry of the future", append(7, 5, vec![entry(8, 6)])),
        ("an entry without a term", append(0, 0, vec![entry(1, 0)])),
        ("an odd entry", append(7, 5, vec![odd_entry])),
        ("a conf change that is none", append(7, 5, vec![conf_change(b"\xff\xff")])),
        ("too large entries", append(7, 5, vec![large_entry])),
        ("a snapshot that is none", message(MessageType::MsgSnap)),
        ("a snapshot of nothing", snapshot(0, 5, voters(&[1, 2]))),
        ("a snapshot without a term", snapshot(9, 0, voters(&[1, 2]))),
        ("a snapshot of the future", snapshot(9, 6, voters(&[1, 2]))),
        ("a snapshot without voters", snapshot(9, 5, voters(&[]))),
        ("a voter without an id", snapshot(9, 5, voters(&[0, 1]))),
        ("a voter twice", snapshot(9, 5, voters(&[1, 1]))),
        ("learners", snapshot(9, 5, learners)),
        ("joint consensus", snapshot(9, 5, joint)),
        ("a read without a name", read(vec![])),
        ("a read with an empty name", read(vec![entry(0, 0)])),
    ];
    for (what, message) in table {
        assert!(door::check(message, RaftId(1)).is_err(), "{what}");
    }
}

#[test]
fn what_is_of_no_concern_here_is_dropped() {
    let elsewhere = Message { to: Some(3), ..message(MessageType::MsgHeartbeat) };
    let forwarded = Message { entries: vec![entry(0, 0)], ..message(MessageType::MsgProp) };
    for message in [elsewhere, forwarded] {
        assert!(matches!(door::check(message, RaftId(1)), Ok(Verdict::Drop)));
    }
}

/// A message from one member of a group to another, as if on the wire.
fn inject(group: &mut Group, from: usize, to: usize, message: Message) -> bool {
    let (from, to_id) = (group.id(from), group.id(to));
    let message = Message { from: Some(from.0), to: Some(to_id.0), ..message };
    let taken = match door::check(message, to_id) {
        Ok(Verdict::Take(message)) => {
            group.members[to].core.step(message);
            true
        }
        _ => false,
    };
    group.run();
    taken
}

#[test]
fn what_contradicts_the_log_is_refused_by_the_core() {
    let mut group = Group::new(3);
    group.propose(0, &["a", "b"]);
    group.tick(2);
    let term = group.status(0).term;
    let last = group.status(0).last_index;
    let here = |message: Message| Message { term: Some(term), ..message };
    let ahead = |kind| here(Message { index: Some(last + 100), ..message(kind) });
    let table = [
        (0, 1, here(Message { commit: Some(last + 100), ..message(MessageType::MsgHeartbeat) })),
        (1, 0, ahead(MessageType::MsgAppResp)),
        (2, 1, here(message(MessageType::MsgTimeoutNow))),
        (1, 2, here(message(MessageType::MsgVoteResp))),
    ];
    for (from, to, message) in table {
        inject(&mut group, from, to, message);
    }
    group.tick(3);
    assert_eq!((group.leader(), group.status(0).term), (0, term), "nothing has changed");
    group.propose(0, &["c"]);
    group.tick(2);
    for member in &group.members {
        assert_eq!(member.recorder.entries(), ["a", "b", "c"]);
    }
}

fn any_message() -> impl Strategy<Value = Message> {
    let number = || prop_oneof![0..12u64, Just(u64::MAX), Just(1 << 62), any::<u64>()];
    let entries = proptest::collection::vec((0..12u64, 0..6u64, 0..4i32), 0..4);
    let entries = entries.prop_map(|entries| {
        let entry = |(index, term, kind)| Entry { r#type: Some(kind), ..entry(index, term) };
        entries.into_iter().map(entry).collect::<Vec<_>>()
    });
    let numbers = (number(), number(), number(), number(), number());
    (0..24i32, numbers, entries, any::<bool>(), any::<bool>()).prop_map(
        |(kind, (term, log_term, index, commit, hint), entries, reject, contiguous)| {
            let mut entries = entries;
            if contiguous {
                for (entry, offset) in entries.iter_mut().zip(1..) {
                    entry.index = Some(index.saturating_add(offset));
                }
            }
            let conf = ConfState { voters: vec![hint, term], ..Default::default() };
            let with_snapshot = snapshot(index, log_term, conf);
            Message {
                r#type: Some(kind),
                term: Some(term),
                log_term: Some(log_term),
                index: Some(index),
                commit: Some(commit),
                reject: Some(reject),
                reject_hint: Some(hint),
                entries,
                snapshot: with_snapshot.snapshot,
                context: reject.then(|| Bytes::from_static(b"CampaignTransfer")),
                ..Default::default()
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..Default::default() })]

    /// A hostile member can say what it likes: the process lives. (Whether the group lives is another matter: raft
    /// does not withstand traitors.)
    #[test]
    fn any_messages_at_all_do_not_panic(
        messages in proptest::collection::vec((0..3usize, 0..3usize, any_message()), 1..12),
        slow in any::<bool>(),
    ) {
        let mut group = Group::new(3);
        group.propose(0, &["a", "b"]);
        group.members[1].slow_disk = slow;
        for (from, to, message) in messages {
            if from != to {
                inject(&mut group, from, to, message);
            }
        }
        group.tick(3);
        group.members[1].finish_all_writes();
        group.run();
    }
}
