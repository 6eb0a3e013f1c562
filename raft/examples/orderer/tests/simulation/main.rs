//! The orderer's state machine and its ledger in the raft simulation: crashes, partitions, lost disks and the rest, with submitters that
//! try again until they are told.
//!
//! `SKEP_SIM_SEEDS=10000 cargo test -p skep-orderer --test simulation` runs more seeds, `SKEP_SIM_SEED=7` replays one.

mod bugs;
mod disk;
mod invariants;
mod program;
mod replica;
mod submitters;

use std::sync::atomic::Ordering;

use bugs::Bug;
use program::Chain;
use replica::PULLED;
use skep_raft::sim::{Scenario, run, runner};

/// How to run this test again.
const TEST: &str = "cargo test -p skep-orderer --test simulation -- --nocapture histories";

#[test]
fn histories_of_the_chain_hold_every_invariant() {
    let pulled = PULLED.load(Ordering::Relaxed);
    runner::check(TEST, 1_000, &Scenario::default(), |seed| Chain::new(seed, None));
    // One that is sent a snapshot ahead of its ledger is what the simulation is for, too.
    if std::env::var_os(runner::SEED_VARIABLE).is_none() {
        let pulled = PULLED.load(Ordering::Relaxed) - pulled;
        println!("{pulled} times a ledger was behind a snapshot");
        assert!(pulled > 0);
    }
}

#[test]
fn one_seed_is_one_history() {
    let [first, second] = [0, 1].map(|_| run(5, Scenario::default(), Chain::new(5, None)));
    assert_eq!(first.violation, None);
    assert_eq!(first.trace, second.trace);
}

/// Histories that are tried for each bug: fewer than what the tests run.
const BUG_SEEDS: u64 = 300;

#[test]
fn every_bug_is_found() {
    for (bug, invariants) in Bug::ALL {
        let new = |seed| Chain::new(seed, Some(bug));
        let reports = runner::run_seeds(0, BUG_SEEDS, &Scenario::default(), new);
        let found = reports.into_iter().find_map(|report| Some((report.seed, report.violation?)));
        let (seed, violation) = found.unwrap_or_else(|| panic!("{bug:?} is not found"));
        println!("{bug:?}: seed {seed}, {violation}");
        assert!(invariants.contains(&violation.invariant), "{bug:?}");
    }
}
