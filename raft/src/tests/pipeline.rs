//! What may go out before what is durable, and many writes on their way at once.

use crate::testing::Group;

fn slow(group: &mut Group, places: &[usize]) {
    for place in places {
        group.members[*place].slow_disk = true;
    }
}

#[test]
fn a_leaders_appends_go_out_before_its_own_write_is_done() {
    let mut group = Group::new(3);
    slow(&mut group, &[0]);
    group.propose_only(0, &["a"]);
    group.pump(0);
    assert_eq!(group.members[0].writes.len(), 1, "the leader's write is on its way");
    assert_eq!(group.wire.len(), 2, "and so are the appends to both followers");
    group.run();
    let index = group.status(0).last_index;
    assert_eq!(group.status(0).commit_index, index, "the followers make a quorum");
    assert!(group.members[0].recorder.entries().is_empty(), "applied only once durable here too");
    group.members[0].finish_writes(1);
    group.run();
    assert_eq!(group.members[0].recorder.entries(), ["a"]);
}

#[test]
fn a_follower_does_not_acknowledge_what_is_not_durable() {
    let mut group = Group::new(3);
    slow(&mut group, &[1, 2]);
    group.propose(0, &["a"]);
    let (commit, last) = (group.status(0).commit_index, group.status(0).last_index);
    assert_eq!(commit + 1, last, "no quorum yet, though both followers have the entry");
    group.members[1].finish_writes(1);
    group.run();
    assert_eq!(group.status(0).commit_index, last);
    assert_eq!(group.members[0].recorder.entries(), ["a"]);
}

#[test]
fn a_vote_is_not_cast_before_it_is_durable() {
    let mut group = Group::new(3);
    group.isolate(0);
    slow(&mut group, &[1, 2]);
    group.tick(60);
    assert!(group.find_leader().is_none_or(|leader| leader == 0), "nobody can have won");
    for place in [1, 2] {
        group.members[place].slow_disk = false;
        group.members[place].finish_all_writes();
    }
    group.tick_until("a leader", |group| group.find_leader().is_some_and(|it| it != 0));
}

#[test]
fn many_writes_may_be_under_way_and_be_reported_together_or_late() {
    let mut group = Group::new(3);
    slow(&mut group, &[0, 1, 2]);
    let mut texts = Vec::new();
    for round in 0..10 {
        let text = format!("entry {round}");
        group.propose(0, &[&text]);
        texts.push(text);
    }
    assert!(group.members[0].writes.len() >= 10);
    let first = group.members[1].writes[0].number;
    group.members[1].finish_all_writes();
    // A report of something older than what was reported already changes nothing.
    group.members[1].core.persisted(first);
    group.run();
    assert!(group.members[0].recorder.entries().is_empty());
    group.members[0].finish_writes(3);
    group.run();
    assert_eq!(group.members[0].recorder.entries(), texts[..3]);
    group.members[0].finish_all_writes();
    group.run();
    assert_eq!(group.members[0].recorder.entries(), texts);
    group.members[2].finish_all_writes();
    group.tick(1);
    for member in &group.members {
        let applied = member.recorder.entries();
        assert_eq!(applied, texts[..applied.len()]);
    }
}

#[test]
fn a_stalled_disk_bounds_what_is_under_way_and_costs_leadership() {
    let mut group = Group::new(3);
    slow(&mut group, &[0]);
    for round in 0..200 {
        group.propose(0, &[&format!("entry {round}")]);
    }
    assert!(group.members[0].writes.len() <= crate::core::WRITES_IN_FLIGHT_MAX);
    group.tick_until("another leader", |group| group.find_leader().is_some_and(|it| it != 0));
    group.members[0].slow_disk = false;
    group.members[0].finish_all_writes();
    group.tick(20);
    let leader = group.leader();
    let expected = group.members[leader].recorder.entries();
    assert_eq!(group.members[0].recorder.entries(), expected);
}

#[test]
fn a_divergent_tail_is_replaced_while_its_writes_are_still_under_way() {
    let mut group = Group::new(3);
    group.propose(0, &["common"]);
    group.tick(2);
    group.isolate(0);
    slow(&mut group, &[0]);
    group.propose(0, &["lost 1", "lost 2", "lost 3"]);
    group.tick_until("a new leader", |group| group.find_leader().is_some_and(|it| it != 0));
    let leader = group.leader();
    group.propose(leader, &["kept"]);
    group.heal();
    group.tick(5);
    group.members[0].slow_disk = false;
    group.members[0].finish_all_writes();
    group.tick(5);
    assert_eq!(group.members[0].recorder.entries(), ["common", "kept"]);
    let disk = group.members[0].store.recovered().unwrap();
    assert!(disk.entries.iter().all(|entry| !entry.data.starts_with(b"lost")));
}

#[test]
fn one_history_per_seed() {
    let history = || {
        let mut group = Group::new(3);
        group.isolate(0);
        group.tick_until("a new leader", |group| group.find_leader().is_some_and(|it| it != 0));
        let leader = group.leader();
        let terms: Vec<_> = (0..3).map(|place| group.status(place).term).collect();
        (leader, terms, group.id(0), group.id(1), group.id(2))
    };
    assert_eq!(history(), history());
}
