//! Snapshots, compaction, and catching up by them.

use crate::testing::{Group, Seen};

fn small(config: &mut crate::Config) {
    config.snapshot_entries = 10;
    config.keep_entries = 3;
}

fn write(group: &mut Group, from: usize, count: usize) {
    let leader = group.leader();
    for n in from..from + count {
        group.propose(leader, &[&format!("entry {n}")]);
    }
}

/// Nothing is kept in the log for a member that has been silent for a while.
fn away(group: &mut Group, place: usize) {
    group.isolate(place);
    group.tick(25);
}

#[test]
fn the_log_is_compacted_behind_a_snapshot() {
    let mut group = Group::with(1, small);
    write(&mut group, 0, 25);
    let status = group.status(0);
    assert!(status.snapshot_index >= 20, "{status:?}");
    assert_eq!(status.first_index, status.snapshot_index - 3 + 1);
    let disk = group.members[0].store.recovered().unwrap();
    assert_eq!(disk.entries.first().unwrap().index, status.first_index);
    assert_eq!(disk.snapshot.unwrap().meta.index, status.snapshot_index);
}

#[test]
fn bytes_also_make_a_snapshot_due() {
    let mut group = Group::with(1, |config| config.snapshot_bytes = 1000);
    let text = "x".repeat(400);
    group.propose(0, &[&text, &text, &text]);
    assert!(group.status(0).snapshot_index > 0);
}

#[test]
fn large_entries_before_a_snapshot_do_not_stay_in_the_log() {
    let mut group = Group::with(1, |config| {
        config.snapshot_bytes = 4000;
        config.keep_bytes = 1000;
    });
    let text = "x".repeat(400);
    for _ in 0..12 {
        group.propose(0, &[&text]);
    }
    let status = group.status(0);
    assert!(status.snapshot_index > 0, "{status:?}");
    assert_eq!(status.snapshot_index - status.first_index + 1, 2, "two of them have room");
}

/// The recorder's snapshot holds everything that was ever written.
#[test]
fn a_large_snapshot_is_not_taken_again_for_a_few_small_entries() {
    let mut group = Group::with(1, small);
    let text = "x".repeat(4000);
    group.propose(0, &[&text]);
    write(&mut group, 0, 12);
    let taken = group.status(0).snapshot_index;
    assert!(taken > 0);
    write(&mut group, 12, 50);
    assert_eq!(group.status(0).snapshot_index, taken);
    let text = "x".repeat(2000);
    group.propose(0, &[&text]);
    assert!(group.status(0).snapshot_index > taken);
}

#[test]
fn a_member_that_was_away_for_long_catches_up_by_snapshot() {
    let mut group = Group::with(3, small);
    away(&mut group, 2);
    write(&mut group, 0, 50);
    group.members[2].recorder.take_seen();
    group.heal();
    group.tick(15);
    assert!(matches!(group.members[2].recorder.seen()[..], [Seen::Restored(_), ..]));
    assert_eq!(group.members[2].recorder.entries(), group.members[0].recorder.entries());
    assert_eq!(group.status(2).members, group.status(0).members);
    write(&mut group, 50, 5);
    group.tick(2);
    assert_eq!(group.members[2].recorder.entries().len(), 55);
}

#[test]
fn a_joiner_that_the_snapshot_does_not_know_is_brought_up_by_it_all_the_same() {
    let mut group = Group::with(1, small);
    write(&mut group, 0, 29);
    assert!(group.status(0).snapshot_index > 0);
    group.grow(&small);
    group.grow(&small);
    group.tick(5);
    for place in 1..3 {
        assert_eq!(group.members[place].recorder.entries().len(), 29);
        assert_eq!(group.status(place).members.len(), 3);
    }
    group.isolate(0);
    group.tick_until("a new leader", |group| group.find_leader().is_some_and(|it| it != 0));
}

#[test]
fn nothing_happens_between_a_snapshots_arrival_and_its_being_durable() {
    let mut group = Group::with(3, small);
    away(&mut group, 2);
    write(&mut group, 0, 50);
    group.members[2].slow_disk = true;
    group.heal();
    group.tick(60);
    assert!(group.status(2).applied_index < group.status(2).commit_index);
    group.members[2].slow_disk = false;
    group.members[2].finish_all_writes();
    group.tick(20);
    assert_eq!(group.members[2].recorder.entries().len(), 50);
    let disk = group.members[2].store.recovered().unwrap();
    assert!(disk.snapshot.is_some());
}

#[test]
fn a_member_that_streams_along_is_not_cut_off_by_a_compaction() {
    let mut group = Group::with(3, small);
    group.isolate(2);
    write(&mut group, 0, 50);
    group.members[2].recorder.take_seen();
    group.heal();
    group.tick(5);
    assert_eq!(group.members[2].recorder.entries().len(), 50);
    let restored = |seen: &Seen| matches!(seen, Seen::Restored(_));
    assert!(!group.members[2].recorder.seen().iter().any(restored));
}

#[test]
fn a_snapshot_that_nobody_reports_on_is_tried_again_in_the_end() {
    let mut group = Group::with(3, small);
    away(&mut group, 2);
    write(&mut group, 0, 50);
    group.heal();
    let snapshot = |group: &Group| {
        let kind = skep_proto::raftpb::MessageType::MsgSnap;
        group.wire.iter().position(|(_, envelope)| envelope.message.r#type() == kind)
    };
    // One message at a time, until the snapshot is on its way; it vanishes without a word.
    while snapshot(&group).is_none() {
        if let Some((from, envelope)) = group.wire.pop_front() {
            group.deliver(from, envelope);
        } else {
            (0..3).for_each(|place| group.members[place].core.tick());
        }
        for place in 0..3 {
            group.pump(place);
        }
    }
    let at = snapshot(&group).unwrap();
    group.wire.remove(at);
    group.tick(100);
    assert!(group.members[2].recorder.entries().len() < 50);
    group.tick(700);
    assert_eq!(group.members[2].recorder.entries().len(), 50);
}

#[test]
fn a_lost_snapshot_is_sent_again() {
    let mut group = Group::with(3, small);
    away(&mut group, 2);
    write(&mut group, 0, 50);
    // Answers get through, so that the leader tries, but what it sends does not.
    group.cut.remove(&(2, 0));
    group.tick(10);
    group.heal();
    group.tick(20);
    assert_eq!(group.members[2].recorder.entries().len(), 50);
}
