//! Conf changes as a stock Docker Engine 20.10.24 wrote them: what they mean, and the same bytes again.

use bytes::Bytes;
use prost::Message as _;
use raft::eraftpb;
use skep_proto::raftpb;

use crate::{Member, RaftId, conf_change::ConfChange, wire};

const RECORDED: &str = include_str!("../../tests/fixtures/docker-20.10-conf-changes.txt");

fn recorded() -> Vec<(u64, u64, Bytes)> {
    let parse = |line: &str| {
        let [index, term, hex] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let digits = |at: usize| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        let data: Vec<u8> = (0..hex.len()).step_by(2).map(digits).collect();
        (index.parse().unwrap(), term.parse().unwrap(), data.into())
    };
    RECORDED.lines().map(parse).collect()
}

#[test]
fn the_three_managers_are_read_and_written_again_byte_for_byte() {
    let recorded = recorded();
    assert_eq!(recorded.len(), 3);
    assert_eq!(recorded[0].0, 1, "the log begins with the founder");
    for (_, _, data) in recorded {
        let ConfChange::Add(member) = ConfChange::decode(&data).unwrap() else { panic!() };
        assert_eq!(member.node_id.len(), 25);
        assert!(member.addr.ends_with(":2377"));
        let id = raftpb::ConfChange::decode(data.clone()).unwrap().id();
        assert_eq!(ConfChange::Add(member).encode(id), data);
    }
}

#[test]
fn they_pass_through_the_librarys_dialect_unchanged() {
    for (index, term, data) in recorded() {
        let entry = raftpb::Entry {
            r#type: Some(raftpb::EntryType::EntryConfChange as i32),
            term: Some(term),
            index: Some(index),
            data: Some(data),
        };
        let message = raftpb::Message {
            r#type: Some(raftpb::MessageType::MsgApp as i32),
            to: Some(1),
            from: Some(2),
            term: Some(term),
            log_term: Some(0),
            index: Some(0),
            commit: Some(1),
            reject: Some(false),
            reject_hint: Some(0),
            entries: vec![entry],
            ..Default::default()
        };
        let there = wire::message_from_wire(message.clone()).unwrap();
        assert_eq!(wire::message_to_wire(there).encode_to_vec(), message.encode_to_vec());
    }
}

#[test]
fn an_address_change_never_reaches_the_library_as_what_it_would_take_it_for() {
    let member =
        Member { raft_id: RaftId(3), node_id: "n".to_owned(), addr: "10.0.0.3:2377".to_owned() };
    let update = ConfChange::Update(member);
    let data = update.encode(1);
    let on_the_wire = raftpb::ConfChange::decode(data.clone()).unwrap();
    assert_eq!(on_the_wire.r#type(), raftpb::ConfChangeType::ConfChangeUpdateNode);
    assert_eq!(ConfChange::decode(&data), Some(update.clone()));
    let to_the_library = update.to_raft();
    assert_eq!(to_the_library.get_change_type(), eraftpb::ConfChangeType::AddNode);
    assert_eq!(to_the_library.node_id, raft::INVALID_ID, "which the library ignores");
}
