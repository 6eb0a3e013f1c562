//! Syncs that fail, disks that fill up, files that cannot be read.

use super::*;
use crate::storage::sim_disk::Faults;

/// Runs random calls until one fails.
fn run_until_error(disk: &SimDisk, seed: u64, faults: Faults) -> (Model, Model, StorageError) {
    let mut rng = StdRng::seed_from_u64(seed);
    let (mut log, mut model) = (log_on(disk), Model::new());
    log.create(&identity()).unwrap();
    disk.set_faults(faults);
    loop {
        let call = model.random_call(&mut rng);
        let mut next = model.clone();
        next.call(&call);
        match run(&mut log, &call) {
            Ok(()) => model = next,
            Err(error) => {
                disk.set_faults(Faults::default());
                let again = run(&mut log, &Call::Append(batch(Some((9, 0)), vec![])));
                assert!(
                    matches!(again, Err(StorageError::Misuse(_))),
                    "an error is final even when the disk is well again"
                );
                return (model, next, error);
            }
        }
    }
}

fn survives(seeds: u64, faults: &Faults, says: &str) {
    for seed in 0..seeds {
        let disk = SimDisk::new("state");
        let (acknowledged, under_way, error) = run_until_error(&disk, seed, faults.clone());
        assert!(matches!(error, StorageError::Io { .. }), "{error}");
        assert!(error.to_string().contains("state/"), "names the file: {error}");
        assert!(error.to_string().contains(says), "{error}");
        // The process may go down with the machine or alone.
        if seed % 2 == 0 {
            disk.crash(seed);
        } else {
            disk.kill();
        }
        let seen = found(&disk).unwrap().map(Model::normalized).unwrap();
        // What the next process believed must not be what only the cache showed it.
        disk.crash(seed + 1);
        let found = found(&disk).unwrap().map(Model::normalized).unwrap();
        assert_eq!(found, seen, "seed {seed}");
        let allowed = [acknowledged.normalized(), under_way.normalized()];
        assert!(allowed.contains(&found), "seed {seed}: found {found:?}, allowed {allowed:?}");
    }
}

#[test]
fn a_failed_sync_is_final_and_loses_nothing_acknowledged() {
    for syncs in [0, 1, 2, 7, 20] {
        survives(
            30,
            &Faults { sync_fails_after: Some(syncs), ..Faults::default() },
            "while syncing",
        );
    }
}

#[test]
fn a_full_disk_is_final_and_loses_nothing_acknowledged() {
    let disk = SimDisk::new("state");
    with_history(&disk, 0, 1);
    let start: usize =
        ["log", "witness", "format"].iter().map(|name| disk.contents(name).unwrap().len()).sum();
    for room in [100, 5_000, 20_000] {
        let capacity_bytes = Some(start as u64 + room);
        survives(6, &Faults { capacity_bytes, ..Faults::default() }, "no space left");
    }
}

#[test]
fn an_unreadable_file_is_named() {
    for name in ["log", "format"] {
        let disk = SimDisk::new("state");
        with_history(&disk, 3, 30);
        disk.set_faults(Faults { unreadable: vec![name.to_owned()], ..Faults::default() });
        let error = found(&disk).unwrap_err();
        assert!(error.to_string().contains(&format!("state/{name}")), "{error}");
    }
}

#[test]
fn a_disk_that_lies_about_syncs_is_found_out() {
    let mut found_out = 0;
    for seed in 0..30 {
        let disk = SimDisk::new("state");
        with_history(&disk, seed, 1);
        let mut log = log_on(&disk);
        let mut model = Model::from(log.load().unwrap().unwrap());
        disk.set_faults(Faults { syncs_lie: true, ..Faults::default() });
        let next = model.last() + 1;
        let call = Call::Append(batch(Some((5, 0)), vec![entry(next, 5, 10)]));
        run(&mut log, &call).unwrap();
        model.call(&call);
        disk.crash(seed);
        match found(&disk) {
            Err(StorageError::Damaged { detail, .. }) if detail.contains("acknowledged") => {
                found_out += 1;
            }
            Ok(Some(_)) | Err(StorageError::Damaged { .. }) => {}
            other => panic!("seed {seed}: {other:?}"),
        }
    }
    assert!(found_out > 0, "the witness never noticed");
}
