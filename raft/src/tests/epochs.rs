//! Epochs: what commits of an epoch is a prefix of what was proposed under it.

use bytes::Bytes;

use crate::{
    PROPOSAL_BYTES_MAX, Refusal, Ticket,
    testing::{Group, Seen},
};

fn clear(group: &Group) {
    for member in &group.members {
        member.recorder.take_seen();
    }
}

#[test]
fn a_refused_proposal_takes_everything_after_it_along() {
    let mut group = Group::new(3);
    clear(&group);
    let before = group.members[0].core.epoch().unwrap();
    let large = Bytes::from(vec![0; PROPOSAL_BYTES_MAX + 1]);
    let small = Bytes::from_static(b"x");
    group.members[0].core.propose([
        (Ticket(1), small.clone()),
        (Ticket(2), large.clone()),
        (Ticket(3), small),
    ]);
    group.run();
    let after = group.members[0].core.epoch().unwrap();
    assert_ne!(before, after);
    let too_large = Refusal::TooLarge { bytes: large.len(), bytes_max: PROPOSAL_BYTES_MAX };
    assert_eq!(
        group.members[0].recorder.seen(),
        [
            Seen::Refused(Ticket(2), too_large),
            Seen::Refused(Ticket(3), Refusal::StaleEpoch),
            Seen::Committed(Ticket(1)),
            // Only now: nothing of the old epoch is under way any more.
            Seen::Leading(after),
        ]
    );
    assert_eq!(too_large.to_string(), "raft: raft message is too large and can't be sent");
}

#[test]
fn what_is_uncommitted_is_bounded() {
    let mut group = Group::with(3, |config| config.uncommitted_bytes_max = 100_000);
    clear(&group);
    group.isolate(0);
    let half = Bytes::from(vec![b'x'; 60_000]);
    let core = &mut group.members[0].core;
    core.propose([(Ticket(1), half.clone()), (Ticket(2), half.clone()), (Ticket(3), half)]);
    group.run();
    assert_eq!(
        group.members[0].recorder.take_seen(),
        [Seen::Refused(Ticket(2), Refusal::Busy), Seen::Refused(Ticket(3), Refusal::StaleEpoch)]
    );
    group.heal();
    group.tick(3);
    let seen = group.members[0].recorder.seen();
    assert_eq!(seen[0], Seen::Committed(Ticket(1)));
    assert!(matches!(seen[1], Seen::Leading(_)));
}

#[test]
fn a_follower_refuses() {
    let mut group = Group::new(3);
    clear(&group);
    let tickets = group.propose(1, &["a", "b"]);
    let refused = |ticket| Seen::Refused(ticket, Refusal::NotLeader);
    assert_eq!(
        group.members[1].recorder.seen(),
        [refused(tickets[0]), refused(tickets[1])],
        "proposals are not forwarded"
    );
}

#[test]
fn what_was_under_way_when_leadership_was_lost_has_an_unknown_outcome() {
    let mut group = Group::new(3);
    // The followers get the entry, but the leader does not hear of it.
    group.cut.extend([(1, 0), (2, 0)]);
    clear(&group);
    group.propose(0, &["in doubt"]);
    group.tick_until("a new leader", |group| group.find_leader().is_some_and(|it| it != 0));
    group.heal();
    group.tick(10);
    assert_eq!(group.members[0].recorder.seen(), [Seen::Following], "no ticket comes back");
    assert_eq!(group.members[0].recorder.entries(), ["in doubt"], "but the entry may commit");
}

#[test]
fn a_new_leader_acts_only_once_it_is_caught_up() {
    let mut group = Group::new(3);
    group.propose(0, &["a"]);
    group.isolate(0);
    // The next leader cannot commit anything of its own term while the disks are slow.
    group.tick_until("a new leader", |group| {
        (1..3).any(|place| group.members[place].core.is_leader())
    });
    let leader = (1..3).find(|place| group.members[*place].core.is_leader()).unwrap();
    let status = group.status(leader);
    assert_eq!(status.leads(), status.applied_index == status.last_index);
    group.tick(2);
    assert!(group.status(leader).leads());
    assert_eq!(group.members[leader].recorder.entries(), ["a"]);
}

#[test]
fn closing_refuses_and_opens_no_epoch_any_more() {
    let mut group = Group::new(1);
    clear(&group);
    group.members[0].core.close();
    let tickets = group.propose(0, &["a"]);
    group.tick(3);
    assert_eq!(group.members[0].recorder.seen(), [Seen::Refused(tickets[0], Refusal::StaleEpoch)]);
}
