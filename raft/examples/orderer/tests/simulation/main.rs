//! The orderer's state machine and its ledger in the raft simulation: crashes, partitions, lost disks and the rest, with submitters that
//! try again until they are told.
//!
//! `SKEP_SIM_SEEDS=10000 cargo test -p skep-orderer --test simulation` runs more seeds, `SKEP_SIM_SEED=7` replays one.

mod disk;
mod invariants;
mod program;
mod replica;
mod submitters;

use program::Chain;
use skep_raft::sim::{Scenario, run, runner};

/// How to run this test again.
const TEST: &str = "cargo test -p skep-orderer --test simulation -- --nocapture histories";

#[test]
fn histories_of_the_chain_hold_every_invariant() {
    runner::check(TEST, 1_000, &Scenario::default(), Chain::new);
}

#[test]
fn one_seed_is_one_history() {
    let [first, second] = [0, 1].map(|_| run(5, Scenario::default(), Chain::new(5)));
    assert_eq!(first.violation, None);
    assert_eq!(first.trace, second.trace);
}
