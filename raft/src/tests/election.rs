//! Elections and replication.

use crate::{
    Role,
    testing::{Group, Seen},
};

#[test]
fn a_founder_leads_at_once_and_alone() {
    let mut group = Group::new(1);
    assert_eq!(group.leader(), 0);
    assert_eq!(group.status(0).role, Role::Leader);
    let tickets = group.propose(0, &["a", "b"]);
    assert_eq!(group.members[0].recorder.entries(), ["a", "b"]);
    let seen = group.members[0].recorder.seen();
    assert_eq!(seen[1..], [Seen::Committed(tickets[0]), Seen::Committed(tickets[1])]);
    let founder = group.members[0].store.recovered().unwrap().entries[0].clone();
    assert_eq!((founder.index, founder.term), (1, 1), "the log begins with the founder");
}

#[test]
fn what_the_leader_commits_is_applied_everywhere_in_order() {
    let mut group = Group::new(3);
    group.propose(0, &["a", "b", "c"]);
    group.tick(2);
    for member in &group.members {
        assert_eq!(member.recorder.entries(), ["a", "b", "c"]);
    }
}

#[test]
fn another_member_leads_after_the_leader_is_silent() {
    let mut group = Group::new(3);
    group.propose(0, &["before"]);
    group.isolate(0);
    group.tick_until("a new leader", |group| group.find_leader().is_some_and(|it| it != 0));
    let leader = group.leader();
    group.propose(leader, &["after"]);
    assert_eq!(group.members[leader].recorder.entries(), ["before", "after"]);
    group.heal();
    group.tick(5);
    assert_eq!(group.status(0).role, Role::Follower);
    assert_eq!(group.members[0].recorder.entries(), ["before", "after"]);
}
