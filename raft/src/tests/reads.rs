//! Read barriers are linearizable.

use crate::{ReadError, core::Answer, testing::Group};

#[test]
fn a_barrier_on_a_follower_covers_what_was_acknowledged_before() {
    let mut group = Group::new(3);
    // The follower has not heard of the commit: that goes out with the next message only.
    group.propose(0, &["a"]);
    let acknowledged = group.status(0).applied_index;
    let answer = group.ask(2, |core, request| core.read(request));
    let Answer::Read(Ok(index)) = answer else { panic!("{answer:?}") };
    assert!(index >= acknowledged);
    assert_eq!(group.members[2].recorder.entries(), ["a"]);
}

#[test]
fn a_leader_that_was_replaced_answers_no_reads() {
    let mut group = Group::new(3);
    group.propose(0, &["old"]);
    group.isolate(0);
    // Before it notices: it is still leader in its own eyes.
    let stale = group.request(0, |core, request| core.read(request));
    group.run();
    assert!(!group.members[0].answers.contains_key(&stale), "it needs a quorum's word");
    group.tick_until("a new leader", |group| group.find_leader().is_some_and(|it| it != 0));
    let leader = group.leader();
    group.propose(leader, &["new"]);
    group.heal();
    for _ in 0..20 {
        group.tick(1);
    }
    match group.members[0].answers.remove(&stale) {
        Some(Answer::Read(Ok(_))) => {
            assert_eq!(group.members[0].recorder.entries(), ["old", "new"]);
        }
        Some(Answer::Read(Err(ReadError::NoLeader))) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn without_a_quorum_a_barrier_fails_in_time() {
    let mut group = Group::new(3);
    group.isolate(0);
    let answer = group.ask(0, |core, request| core.read(request));
    assert_eq!(answer, Answer::Read(Err(ReadError::NoLeader)));
}

#[test]
fn reads_that_come_together_cost_one_round_and_later_ones_wait_for_the_next() {
    let mut group = Group::new(3);
    let first: Vec<_> =
        (0..100).map(|_| group.request(0, |core, request| core.read(request))).collect();
    group.pump(0);
    let messages = group.wire.len();
    assert_eq!(messages, 2, "one question to each follower");
    let late = group.request(0, |core, request| core.read(request));
    group.pump(0);
    assert_eq!(group.wire.len(), messages, "the late one must not use the question under way");
    group.run();
    for request in first.iter().chain([&late]) {
        assert!(matches!(group.members[0].answers[request], Answer::Read(Ok(_))));
    }
}

#[test]
fn a_barrier_on_a_group_of_one_waits_for_nothing_but_its_own_log() {
    let mut group = Group::new(1);
    group.members[0].slow_disk = true;
    group.propose(0, &["under way"]);
    let request = group.request(0, |core, request| core.read(request));
    group.run();
    let answer = group.members[0].answers[&request].clone();
    assert_eq!(answer, Answer::Read(Ok(group.status(0).applied_index)));
    assert!(group.members[0].recorder.entries().is_empty(), "it was not acknowledged");
}
