//! Starting anew alone, when the quorum is lost for good.

use crate::{Start, testing::Group};

fn anew(group: &mut Group, place: usize) {
    group.isolate(place);
    group.restart(place, Start::ForceNewCluster { addr: "10.7.7.7:2377".into() });
    group.tick(1);
}

#[test]
fn the_others_are_removed_for_ever_and_the_one_left_leads() {
    let mut group = Group::new(3);
    group.propose(0, &["a"]);
    group.tick(2);
    let ids: Vec<_> = (0..3).map(|place| group.id(place)).collect();
    anew(&mut group, 1);
    assert_eq!(group.leader(), 1);
    let status = group.status(1);
    assert_eq!(status.own, ids[1], "it keeps its raft id");
    assert_eq!(status.members.members().map(|it| it.raft_id).collect::<Vec<_>>(), [ids[1]]);
    assert_eq!(status.members.get(ids[1]).unwrap().addr, "10.7.7.7:2377");
    assert!(status.members.is_removed(ids[0]) && status.members.is_removed(ids[2]));
    assert_eq!(group.members[1].recorder.entries(), ["a"]);
    group.propose(1, &["b"]);
    group.restart(1, Start::Restart);
    assert_eq!(group.members[1].recorder.entries(), ["a", "b"]);
}

#[test]
fn what_was_not_known_to_be_committed_goes() {
    let mut group = Group::new(3);
    group.propose(0, &["a"]);
    group.tick(2);
    group.isolate(0);
    group.propose(0, &["in doubt"]);
    anew(&mut group, 0);
    assert_eq!(group.members[0].recorder.entries(), ["a"]);
}

#[test]
fn from_a_snapshot() {
    let mut group = Group::with(3, |config| {
        config.snapshot_entries = 5;
        config.keep_entries = 0;
    });
    for n in 0..23 {
        group.propose(0, &[&format!("entry {n}")]);
    }
    group.tick(2);
    anew(&mut group, 2);
    assert_eq!(group.leader(), 2);
    assert_eq!(group.members[2].recorder.entries().len(), 23);
    assert_eq!(group.status(2).members.len(), 1);
}

#[test]
fn a_group_of_one_may_do_it_too() {
    let mut group = Group::new(1);
    group.propose(0, &["a"]);
    group.tick(1);
    anew(&mut group, 0);
    assert_eq!(group.leader(), 0);
    assert_eq!(group.members[0].recorder.entries(), ["a"]);
}
