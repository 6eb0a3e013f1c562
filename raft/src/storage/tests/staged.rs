//! Snapshots that are written while the log goes on.

use super::keys::{id, rotated};
use super::*;
use crate::storage::disk::Disk as _;
use crate::storage::sim_disk::Faults;
use crate::{SnapshotContents, StagedSnapshot};

fn with_entries(disk: &SimDisk, last: u64) -> FileLog {
    let mut log = log_on(disk);
    log.create(&identity()).unwrap();
    log.append(&batch(Some((1, last)), (1..=last).map(|n| entry(n, 1, 9)).collect())).unwrap();
    log
}

fn staged(log: &FileLog, snapshot: &Snapshot) -> StagedSnapshot {
    log.snapshot_stage().stage(snapshot.meta.clone(), snapshot.data.clone().into()).unwrap()
}

#[test]
fn the_log_goes_on_meanwhile_and_the_snapshot_counts_once_it_is_saved() {
    let disk = SimDisk::new("state");
    let mut log = with_entries(&disk, 9);
    let first = snapshot(5, 1, 3 << 20);
    assert!(save(&mut log, &first).unwrap());
    let second = snapshot(8, 1, 3 << 20);
    staged(&log, &second);
    log.append(&batch(Some((1, 10)), vec![entry(10, 1, 9)])).unwrap();
    assert_eq!(log.read_snapshot().unwrap(), Some(first.clone()));

    // Whoever stops here has the older one, and nothing lies around.
    let before = found(&disk).unwrap().unwrap();
    assert_eq!((before.snapshot, before.entries.len()), (Some(first), 10));
    assert!(disk.list().unwrap().iter().all(|name| !name.ends_with(".new")));

    let mut log = log_on(&disk);
    log.load().unwrap().unwrap();
    let written = staged(&log, &second);
    assert!(log.save_snapshot(written).unwrap());
    assert_eq!(found(&disk).unwrap().unwrap().snapshot, Some(second));
}

#[test]
fn a_leaders_snapshot_that_comes_in_between_stands() {
    let disk = SimDisk::new("state");
    let mut log = with_entries(&disk, 9);
    let written = staged(&log, &snapshot(9, 1, 50_000));
    // The same snapshot by its name, and another file.
    let of_leader = snapshot(9, 1, 40_000);
    let batch = Batch { snapshot: Some(of_leader.clone()), ..Batch::default() };
    log.append(&batch).unwrap();
    assert!(!log.save_snapshot(written).unwrap());
    assert_eq!(log.read_snapshot().unwrap(), Some(of_leader.clone()));
    assert_eq!(found(&disk).unwrap().unwrap().snapshot, Some(of_leader));
}

#[test]
fn one_under_a_key_that_has_changed_is_thrown_away() {
    let disk = SimDisk::new("state");
    let mut log = with_entries(&disk, 9);
    let written = staged(&log, &snapshot(5, 1, 9));
    log.rotate(rotated(2, 1)).unwrap();
    assert!(!log.save_snapshot(written).unwrap());
    assert_eq!(log.read_snapshot().unwrap(), None);
    let written = staged(&log, &snapshot(5, 1, 9));
    assert_eq!(written.key, id(2));
    assert!(log.save_snapshot(written).unwrap());
}

#[test]
fn one_that_is_not_as_long_as_it_said_is_not_written() {
    let disk = SimDisk::new("state");
    let mut log = with_entries(&disk, 9);
    let stage = log.snapshot_stage();
    for (said, written) in [(10, 9), (10, 11), (0, 1), (3 << 20, 2 << 20), (1 << 20, 1 << 21)] {
        let contents = SnapshotContents::new(said, move |out| out.write_all(&vec![7; written]));
        let outcome = stage.stage(snapshot(5, 1, 0).meta, contents);
        assert!(matches!(outcome, Err(StageError::Contents(_))), "{said} {written}: {outcome:?}");
    }
    let in_vain = SnapshotContents::new(5, |_| Err(std::io::Error::other("cannot be made")));
    let outcome = stage.stage(snapshot(5, 1, 0).meta, in_vain);
    assert!(matches!(outcome, Err(StageError::Contents(_))), "{outcome:?}");
    assert!(disk.list().unwrap().iter().all(|name| !name.ends_with(".new")));

    // The next one is none the worse for it, whatever its pieces are.
    let data: Vec<u8> = (0..(5 << 19)).map(|n| n as u8).collect();
    let expected = data.clone();
    let contents = SnapshotContents::new(data.len() as u64, move |out| {
        data.chunks(77_777).try_for_each(|piece| out.write_all(piece))
    });
    let written = stage.stage(snapshot(5, 1, 0).meta, contents).unwrap();
    assert!(log.save_snapshot(written).unwrap());
    assert!(log.read_snapshot().unwrap().unwrap().data == expected);
}

#[test]
fn a_disk_that_fails_is_told_from_contents_that_cannot_be_made() {
    let disk = SimDisk::new("state");
    let mut log = with_entries(&disk, 9);
    disk.set_faults(Faults { power_out_at: Some(disk.changes() + 1), ..Faults::default() });
    let Snapshot { meta, data } = snapshot(5, 1, 3 << 20);
    let outcome = log.snapshot_stage().stage(meta, data.into());
    assert!(matches!(outcome, Err(StageError::Storage(StorageError::Io { .. }))), "{outcome:?}");
    disk.set_faults(Faults::default());
    let next = log.append(&batch(None, vec![entry(10, 1, 9)]));
    assert!(matches!(next, Err(StorageError::Misuse(_))), "nothing more is written: {next:?}");
}
