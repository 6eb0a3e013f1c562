//! Power cuts at any change the disk makes, with any subset of the unsynced surviving.

use super::*;
use crate::storage::Disk as _;
use crate::storage::sim_disk::Faults;
use proptest::prelude::*;

/// Makes up the next call of a history.
pub type NextCall = fn(&Model, &mut StdRng) -> Call;

/// Runs a random history until the power goes out at change `cut`; returns what was acknowledged last and, when a call was under
/// way, what it would have led to.
fn run_until_cut(
    disk: &SimDisk,
    next_call: NextCall,
    seed: u64,
    cut: u64,
) -> (Option<Model>, Option<Model>) {
    disk.set_faults(Faults { power_out_at: Some(cut), ..Faults::default() });
    let mut rng = StdRng::seed_from_u64(seed);
    let mut log = log_on(disk);
    let mut model = Model::new();
    if log.load().and_then(|_| log.create(&identity())).is_err() {
        return (None, Some(model));
    }
    loop {
        let call = next_call(&model, &mut rng);
        let mut next = model.clone();
        next.call(&call);
        if run(&mut log, &call).is_err() {
            return (Some(model), Some(next));
        }
        model = next;
    }
}

/// What is found must be what was acknowledged, or that and the call that was under way.
pub fn check(next_call: NextCall, seed: u64, cut: u64, crash_seed: u64) {
    let disk = SimDisk::new("state");
    let (acknowledged, under_way) = run_until_cut(&disk, next_call, seed, cut);
    disk.crash(crash_seed);
    let what = format!("seed {seed} cut {cut} crash {crash_seed}");
    let found = found(&disk).unwrap_or_else(|error| panic!("{what}: {error}"));
    let found = found.map(Model::normalized);
    let allowed = [acknowledged.map(Model::normalized), under_way.map(Model::normalized)];
    assert!(allowed.contains(&found), "{what}: found {found:?}, allowed {allowed:?}");
    // And the log goes on from there.
    let mut log = log_on(&disk);
    match log.load().unwrap() {
        None => log.create(&identity()).unwrap(),
        Some(recovered) => {
            let next = Model::from(recovered).last() + 1;
            log.append(&batch(None, vec![entry(next, 99, 10)])).unwrap();
        }
    }
}

#[test]
fn every_cut_of_a_first_start_recovers() {
    for cut in 0..60 {
        for crash_seed in 0..8 {
            check(Model::random_call, 1, cut, crash_seed);
        }
    }
}

/// A disk may keep the renaming of a file and lose its creation: what lay under the name before must not come up then.
#[test]
fn an_unfinished_file_never_becomes_the_log() {
    for seed in 0..200 {
        let disk = SimDisk::new("state");
        let model = with_history(&disk, 1, 20).normalized();
        let aside = disk.create("log.new").unwrap();
        aside.write_at(0, &[7; 2000]).unwrap();
        disk.sync_dir().unwrap();
        disk.crash(0);
        let power_out_at = Some(disk.changes() + seed % 10);
        disk.set_faults(Faults { power_out_at, ..Faults::default() });
        let _ = found(&disk);
        disk.crash(seed);
        assert_eq!(found(&disk).unwrap().map(Model::normalized), Some(model), "seed {seed}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn any_cut_recovers_what_was_acknowledged(
        seed in any::<u64>(), cut in 0u64..900, crash_seed in any::<u64>()
    ) {
        check(Model::random_call, seed, cut, crash_seed);
    }

    #[test]
    fn a_second_cut_during_recovery_loses_nothing(
        seed in any::<u64>(), cut in 20u64..500, again in 0u64..60, crash_seed in any::<u64>()
    ) {
        let disk = SimDisk::new("state");
        let (acknowledged, under_way) = run_until_cut(&disk, Model::random_call, seed, cut);
        disk.crash(crash_seed);
        let power_out_at = Some(disk.changes() + again);
        disk.set_faults(Faults { power_out_at, ..Faults::default() });
        let _ = found(&disk);
        disk.crash(crash_seed ^ 1);
        let found = found(&disk).unwrap().map(Model::normalized);
        let allowed = [acknowledged.map(Model::normalized), under_way.map(Model::normalized)];
        prop_assert!(allowed.contains(&found), "found {found:?}, allowed {allowed:?}");
    }
}
