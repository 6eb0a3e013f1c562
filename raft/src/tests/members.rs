//! Joining, leaving, moving, being removed.

use crate::{
    Joined, Member, MembershipError, ProbeError, RaftId, Start, StopReason,
    core::Answer,
    testing::{Group, GroupMember, MemStore},
};

fn join(
    group: &mut Group,
    place: usize,
    node_id: &str,
    addr: &str,
) -> Result<Joined, MembershipError> {
    let (node_id, addr) = (node_id.to_owned(), addr.to_owned());
    match group.ask(place, |core, request| core.join(request, node_id, addr)) {
        Answer::Join(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

fn remove(group: &mut Group, place: usize, raft_id: RaftId) -> Result<(), MembershipError> {
    match group.ask(place, |core, request| core.remove(request, raft_id)) {
        Answer::Remove(outcome) => outcome,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_joiner_learns_of_everybody_from_the_log() {
    let group = Group::new(3);
    let members = group.status(0).members;
    assert_eq!(members.len(), 3);
    for place in 0..3 {
        assert_eq!(group.status(place).members, members);
        assert!(group.id(place).0 > 0 && group.id(place).0 < 1 << 63);
    }
}

#[test]
fn the_same_node_gets_its_id_again_and_may_move() {
    let mut group = Group::new(3);
    let id = group.id(1);
    let last = group.status(0).last_index;
    assert_eq!(join(&mut group, 0, "node1", "10.0.0.1:2377").unwrap().raft_id, id);
    assert_eq!(group.status(0).last_index, last, "nothing had to change");
    let joined = join(&mut group, 0, "node1", "10.9.9.9:2377").unwrap();
    assert_eq!((joined.raft_id, joined.members.len()), (id, 3));
    group.tick(2);
    for place in 0..3 {
        assert_eq!(group.status(place).members.get(id).unwrap().addr, "10.9.9.9:2377");
        let voters = group.members[place].core.status().members.len();
        assert_eq!(voters, 3, "an address change leaves the voters alone");
    }
    group.isolate(2);
    group.propose(0, &["with two of three"]);
    assert_eq!(group.members[0].recorder.entries(), ["with two of three"]);
}

#[test]
fn who_cannot_be_reached_is_not_admitted_and_leaves_nothing_behind() {
    let mut group = Group::new(1);
    group.unhealthy.insert("nowhere:1".to_owned());
    let last = group.status(0).last_index;
    let source = ProbeError("connection refused".to_owned());
    let error = MembershipError::Unhealthy { addr: "nowhere:1".to_owned(), source };
    assert_eq!(join(&mut group, 0, "node1", "nowhere:1"), Err(error));
    assert_eq!(group.status(0).last_index, last);
}

#[test]
fn only_the_leader_changes_the_membership() {
    let mut group = Group::new(3);
    let id = group.id(2);
    assert_eq!(join(&mut group, 1, "x", "x:1"), Err(MembershipError::NotLeader));
    assert_eq!(remove(&mut group, 1, id), Err(MembershipError::NotLeader));
}

#[test]
fn changes_wait_for_their_turn() {
    let mut group = Group::new(1);
    let requests: Vec<_> = (1..4)
        .map(|n| {
            group.request(0, |core, request| core.join(request, format!("n{n}"), format!("n{n}:1")))
        })
        .collect();
    group.run();
    // The first is admitted; the second has to wait for the first new member to be there.
    let first = group.members[0].answers.remove(&requests[0]).unwrap();
    assert!(matches!(first, Answer::Join(Ok(_))), "{first:?}");
    assert!(!group.members[0].answers.contains_key(&requests[1]));
    assert_eq!(group.status(0).members.len(), 2);
    // It never comes, so the group of two has lost its quorum, and with it its leader.
    group.tick(200);
    for request in &requests[1..] {
        let answer = group.members[0].answers.remove(request).unwrap();
        assert!(matches!(answer, Answer::Join(Err(_))), "{answer:?}");
    }
}

#[test]
fn too_many_changes_at_once_are_refused() {
    let mut group = Group::new(1);
    let requests: Vec<_> = (0..40)
        .map(|n| {
            group.request(0, |core, request| core.join(request, format!("n{n}"), format!("n{n}:1")))
        })
        .collect();
    group.run();
    let refused = requests.iter().filter(|request| {
        let answer = group.members[0].answers.get(request);
        answer == Some(&Answer::Join(Err(MembershipError::ChangeInProgress)))
    });
    assert_eq!(refused.count(), 24, "16 wait, the rest is told at once");
}

#[test]
fn a_removed_member_is_gone_for_ever() {
    let mut group = Group::new(3);
    let id = group.id(2);
    remove(&mut group, 0, id).unwrap();
    group.tick(2);
    assert!(matches!(group.members[2].ended, Some(StopReason::Removed)));
    for place in 0..2 {
        assert_eq!(group.status(place).members.len(), 2);
        assert!(group.status(place).members.is_removed(id));
    }
    assert_eq!(remove(&mut group, 0, id), Err(MembershipError::Unknown(id)));
    // The node may come back, under another id.
    let again = join(&mut group, 0, "node2", "10.0.0.2:2377").unwrap();
    assert_ne!(again.raft_id, id);
}

#[test]
fn a_removal_that_may_lose_the_quorum_is_refused_with_the_numbers() {
    let mut group = Group::new(3);
    group.isolate(2);
    group.tick(15);
    let id = group.id(1);
    let error = MembershipError::QuorumLoss { reachable: 1, remaining: 2, needed: 2 };
    assert_eq!(remove(&mut group, 0, id), Err(error.clone()));
    assert!(error.to_string().starts_with(
        "raft: member cannot be removed, because removing it may result in loss of quorum"
    ));
    // The one that cannot be reached may go.
    let id = group.id(2);
    remove(&mut group, 0, id).unwrap();
    // The last one never can.
    let id = group.id(1);
    remove(&mut group, 0, id).unwrap();
    let own = group.id(0);
    let error = MembershipError::QuorumLoss { reachable: 0, remaining: 0, needed: 1 };
    assert_eq!(remove(&mut group, 0, own), Err(error));
}

#[test]
fn when_the_leader_is_removed_the_others_elect_at_once() {
    let mut group = Group::new(3);
    let id = group.id(0);
    remove(&mut group, 0, id).unwrap();
    assert!(matches!(group.members[0].ended, Some(StopReason::Removed)));
    group.tick(1);
    assert!(group.find_leader().is_some(), "without waiting for a silence");
}

#[test]
fn a_removed_member_that_restarts_knows_that_it_was_removed() {
    let mut group = Group::new(3);
    let id = group.id(2);
    remove(&mut group, 0, id).unwrap();
    let store = group.members[2].store.clone();
    let config = group.members[2].config.clone();
    let mut back = GroupMember::start(config, Start::Restart, store).unwrap();
    let events = back.core.ready().events;
    let removed = |event: &_| matches!(event, crate::core::Event::Ended(StopReason::Removed));
    assert!(events.iter().any(removed), "it knows without asking anybody");
}

#[test]
fn founding_and_joining_need_an_empty_log() {
    let group = Group::new(1);
    let store = group.members[0].store.clone();
    let config = group.members[0].config.clone();
    let own = Member { raft_id: RaftId(9), node_id: "n".into(), addr: "n:1".into() };
    for start in [
        Start::Bootstrap { node_id: "n".into(), addr: "n:1".into() },
        Start::Join { own, members: vec![] },
    ] {
        let outcome = GroupMember::start(config.clone(), start, store.clone());
        assert!(matches!(outcome.err(), Some(crate::StartError::NotEmpty { .. })));
    }
    let outcome = GroupMember::start(config, Start::Restart, MemStore::default());
    assert!(matches!(outcome.err(), Some(crate::StartError::Empty)));
}
