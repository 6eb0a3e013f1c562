//! The simulation with registers: many seeds, and the same seed twice.
//!
//! `SKEP_SIM_SEEDS=10000 cargo test -p skep-raft --test simulation` runs more of them, `SKEP_SIM_SEED=7` replays one.

use skep_raft::sim::kv::Kv;
use skep_raft::sim::{Scenario, run, runner};

/// How to run this test again.
const TEST: &str = "cargo test -p skep-raft --test simulation -- --nocapture histories";

#[test]
fn histories_hold_every_invariant() {
    // With RUST_LOG=debug a replayed seed tells what the members thought.
    let _ = tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .without_time()
        .with_ansi(false)
        .with_writer(std::io::stderr)
        .try_init();
    runner::check(TEST, 1_000, &Scenario::default(), |_| Kv::new(false));
}

#[test]
fn one_seed_is_one_history() {
    for seed in [3, 17, 40] {
        let [first, second] = [0, 1].map(|_| run(seed, Scenario::default(), Kv::new(false)));
        assert_eq!(first.trace, second.trace, "seed {seed}");
        assert_eq!((first.events, first.committed), (second.events, second.committed));
    }
}
