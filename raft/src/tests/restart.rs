//! What a restart finds.

use crate::{Role, Start, testing::Group};

fn small(config: &mut crate::Config) {
    config.snapshot_entries = 10;
    config.keep_entries = 3;
}

#[test]
fn a_single_member_comes_back_with_everything_it_acknowledged() {
    let mut group = Group::new(1);
    group.propose(0, &["a", "b"]);
    let id = group.id(0);
    group.restart(0, Start::Restart);
    assert_eq!(group.id(0), id);
    assert_eq!(group.leader(), 0, "it need not wait for a silence");
    assert_eq!(group.members[0].recorder.entries(), ["a", "b"]);
    group.propose(0, &["c"]);
    assert_eq!(group.members[0].recorder.entries(), ["a", "b", "c"]);
}

#[test]
fn everybody_restarts_and_everything_is_there() {
    let mut group = Group::with(3, small);
    for n in 0..37 {
        group.propose(0, &[&format!("entry {n}")]);
    }
    group.tick(2);
    let expected = group.members[0].recorder.entries();
    let members = group.status(0).members;
    for place in 0..3 {
        group.restart(place, Start::Restart);
    }
    group.tick_until("a leader", |group| group.find_leader().is_some());
    group.tick(3);
    for place in 0..3 {
        assert_eq!(group.members[place].recorder.entries(), expected);
        assert_eq!(group.status(place).members, members);
    }
}

#[test]
fn a_write_that_was_not_durable_is_lost_and_was_not_acknowledged() {
    let mut group = Group::new(1);
    group.propose(0, &["kept"]);
    group.members[0].slow_disk = true;
    group.propose(0, &["lost"]);
    assert_eq!(group.members[0].recorder.entries(), ["kept"]);
    group.restart(0, Start::Restart);
    assert_eq!(group.members[0].recorder.entries(), ["kept"]);
}

#[test]
fn a_member_restarts_as_follower_and_goes_on() {
    let mut group = Group::new(3);
    group.propose(0, &["a"]);
    group.restart(1, Start::Restart);
    assert_eq!(group.status(1).role, Role::Follower);
    group.propose(0, &["b"]);
    group.tick(3);
    assert_eq!(group.members[1].recorder.entries(), ["a", "b"]);
}

#[test]
fn a_joiner_that_restarts_before_it_has_anything_still_gets_everything() {
    let mut group = Group::new(1);
    group.propose(0, &["a"]);
    group.cut.extend([(0, 1), (1, 0)]);
    group.grow(&|_| {});
    assert_eq!(group.status(1).last_index, 0);
    group.restart(1, Start::Restart);
    group.heal();
    group.tick_until("the log arrives", |group| group.members[1].recorder.entries() == ["a"]);
    assert_eq!(group.status(1).members.len(), 2);
}

#[test]
fn an_idle_member_knows_what_is_committed_after_a_restart() {
    let mut group = Group::new(3);
    group.propose(0, &["a"]);
    group.tick(2);
    for member in &group.members {
        let commit = member.store.recovered().unwrap().hard_state.commit;
        assert_eq!(commit, member.core.status().commit_index);
    }
}

#[test]
fn a_log_that_contradicts_itself_is_refused() {
    let mut group = Group::with(3, small);
    for n in 0..20 {
        group.propose(0, &[&format!("entry {n}")]);
    }
    let (store, config) = (group.members[0].store.clone(), group.members[0].config.clone());
    type Edit = fn(&mut crate::Recovered);
    let edits: [(&str, Edit); 5] = [
        ("committed beyond the end", |disk| disk.hard_state.commit += 1000),
        ("a gap", |disk| drop(disk.entries.remove(2))),
        ("terms go back", |disk| disk.entries.last_mut().unwrap().term = 0),
        ("no snapshot", |disk| disk.snapshot = None),
        ("another term in the snapshot", |disk| {
            disk.snapshot.as_mut().unwrap().meta.term += 7;
        }),
    ];
    let good = store.recovered().unwrap();
    for (what, edit) in edits {
        store.edit(edit);
        let outcome =
            crate::testing::GroupMember::start(config.clone(), Start::Restart, store.clone());
        let refused = matches!(outcome.err(), Some(crate::StartError::Inconsistent(_)));
        assert!(refused, "{what}");
        store.edit(|disk| *disk = good.clone());
    }
}
