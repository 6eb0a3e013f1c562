//! Handing leadership over.

use crate::{
    RaftId, TransferError,
    core::Answer,
    testing::{Group, Seen},
};

fn transfer(group: &mut Group, place: usize, to: Option<RaftId>) -> Result<RaftId, TransferError> {
    match group.ask(place, |core, request| core.transfer_to(request, to)) {
        Answer::Transfer(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn leadership_goes_to_the_member_named_without_a_tick() {
    let mut group = Group::new(3);
    let to = group.id(2);
    let request = group.request(0, |core, request| core.transfer_to(request, Some(to)));
    group.run();
    assert_eq!(group.members[0].answers[&request], Answer::Transfer(Ok(to)));
    assert_eq!(group.leader(), 2);
    group.propose(2, &["from the new leader"]);
    assert_eq!(group.members[2].recorder.entries(), ["from the new leader"]);
}

#[test]
fn what_is_under_way_commits_first() {
    let mut group = Group::new(3);
    group.members[0].recorder.take_seen();
    let tickets = group.propose_only(0, &["a", "b"]);
    assert!(transfer(&mut group, 0, None).is_ok());
    assert_eq!(
        group.members[0].recorder.seen(),
        [Seen::Committed(tickets[0]), Seen::Committed(tickets[1]), Seen::Following]
    );
}

#[test]
fn the_one_furthest_along_is_chosen() {
    let mut group = Group::new(3);
    group.cut.extend([(0, 1), (1, 0)]);
    group.propose(0, &["a"]);
    group.heal();
    assert_eq!(transfer(&mut group, 0, None), Ok(group.id(2)));
}

#[test]
fn nobody_to_hand_over_to() {
    let mut group = Group::new(1);
    assert_eq!(transfer(&mut group, 0, None), Err(TransferError::NoTarget));
    let mut group = Group::new(3);
    let stranger = RaftId(77);
    assert_eq!(transfer(&mut group, 0, Some(stranger)), Err(TransferError::BadTarget(stranger)));
    assert_eq!(transfer(&mut group, 1, None), Err(TransferError::NotLeader));
}

#[test]
fn a_successor_that_does_not_take_over_leaves_the_leader_in_place() {
    let mut group = Group::new(3);
    group.cut.insert((0, 2));
    let to = group.id(2);
    assert_eq!(transfer(&mut group, 0, Some(to)), Err(TransferError::TimedOut(to)));
    group.heal();
    group.tick(40);
    let leader = group.leader();
    group.propose(leader, &["goes on"]);
    assert_eq!(group.members[leader].recorder.entries(), ["goes on"]);
}
