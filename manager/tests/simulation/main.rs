//! The real store, behind the manager's own state machine, in the raft simulation: crashes, partitions and the rest, with
//! transactions pipelined on a speculative head.
//!
//! `SKEP_SIM_SEEDS=1000 cargo test -p skepd --test simulation` runs more seeds, `SKEP_SIM_SEED=7` replays one.

mod machine;
mod program;

use program::Objects;
use skep_raft::sim::{Scenario, run, runner};

/// How to run this test again.
const TEST: &str = "cargo test -p skepd --test simulation -- --nocapture histories";

#[test]
fn histories_of_the_store_hold_every_invariant() {
    runner::check(TEST, 100, &Scenario::default(), |_| Objects::default());
}

#[test]
fn one_seed_is_one_history() {
    let [first, second] = [0, 1].map(|_| run(5, Scenario::default(), Objects::default()));
    assert_eq!(first.trace, second.trace);
    assert_eq!(first.violation, None);
}
