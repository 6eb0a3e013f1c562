//! Shows that the simulation finds bugs: each of a dozen is put in, and the first seed that notices it is told, with the invariant
//! that was violated. `cargo test -p skep-raft --test sabotage -- --nocapture` prints the table of
//! docs/simulation.md.

use skep_raft::sim::kv::Kv;
use skep_raft::sim::{Sabotage, Scenario, runner};

/// Seeds that are tried for each bug: fewer than what the tests run.
const SEEDS_MAX: u64 = 400;

#[test]
fn every_bug_is_found() {
    let mut missed = Vec::new();
    println!("| bug | seed | invariant | what was seen |\n|---|---|---|---|");
    let only = std::env::var("SKEP_SIM_BUG").ok();
    for bug in Sabotage::ALL {
        if only.as_ref().is_some_and(|only| *only != format!("{bug:?}")) {
            continue;
        }
        let scenario = Scenario { sabotage: Some(bug), ..Scenario::default() };
        let early = bug == Sabotage::AnswerBeforeCommit;
        let reports = runner::run_seeds(0, SEEDS_MAX, &scenario, |_| Kv::new(early));
        match reports.iter().find_map(|report| Some((report.seed, report.violation.as_ref()?))) {
            Some((seed, violation)) => {
                let detail: String = violation.detail.chars().take(120).collect();
                println!("| {bug:?} | {seed} | {} | {detail} |", violation.invariant);
            }
            None => missed.push(bug),
        }
    }
    assert!(missed.is_empty(), "not found within {SEEDS_MAX} seeds: {missed:?}");
}
