//! What the log does on a disk that behaves.

use super::*;
use crate::storage::RealDisk;

#[test]
fn every_history_is_found_again() {
    for seed in 0..20 {
        let disk = SimDisk::new("state");
        let model = with_history(&disk, seed, 60);
        assert_eq!(found(&disk).unwrap(), Some(model.normalized()), "seed {seed}");
    }
}

#[test]
fn a_real_folder_works_and_shows_no_secret() {
    let folder = tempfile::tempdir().unwrap();
    let open = || {
        let disk = RealDisk::open(folder.path()).unwrap();
        FileLog::new(Arc::new(disk), &ring(1), FileLogConfig::default())
    };
    let mut log = open();
    assert!(log.load().unwrap().is_none());
    log.create(&identity()).unwrap();
    let entries: Vec<_> = (1..=50).map(|n| entry(n, 1, 300)).collect();
    log.append(&batch(Some((1, 40)), entries.clone())).unwrap();
    let big = snapshot(40, 1, 3 << 20);
    assert!(save(&mut log, &big).unwrap());
    log.compact(30).unwrap();
    assert_eq!(log.read_snapshot().unwrap(), Some(big.clone()));
    assert!(log.sizes().snapshot_bytes > 3 << 20 && log.sizes().log_bytes > 0);
    drop(log);
    let mut log = open();
    let recovered = log.load().unwrap().unwrap();
    assert_eq!(recovered.identity, identity());
    assert_eq!(recovered.snapshot, Some(big));
    assert_eq!(recovered.entries, entries[30..]);
    drop(log);
    let mut seen = 0;
    for file in std::fs::read_dir(folder.path()).unwrap() {
        let contents = std::fs::read(file.unwrap().path()).unwrap();
        seen += contents.len();
        let half = &SECRET[..SECRET.len() / 2];
        assert!(!contents.windows(half.len()).any(|window| window == half));
    }
    assert!(seen > 3 << 20);
}

#[test]
fn one_batch_is_one_sync() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    let mut index = 0;
    let before = disk.syncs();
    for _ in 0..50 {
        let entries: Vec<_> = (1..=10).map(|n| entry(index + n, 1, 1000)).collect();
        index += 10;
        log.append(&batch(Some((1, 0)), entries)).unwrap();
    }
    assert!(log.sizes().log_bytes > 500_000, "the file has grown in between");
    assert_eq!(disk.syncs() - before, 50);
}

#[test]
fn what_raft_forbids_is_refused_and_changes_nothing() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    assert!(matches!(log.append(&batch(None, vec![])), Err(StorageError::Misuse(_))));
    log.create(&identity()).unwrap();
    assert!(matches!(log.create(&identity()), Err(StorageError::Misuse(_))));
    log.append(&batch(Some((1, 2)), (1..=4).map(|n| entry(n, 1, 9)).collect())).unwrap();
    type Misuse = fn(&mut FileLog) -> Result<(), StorageError>;
    let misuse: [(&str, Misuse); 6] = [
        ("replaces a committed entry", |log| log.append(&batch(None, vec![entry(2, 2, 9)]))),
        ("leaves a gap before", |log| log.append(&batch(None, vec![entry(6, 2, 9)]))),
        ("leaves a gap within", |log| {
            log.append(&batch(None, vec![entry(5, 2, 9), entry(7, 2, 9)]))
        }),
        ("compacts without a snapshot", |log| log.compact(1)),
        ("snapshot beyond the log", |log| save(log, &snapshot(5, 1, 9)).map(drop)),
        ("a second log in the folder", |log| log.create(&identity())),
    ];
    for (what, call) in misuse {
        assert!(matches!(call(&mut log), Err(StorageError::Misuse(_))), "{what}");
    }
    drop(log);
    let found = found(&disk).unwrap().unwrap();
    assert_eq!((found.last(), found.hard_state.commit), (4, 2));
}

#[test]
fn an_older_snapshot_taken_late_is_ignored() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    log.append(&batch(Some((1, 9)), (1..=9).map(|n| entry(n, 1, 9)).collect())).unwrap();
    assert!(save(&mut log, &snapshot(8, 1, 9)).unwrap());
    assert!(!save(&mut log, &snapshot(3, 1, 9)).unwrap());
    assert_eq!(log.read_snapshot().unwrap().unwrap().meta.index, 8);
}
