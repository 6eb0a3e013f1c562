//! The course of an update as scripts: what it is told at which second, and what it says.

use std::time::Duration;

use skep_proto::{
    ids::TaskId,
    swarmkit::{Version, update_config::FailureAction},
};

use super::{Action, Update, UpdatePlan, Verdict, machine::Seen};
use crate::orchestrator::{moment::Moment, task::Place};

fn at(seconds: u64) -> Moment {
    Moment::default().after(Duration::from_secs(1_000 + seconds))
}

fn task(name: &str) -> TaskId {
    name.parse().unwrap()
}

fn plan(parallelism: usize, delay: u64, action: FailureAction) -> UpdatePlan {
    UpdatePlan {
        rollback: false,
        parallelism,
        delay: Duration::from_secs(delay),
        monitor: Duration::from_secs(5),
        action,
        max_failure_ratio: 0.0,
        start_first: false,
    }
}

fn update(plan: UpdatePlan, places: u64) -> Update {
    let mut update = Update::new(Some(Version { index: 7 }), plan, true);
    update.enqueue((1..=places).map(Place::Slot));
    update
}

/// What the update says at a second, and when it wants to be asked again.
fn step(update: &mut Update, second: u64) -> String {
    let (actions, wake) = update.step(at(second));
    let mut said: Vec<String> = actions
        .iter()
        .map(|action| match action {
            Action::Begin(Place::Slot(slot)) => format!("begin {slot}"),
            Action::Begin(Place::Node(node)) => format!("begin {node}"),
            Action::Report(verdict) => match verdict {
                Verdict::Started => "started".into(),
                Verdict::Completed => "completed".into(),
                Verdict::Paused(task) => format!("paused by {task}"),
                Verdict::RolledBack(task) => format!("rolled back by {task}"),
                Verdict::RollbackPaused(task) => format!("rollback paused by {task}"),
            },
        })
        .collect();
    said.extend(wake.map(|wake| format!("ask at {}", wake.since(at(0)).as_secs())));
    said.join(", ")
}

fn began(update: &mut Update, slot: u64, name: &str, second: u64) {
    update.began(Place::Slot(slot), Some((task(name), None)), at(second));
}

#[test]
fn places_take_turns_rest_and_are_watched_to_the_end() {
    let mut update = update(plan(2, 3, FailureAction::Pause), 3);
    assert_eq!(step(&mut update, 0), "started, begin 1, begin 2");
    began(&mut update, 1, "a", 0);
    began(&mut update, 2, "b", 0);
    assert_eq!(step(&mut update, 1), "");
    update.saw(task("b"), Seen::Running, at(2));
    assert_eq!(step(&mut update, 2), "ask at 5");
    assert_eq!(step(&mut update, 4), "ask at 5", "the delay after a place keeps its turn");
    assert_eq!(step(&mut update, 5), "begin 3");
    began(&mut update, 3, "c", 5);
    update.saw(task("a"), Seen::Running, at(6));
    update.saw(task("c"), Seen::Running, at(7));
    assert_eq!(step(&mut update, 7), "ask at 9");
    assert_eq!(step(&mut update, 10), "ask at 15", "one more monitor time after the last delay");
    assert_eq!(step(&mut update, 15), "completed");
    assert_eq!(step(&mut update, 16), "", "nothing is said twice");
}

#[test]
fn what_ends_within_the_monitor_time_is_a_failure() {
    // (second at which the task runs, second at which it ends, whether that is a failure)
    for (runs, ends, fails) in [
        (None, 1, true),
        (None, 100, true),
        (Some(1), 2, true),
        (Some(1), 6, true),
        (Some(1), 7, false),
    ] {
        let mut update = update(plan(1, 0, FailureAction::Pause), 2);
        step(&mut update, 0);
        began(&mut update, 1, "a", 0);
        if let Some(runs) = runs {
            update.saw(task("a"), Seen::Running, at(runs));
        }
        update.saw(task("a"), Seen::Ended, at(ends));
        let expected = if fails { "paused by a" } else { "begin 2" };
        assert_eq!(step(&mut update, ends), expected, "{runs:?} {ends}");
    }
}

#[test]
fn too_many_failures_do_what_was_asked_for() {
    use FailureAction::{Continue, Pause, Rollback};
    for (action, rollback, ratio, failures, expected) in [
        (Pause, false, 0.0, 1, "paused by t1"),
        (Pause, false, 0.25, 1, ""),
        (Pause, false, 0.25, 2, "paused by t2"),
        (Rollback, false, 0.0, 1, "rolled back by t1"),
        (Rollback, true, 0.0, 1, "rollback paused by t1"),
        (Pause, true, 0.0, 1, "paused by t1"),
        (Continue, false, 0.0, 4, ""),
        (Pause, false, 1.0, 4, ""),
    ] {
        let plan = UpdatePlan { rollback, max_failure_ratio: ratio, ..plan(4, 60, action) };
        let mut update = update(plan, 4);
        step(&mut update, 0);
        for n in 1..=4 {
            began(&mut update, n, &format!("t{n}"), 0);
        }
        let mut said = String::new();
        for n in 1..=failures {
            update.saw(task(&format!("t{n}")), Seen::Ended, at(1));
            said = step(&mut update, 1);
        }
        let said = said.split(", ").find(|word| !word.starts_with("ask")).unwrap_or("");
        assert_eq!(said, expected, "{action:?} {rollback} {ratio} {failures}");
    }
}

#[test]
fn a_task_that_was_told_to_stop_or_moved_is_no_failure() {
    let mut update = update(plan(1, 0, FailureAction::Pause), 2);
    step(&mut update, 0);
    began(&mut update, 1, "a", 0);
    update.moved(Place::Slot(1), task("b"));
    update.saw(task("a"), Seen::Stopped, at(1));
    assert_eq!(step(&mut update, 1), "", "the place's turn goes on with the other task");
    update.saw(task("b"), Seen::Running, at(2));
    assert_eq!(step(&mut update, 2), "begin 2");
    began(&mut update, 2, "c", 2);
    update.saw(task("c"), Seen::Stopped, at(3));
    assert_eq!(step(&mut update, 3), "ask at 8", "a place that is given up is no failure either");
}

#[test]
fn a_new_leader_takes_up_turns_rests_and_failures() {
    let mut update = Update::new(None, plan(2, 10, FailureAction::Pause), false);
    update.resume(Place::Slot(1), task("a"), Some(at(0)), at(20));
    update.resume(Place::Slot(2), task("b"), Some(at(15)), at(20));
    update.resume(Place::Slot(3), task("c"), None, at(20));
    update.enqueue([Place::Slot(4)].into_iter());
    assert_eq!(step(&mut update, 20), "ask at 25", "two are in change: one rests, one starts");
    assert_eq!(step(&mut update, 25), "begin 4");
    update.saw(task("c"), Seen::Ended, at(26));
    assert_eq!(step(&mut update, 26), "paused by c");

    let mut update = Update::new(None, plan(2, 10, FailureAction::Pause), false);
    update.resume(Place::Slot(1), task("a"), Some(at(0)), at(20));
    update.resume_failed(task("x"));
    update.enqueue([].into_iter());
    assert_eq!(step(&mut update, 20), "paused by x");

    let mut nothing = Update::new(None, plan(2, 10, FailureAction::Pause), false);
    nothing.enqueue([].into_iter());
    assert_eq!(step(&mut nothing, 0), "completed");
}
