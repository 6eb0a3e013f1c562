//! Frames of the log file that are torn, cut, missing or strange: what may be cut off and what must be named.

use super::*;
use crate::storage::Disk as _;
use crate::storage::frame::{FRAME_ALIGN_BYTES, HEADER_BYTES, Header, aligned};

/// Where the frames of the log begin, and their headers.
fn frames(disk: &SimDisk) -> Vec<(u64, Header)> {
    let contents = disk.contents("log").unwrap();
    let (mut at, mut frames) = (0, Vec::new());
    while let Some(header) = contents
        .get(at as usize..)
        .and_then(|rest| rest.first_chunk::<HEADER_BYTES>())
        .and_then(Header::read)
    {
        frames.push((at, header));
        at = aligned(at + header.frame_bytes());
    }
    frames
}

/// A log with five batches after its first frame, and what it holds after each of them.
fn five_batches(disk: &SimDisk) -> Vec<Model> {
    let mut log = log_on(disk);
    log.create(&identity()).unwrap();
    let mut model = Model::new();
    let mut states = vec![model.clone()];
    for n in 1..=5 {
        // Of several sectors each.
        let call =
            Call::Append(batch(Some((n, 0)), vec![entry(2 * n - 1, n, 700), entry(2 * n, n, 900)]));
        run(&mut log, &call).unwrap();
        model.call(&call);
        states.push(model.clone());
    }
    states
}

fn named(disk: &SimDisk, words: &str) {
    let error = found(disk).unwrap_err();
    assert!(matches!(error, StorageError::Damaged { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("state/log is damaged") && text.contains(words), "{text}");
}

#[test]
fn a_torn_batch_before_whole_ones_is_damage_even_without_a_witness() {
    let disk = SimDisk::new("state");
    let states = five_batches(&disk);
    let frames = frames(&disk);
    assert_eq!(frames.len(), 6);
    for (n, (at, header)) in frames.iter().enumerate() {
        let sectors = header.frame_bytes().div_ceil(FRAME_ALIGN_BYTES);
        for sector in 0..sectors {
            let torn = disk.copy();
            torn.remove("witness").unwrap();
            let at = at + sector * FRAME_ALIGN_BYTES;
            torn.open("log").unwrap().write_at(at, &[0; FRAME_ALIGN_BYTES as usize]).unwrap();
            match n {
                0 => named(&torn, if sector == 0 { "begin" } else { "first batch" }),
                1..=4 => named(&torn, &format!("batch {}, after entry {}", n + 1, 2 * (n - 1))),
                _ => {
                    assert_eq!(found(&torn).unwrap().as_ref(), Some(&states[4]), "sector {sector}")
                }
            }
        }
    }
}

#[test]
fn a_torn_last_batch_that_was_acknowledged_is_damage() {
    let disk = SimDisk::new("state");
    five_batches(&disk);
    let (at, _) = *frames(&disk).last().unwrap();
    disk.open("log").unwrap().write_at(at, &[0; 512]).unwrap();
    named(&disk, "batch 6 was acknowledged, but the newest that is whole is 5");
}

#[test]
fn a_file_that_was_cut_is_damage_unless_only_room_is_gone() {
    let disk = SimDisk::new("state");
    let states = five_batches(&disk);
    let (last, header) = *frames(&disk).last().unwrap();
    let end = last + header.frame_bytes();
    for len in (0..end).step_by(300).chain([end - 1]) {
        let cut = disk.copy();
        cut.open("log").unwrap().set_len(len).unwrap();
        named(&cut, "");
    }
    for len in [end, end + 1, aligned(end), aligned(end) + 1] {
        let cut = disk.copy();
        cut.open("log").unwrap().set_len(len).unwrap();
        assert_eq!(found(&cut).unwrap().as_ref(), states.last(), "{len}");
    }
}

#[test]
fn what_was_there_before_the_file_got_its_name_is_never_cut_off() {
    let disk = SimDisk::new("state");
    let mut log = log_on(&disk);
    log.create(&identity()).unwrap();
    let entries: Vec<_> = (1..=5).map(|index| entry(index, 1, 900_000)).collect();
    log.append(&batch(Some((1, 5)), entries.clone())).unwrap();
    drop(log);
    // Written anew, in several frames.
    assert_eq!(found(&disk).unwrap().unwrap().entries, entries);
    let frames = frames(&disk);
    assert!(frames.len() > 2);
    disk.remove("witness").unwrap();
    for (at, header) in frames {
        let rotten = disk.copy();
        rotten.flip("log", at + header.frame_bytes() - 1, 1);
        found(&rotten).unwrap_err();
        // With nothing at all in its place.
        let gone = disk.copy();
        let zeros = vec![0; header.frame_bytes() as usize];
        gone.open("log").unwrap().write_at(at, &zeros).unwrap();
        named(&gone, "");
    }
}

#[test]
fn a_frame_of_another_file_is_never_taken() {
    // Two files that go on from the same log under the same key, with the same numbers.
    let here = SimDisk::new("state");
    five_batches(&here);
    let there = here.copy();
    let go_on = |disk: &SimDisk, term, batches| {
        let mut log = log_on(disk);
        let mut model = Model::from(log.load().unwrap().unwrap());
        for n in 0..batches {
            let call = Call::Append(batch(Some((term, 0)), vec![entry(11 + n, term, 300)]));
            run(&mut log, &call).unwrap();
            model.call(&call);
        }
        model
    };
    let expected = go_on(&here, 20, 3);
    go_on(&there, 30, 5);
    let (ours, theirs) = (frames(&here), frames(&there));
    assert_eq!(ours, theirs[..ours.len()], "nothing but the seals differs");
    let stale = there.contents("log").unwrap();
    let with_theirs = |frames: &[(u64, Header)]| {
        let disk = here.copy();
        for (at, header) in frames {
            let frame = &stale[*at as usize..(at + header.frame_bytes()) as usize];
            disk.open("log").unwrap().write_at(*at, frame).unwrap();
        }
        disk
    };

    // As the next ones: cut off.
    let further = &theirs[ours.len()..];
    for frames in [further, &further[..1], &further[1..]] {
        assert_eq!(found(&with_theirs(frames)).unwrap().as_ref(), Some(&expected));
    }
    // In the place of an acknowledged one: named.
    for n in 1..ours.len() {
        named(&with_theirs(&theirs[n..=n]), "acknowledged");
    }
    // In the place of the last one, when nothing says that it was acknowledged: cut off, and not taken.
    let disk = with_theirs(&theirs[ours.len() - 1..]);
    disk.remove("witness").unwrap();
    let found = found(&disk).unwrap().unwrap();
    assert_eq!(found.entries, expected.entries[..expected.entries.len() - 1]);
}

#[test]
fn what_was_cut_off_stays_gone_and_its_number_is_not_given_again() {
    let disk = SimDisk::new("state");
    let states = five_batches(&disk);
    let (at, header) = *frames(&disk).last().unwrap();
    disk.remove("witness").unwrap();
    disk.flip("log", at + 100, 1);
    assert_eq!(found(&disk).unwrap().as_ref(), Some(&states[4]));
    assert_eq!(frames(&disk)[0].1.number, header.number + 1);
    assert_eq!(found(&disk).unwrap().as_ref(), Some(&states[4]));
}
