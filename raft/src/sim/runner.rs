//! Many seeds on many threads, and how to replay one.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use super::program::Program;
use super::scenario::Scenario;
use super::world::{Report, run};

/// Replays this one seed, and prints its history.
pub const SEED_VARIABLE: &str = "SKEP_SIM_SEED";
/// Begins with this seed instead of 0.
pub const FIRST_VARIABLE: &str = "SKEP_SIM_FIRST";
/// Runs so many seeds.
pub const SEEDS_VARIABLE: &str = "SKEP_SIM_SEEDS";

/// Runs `count` seeds from `first` on as many threads as there are processors; gives the reports in the order of seeds. Stops
/// early once one fails.
pub fn run_seeds<P: Program>(
    first: u64,
    count: u64,
    scenario: &Scenario,
    program: impl Fn(u64) -> P + Sync,
) -> Vec<Report> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicU64::new(first);
    let reports = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + count {
                        return;
                    }
                    let report = run(seed, scenario.clone(), program(seed));
                    if report.violation.is_some() {
                        next.store(first + count, Ordering::Relaxed);
                    }
                    reports.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap_or_else(|poisoned| poisoned.into_inner());
    reports.sort_by_key(|report| report.seed);
    reports
}

/// What a test does: one seed when [`SEED_VARIABLE`] is set, else [`SEEDS_VARIABLE`] of them or `count`. `test` is how to run the test
/// again, as `cargo test -p … -- name`.
///
/// # Panics
/// When an invariant is violated, with how to replay it.
pub fn check<P: Program>(
    test: &str,
    count: u64,
    scenario: &Scenario,
    program: impl Fn(u64) -> P + Sync,
) {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let reports = match number(SEED_VARIABLE) {
        Some(seed) => {
            let scenario = Scenario { print: true, ..scenario.clone() };
            vec![run(seed, scenario, program(seed))]
        }
        None => run_seeds(
            number(FIRST_VARIABLE).unwrap_or(0),
            number(SEEDS_VARIABLE).unwrap_or(count),
            scenario,
            program,
        ),
    };
    for report in &reports {
        if let Some(violation) = &report.violation {
            let seed = report.seed;
            panic!(
                "seed {seed}: {violation}\ntrace {:016x}; replay with\n    {SEED_VARIABLE}={seed} {test}",
                report.trace
            );
        }
    }
    let sum = |value: fn(&Report) -> u64| reports.iter().map(value).sum::<u64>();
    println!(
        "{} histories: {} virtual seconds, {} events, {} lives of members, {} entries committed, {} writes acknowledged; traces {:016x}",
        reports.len(),
        sum(|r| r.virtual_ms) / 1000,
        sum(|r| r.events),
        sum(|r| u64::from(r.lives)),
        sum(|r| r.committed as u64),
        sum(|r| r.acknowledged),
        reports.iter().fold(0u64, |all, r| all.rotate_left(1) ^ r.trace),
    );
}
