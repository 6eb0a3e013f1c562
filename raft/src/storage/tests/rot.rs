//! Flipped bytes: in every file, harmless or named, never a panic and never other data.

use super::*;

/// A small state with a compacted log, two snapshots and a tail.
fn small_state() -> (SimDisk, Model) {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    let mut model = Model::new();
    log.create(&identity()).unwrap();
    let calls = [
        Call::Append(batch(Some((1, 6)), (1..=6).map(|n| entry(n, 1, 80)).collect())),
        Call::Save(snapshot(4, 1, 700)),
        Call::Compact(3),
        Call::Save(snapshot(6, 1, 700)),
        Call::Append(batch(Some((2, 6)), vec![entry(7, 2, 80)])),
    ];
    for call in calls {
        run(&mut log, &call).unwrap();
        model.call(&call);
    }
    // The process is killed, not stopped.
    disk.kill();
    drop(log);
    (disk, model)
}

/// Flips one bit of every `step`-th byte of `name` and says how many flips were harmless and how many were named.
fn flip_all(name: &str, step: usize) -> (usize, usize) {
    let (disk, _) = small_state();
    flip(name, (0..disk.contents(name).unwrap().len()).step_by(step))
}

/// The bytes of the pages of the log that were ever written.
fn written_bytes_of_log() -> impl Iterator<Item = usize> {
    let contents = small_state().0.contents("log").unwrap();
    (0..contents.len()).filter(move |at| {
        let page = at / 4096 * 4096;
        contents[page..contents.len().min(page + 4096)].iter().any(|byte| *byte != 0)
    })
}

fn flip(name: &str, offsets: impl Iterator<Item = usize>) -> (usize, usize) {
    flip_bits(name, offsets.map(|at| (at, 1 << (at % 8))))
}

fn flip_bits(name: &str, bits: impl Iterator<Item = (usize, u8)>) -> (usize, usize) {
    let (disk, model) = small_state();
    let (mut harmless, mut named) = (0, 0);
    for (at, mask) in bits {
        let rotten = disk.copy();
        rotten.flip(name, at as u64, mask);
        match found(&rotten) {
            Ok(Some(found)) => {
                // When the newest snapshot is the victim the older one and the log may stand in.
                let newest_gone = found.snapshot.as_ref().is_some_and(|s| s.meta.index == 4);
                let expected = if newest_gone {
                    assert!(name.starts_with("snapshot-"), "{name} at {at}");
                    named += 1;
                    Model { snapshot: Some(snapshot(4, 1, 700)), ..model.clone() }
                } else {
                    harmless += 1;
                    model.clone()
                };
                assert_eq!(found, expected, "{name} at {at}");
            }
            Ok(None) => panic!("{name} at {at}: the folder passes for an empty one"),
            Err(error) => {
                assert!(error.to_string().contains("state/"), "{name} at {at}: {error}");
                named += 1;
            }
        }
    }
    (harmless, named)
}

#[test]
fn every_byte_of_a_snapshot_matters() {
    let (disk, _) = small_state();
    let newest = disk.list_snapshots().pop().unwrap();
    let (harmless, named) = flip_all(&newest, 1);
    assert_eq!(harmless, 0);
    assert!(named > 700);
}

#[test]
fn a_flip_in_an_older_snapshot_waits_until_it_is_needed() {
    let (disk, _) = small_state();
    let oldest = disk.list_snapshots().remove(0);
    assert_eq!(flip_all(&oldest, 37).1, 0);
}

#[test]
fn every_byte_of_the_format_matters() {
    assert_eq!(flip_all("format", 1).0, 0);
}

#[test]
fn the_witness_can_do_no_harm() {
    assert_eq!(flip_all("witness", 1).1, 0);
}

#[test]
fn flips_in_the_log_are_harmless_or_named() {
    // Primes, so that all offsets within pages are met in the end.
    let (harmless, named) = flip("log", written_bytes_of_log().step_by(7));
    assert!(harmless > 0 && named > 0, "{harmless} {named}");
    flip_all("log", 4099);
}

#[test]
#[ignore = "half a minute: cargo test -p skep-raft --lib every_written_byte -- --ignored"]
fn every_written_byte_of_the_log() {
    let bits = (0..8).map(|bit| 1 << bit);
    let every = written_bytes_of_log().flat_map(|at| bits.clone().map(move |bit| (at, bit)));
    let (harmless, named) = flip_bits("log", every);
    println!("{harmless} harmless, {named} named");
}

#[test]
fn the_header_of_the_log_byte_by_byte() {
    let (disk, model) = small_state();
    for at in 0..512 {
        for mask in [0x01, 0xff] {
            let rotten = disk.copy();
            rotten.flip("log", at, mask);
            match found(&rotten) {
                Ok(Some(found)) => assert_eq!(found, model, "at {at}"),
                Ok(None) => panic!("at {at}: the folder passes for an empty one"),
                Err(error) => assert!(error.to_string().contains("state/log"), "{error}"),
            }
        }
    }
}

#[test]
fn flips_while_running_never_give_other_data() {
    let (disk, model) = small_state();
    let everywhere = (0..disk.contents("log").unwrap().len() as u64).step_by(8191);
    for at in (0..4096).step_by(31).chain(everywhere) {
        let rotten = disk.copy();
        let mut log = log_on(&rotten);
        log.load().unwrap().unwrap();
        rotten.flip("log", at, 0x10);
        let mut expected = model.clone();
        let call = Call::Append(batch(Some((3, 7)), vec![entry(8, 3, 80)]));
        if run(&mut log, &call).is_ok() {
            expected.call(&call);
        }
        drop(log);
        match found(&rotten) {
            Ok(Some(found)) => assert_eq!(found, expected, "at {at}"),
            Ok(None) => panic!("at {at}: the folder passes for an empty one"),
            Err(error) => assert!(error.to_string().contains("state/log"), "{error}"),
        }
    }
}

#[test]
fn a_missing_file_is_named() {
    let (disk, _) = small_state();
    for name in ["log", "format"] {
        let broken = disk.copy();
        broken.remove(name).unwrap();
        let error = found(&broken).unwrap_err();
        assert!(error.to_string().contains(&format!("state/{name}")), "{error}");
        let mut log = log_on(&broken);
        log.create(&identity()).unwrap_err();
    }
    for name in disk.list_snapshots() {
        disk.remove(&name).unwrap();
    }
    let error = found(&disk).unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    let (disk, _) = small_state();
    for version in [1, 9] {
        let text = format!("skep-raft {version}\n");
        disk.open("format").unwrap().write_at(0, text.as_bytes()).unwrap();
        let error = found(&disk).unwrap_err();
        assert!(
            matches!(error, StorageError::UnknownFormat { found, supported: 2, .. } if found == version),
            "{error}"
        );
    }
}

impl SimDisk {
    fn list_snapshots(&self) -> Vec<String> {
        let names = self.list().unwrap();
        names.into_iter().filter(|name| name.starts_with("snapshot-")).collect()
    }
}

use crate::storage::Disk as _;
