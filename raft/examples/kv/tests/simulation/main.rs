//! The store's own state machine in the raft simulation: crashes, partitions, lost disks and the rest.
//!
//! `SKEP_SIM_SEEDS=10000 cargo test -p skep-kv --test simulation` runs more seeds, `SKEP_SIM_SEED=7` replays one.

mod clients;
mod replica;

use clients::Clients;
use skep_raft::sim::{Scenario, run, runner};

/// How to run this test again.
const TEST: &str = "cargo test -p skep-kv --test simulation -- --nocapture histories";

#[test]
fn histories_of_the_store_hold_every_invariant() {
    runner::check(TEST, 1_000, &Scenario::default(), |_| Clients::default());
}

#[test]
fn one_seed_is_one_history() {
    for seed in [3, 17] {
        let [first, second] = [0, 1].map(|_| run(seed, Scenario::default(), Clients::default()));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!(first.violation, None);
    }
}
