//! The file as it grows ahead of what is written, and as it is written anew.

use super::crash::check;
use super::*;
use crate::storage::journal::{FRAME_ENTRIES_BYTES, GROW_BYTES};
use crate::storage::sim_disk::Faults;

/// Appends that use up what was grown within a few calls, or do not fit into it at all; now and then a snapshot and a compaction.
fn large_call(model: &Model, rng: &mut StdRng) -> Call {
    match model.random_call(rng) {
        Call::Append(batch) if batch.snapshot.is_none() => {
            let first = model.last() + 1;
            let sizes = [100, GROW_BYTES / 3, GROW_BYTES - 700, GROW_BYTES + 1, 2 * GROW_BYTES];
            let entries = (0..rng.random_range(0..3u64))
                .map(|n| entry(first + n, 1, sizes[rng.random_range(0..sizes.len())]))
                .collect();
            Call::Append(Batch { entries, ..batch_of_state(model) })
        }
        other => other,
    }
}

fn batch_of_state(model: &Model) -> Batch {
    batch(Some((model.hard_state.term, model.last())), vec![])
}

#[test]
fn growth_survives_any_cut() {
    for seed in 0..2 {
        for cut in 8..60 {
            for crash_seed in 0..3 {
                check(large_call, seed, cut, crash_seed);
            }
        }
    }
}

#[test]
fn batches_larger_than_what_is_grown_are_found_again() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    let sizes = [GROW_BYTES - 1, GROW_BYTES, 10, GROW_BYTES + 1, 4 << 20, 0, 700];
    let entries: Vec<_> = (1..).zip(sizes).map(|(index, bytes)| entry(index, 1, bytes)).collect();
    let (alone, together) = entries.split_at(4);
    for one in alone {
        log.append(&batch(Some((1, 1)), vec![one.clone()])).unwrap();
    }
    log.append(&batch(Some((1, 1)), together.to_vec())).unwrap();
    // Read as it was appended, then as it was written anew, in several frames.
    assert!(entries.iter().map(|entry| entry.data.len()).sum::<usize>() > 2 * FRAME_ENTRIES_BYTES);
    for _ in 0..3 {
        assert_eq!(found(&disk).unwrap().unwrap().entries, entries);
    }
}

#[test]
fn most_appends_do_not_change_the_length_of_the_file() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    let mut lengths = std::collections::BTreeSet::new();
    for index in 1..=1000 {
        log.append(&batch(Some((1, index - 1)), vec![entry(index, 1, 200)])).unwrap();
        assert_eq!(log.sizes().log_bytes, disk.contents("log").unwrap().len() as u64);
        lengths.insert(log.sizes().log_bytes);
    }
    assert!(lengths.len() <= 4, "{lengths:?}");
}

#[test]
fn what_gathers_without_compactions_is_cleared_away() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    log.append(&batch(Some((1, 1)), vec![entry(1, 1, 100)])).unwrap();
    for term in 2..2000 {
        log.append(&batch(Some((term, 1)), vec![])).unwrap();
        assert!(log.sizes().log_bytes < 2 * GROW_BYTES as u64);
    }
    let found = found(&disk).unwrap().unwrap();
    assert_eq!((found.hard_state.term, found.last()), (1999, 1));
}

#[test]
fn a_compaction_gives_the_room_back() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    let entries = (1..=30).map(|index| entry(index, 1, 100_000)).collect();
    log.append(&batch(Some((1, 30)), entries)).unwrap();
    assert!(save(&mut log, &snapshot(30, 1, 100)).unwrap());
    assert!(log.sizes().log_bytes > 3_000_000);
    log.compact(29).unwrap();
    assert!(log.sizes().log_bytes < 2 * GROW_BYTES as u64);
    assert_eq!(found(&disk).unwrap().unwrap().entries, [entry(30, 1, 100_000)]);
}

#[test]
fn a_disk_without_room_to_grow_says_so() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    let capacity_bytes = Some(disk.used_bytes() + 100);
    disk.set_faults(Faults { capacity_bytes, ..Faults::default() });
    let append = |index| batch(Some((1, index - 1)), vec![entry(index, 1, 5_000)]);
    let mut index = 1;
    let error = loop {
        match log.append(&append(index)) {
            Ok(()) => index += 1,
            Err(error) => break error,
        }
    };
    assert!(index > 40, "what was grown before can be used: {index}");
    assert_eq!(error.to_string(), "cannot write to state/log: simulated: no space left");
    disk.set_faults(Faults::default());
    let last = found(&disk).unwrap().unwrap().last();
    assert!((index - 1..=index).contains(&last), "{last} after {index}");
}
