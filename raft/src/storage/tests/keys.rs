//! Keys that change while the log runs, and keys that are wrong.

use super::*;
use crate::KeyId;

pub fn id(byte: u8) -> KeyId {
    DataKey::new([byte; 32]).id()
}

pub fn rotated(new: u8, old: u8) -> Keyring {
    Keyring { current: DataKey::new([new; 32]), older: vec![DataKey::new([old; 32])] }
}

#[test]
fn the_wrong_key_is_told_which_one_is_needed() {
    let disk = SimDisk::new("state");
    with_history(&disk, 1, 10);
    let error = log_with(&disk, &ring(2)).load().unwrap_err();
    assert!(
        matches!(&error, StorageError::UnknownKey { what, key } if *key == id(1) && what.contains("state/log")),
        "{error}"
    );
    assert!(error.to_string().contains(&id(1).to_string()), "{error}");
    assert!(found(&disk).unwrap().is_some(), "and nothing was changed by trying");
}

#[test]
fn the_old_key_is_in_use_until_a_snapshot_and_a_compaction() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    log.append(&batch(Some((1, 8)), (1..=8).map(|n| entry(n, 1, 50)).collect())).unwrap();
    assert!(save(&mut log, &snapshot(4, 1, 100)).unwrap());
    assert_eq!(log.keys_in_use(), [id(1)].into());

    let refused = log.rotate(ring(2)).unwrap_err();
    assert!(matches!(refused, StorageError::UnknownKey { key, .. } if key == id(1)), "{refused}");
    log.rotate(rotated(2, 1)).unwrap();
    assert_eq!(log.keys_in_use(), [id(1), id(2)].into());
    log.append(&batch(Some((1, 9)), vec![entry(9, 1, 50)])).unwrap();

    // Restarted half-way: both keys are needed and both are there.
    drop(log);
    let mut log = log_with(&disk, &rotated(2, 1));
    assert_eq!(log.load().unwrap().unwrap().entries.len(), 9);
    assert_eq!(log.keys_in_use(), [id(1), id(2)].into());

    assert!(save(&mut log, &snapshot(6, 1, 100)).unwrap());
    log.compact(5).unwrap();
    assert_eq!(log.keys_in_use(), [id(2)].into(), "what is left was sealed again");
    log.rotate(ring(2)).unwrap();
    drop(log);

    let recovered = log_with(&disk, &ring(2)).load().unwrap().unwrap();
    assert_eq!(recovered.entries, (6..=9).map(|n| entry(n, 1, 50)).collect::<Vec<_>>());
    assert_eq!(recovered.snapshot.unwrap().meta.index, 6);
    assert_eq!(recovered.identity, identity());
}

#[test]
fn a_rotation_that_a_crash_cuts_short_is_finished_at_the_next_start() {
    let disk = SimDisk::new("state");
    let model = with_history(&disk, 4, 20);
    // The keys were stored by their owner, then the machine went down before the log heard of them.
    let mut log = log_with(&disk, &rotated(2, 1));
    log.load().unwrap().unwrap();
    let last = model.last();
    log.append(&batch(None, vec![entry(last + 1, 99, 5)])).unwrap();
    assert!(log.keys_in_use().contains(&id(2)));
    drop(log);
    let error = log_with(&disk, &ring(1)).load().unwrap_err();
    assert!(matches!(error, StorageError::UnknownKey { key, .. } if key == id(2)), "{error}");
}

#[test]
fn a_batch_under_a_key_that_is_not_at_hand_is_not_cut_off() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    log.append(&batch(Some((1, 1)), vec![entry(1, 1, 50)])).unwrap();
    log.rotate(rotated(2, 1)).unwrap();
    log.append(&batch(Some((1, 2)), vec![entry(2, 1, 50)])).unwrap();
    drop(log);
    // The old ring opens the beginning of the file, and its witness not at all.
    let error = log_on(&disk).load().unwrap_err();
    assert!(matches!(error, StorageError::UnknownKey { key, .. } if key == id(2)), "{error}");
    let mut log = log_with(&disk, &rotated(2, 1));
    assert_eq!(log.load().unwrap().unwrap().entries.len(), 2);
    assert_eq!(log.keys_in_use(), [id(2)].into(), "a start seals everything with the current key");
}

#[test]
fn keys_are_not_printed() {
    let printed = format!("{:?}", ring(0xab));
    assert!(!printed.contains("171") && !printed.to_lowercase().contains("abab"), "{printed}");
}
