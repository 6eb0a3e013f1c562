//! What a person sees while a service converges: on a terminal a few lines that are drawn over and over, elsewhere a line
//! for each thing worth a line.

use std::{
    collections::HashMap,
    io::{self, IsTerminal as _, Write as _},
    time::Duration,
};

use skep_proto::swarmkit::TaskState;
use tokio::time::Instant;

use super::progress::{Place, Progress};
use crate::{errors::one_line, shapes::words};

/// More lines than this are of no use to a person; beyond it only the sum is shown.
const PLACES_MAX: usize = 20;
/// The longest line on a terminal: one that is wrapped could not be drawn over.
const LINE_CHARS_MAX: usize = 78;
/// The shortest time between two lines of progress where lines stay.
const LINE_GAP: Duration = Duration::from_secs(1);
/// How many troubles are remembered, so that each is told once.
const TROUBLES_MAX: usize = 1000;

/// Shows progress on the standard error.
pub struct Display {
    kind: Kind,
}

enum Kind {
    Quiet,
    /// How many lines were drawn last.
    Terminal {
        drawn: usize,
    },
    Lines {
        last: String,
        at: Option<Instant>,
        troubles: HashMap<String, String>,
    },
}

impl Display {
    /// For this process's standard error.
    pub fn on_stderr(quiet: bool) -> Display {
        let kind = match (quiet, io::stderr().is_terminal()) {
            (true, _) => Kind::Quiet,
            (false, true) => Kind::Terminal { drawn: 0 },
            (false, false) => {
                Kind::Lines { last: String::new(), at: None, troubles: HashMap::new() }
            }
        };
        Display { kind }
    }

    /// Shows how far it is; `left` is how long it has to stay as it is.
    pub fn show(&mut self, progress: &Progress, left: Option<Duration>, now: Instant) {
        let verify = left.map(|left| {
            let seconds = left.as_millis().div_ceil(1000);
            format!("verify: waiting {seconds} seconds to verify that tasks are stable")
        });
        self.draw(progress, verify, now);
    }

    /// Shows that it is done.
    pub fn converged(&mut self, progress: &Progress, name: &str, now: Instant) {
        self.draw(progress, Some(format!("verify: service {name} converged")), now);
    }

    /// Leaves what was drawn and goes to a line of its own.
    pub fn end(&mut self) {
        if let Kind::Terminal { drawn } = &mut self.kind {
            *drawn = 0;
        }
    }

    fn draw(&mut self, progress: &Progress, verify: Option<String>, now: Instant) {
        let mut out = io::stderr().lock();
        // Nobody may be left to read it; the command goes on all the same.
        let _ = match &mut self.kind {
            Kind::Quiet => Ok(()),
            Kind::Terminal { drawn } => {
                let lines = screen(progress, verify);
                let mut text = String::new();
                if *drawn > 0 {
                    // Up to the first line that was drawn, and clear from there.
                    text.push_str(&format!("\x1b[{drawn}A\x1b[J"));
                }
                *drawn = lines.len();
                lines.iter().for_each(|line| text.extend([line.as_str(), "\n"]));
                out.write_all(text.as_bytes()).and_then(|()| out.flush())
            }
            Kind::Lines { last, at, troubles } => {
                let over = verify.is_some();
                let due = over || at.is_none_or(|at| now.duration_since(at) >= LINE_GAP);
                let mut lines: Vec<String> = news(progress, troubles);
                if due && !progress.headline.is_empty() && *last != progress.headline {
                    lines.push(progress.headline.clone());
                    last.clone_from(&progress.headline);
                    *at = Some(now);
                }
                // Of the seconds that are left only the first count is told.
                let verify = verify.filter(|line| {
                    let key = "verify".to_owned();
                    let kind = line.split_whitespace().nth(1).unwrap_or_default().to_owned();
                    troubles.insert(key, kind.clone()) != Some(kind)
                });
                if !over {
                    troubles.remove("verify");
                }
                lines.extend(verify);
                lines.iter().try_for_each(|line| writeln!(out, "{line}"))
            }
        };
    }
}

/// What is drawn on a terminal.
fn screen(progress: &Progress, verify: Option<String>) -> Vec<String> {
    let mut lines = vec![progress.headline.clone()];
    if progress.places.len() <= PLACES_MAX {
        let width = progress.places.iter().map(|p| p.label.chars().count()).max().unwrap_or(0);
        lines.extend(progress.places.iter().map(|place| line(place, width)));
    }
    lines.extend(verify);
    lines.iter().map(|line| line.chars().take(LINE_CHARS_MAX).collect()).collect()
}

fn line(place: &Place, width: usize) -> String {
    let state = place.state.map(words::task_state).unwrap_or_else(|| "old".into());
    let label = one_line(&place.label);
    match one_line(&place.trouble) {
        trouble if !trouble.is_empty() => format!("{label:width$}: {state:9} {trouble}"),
        _ => format!("{label:width$}: {state:9} {}", bar(place.state)),
    }
}

/// The way of a task to RUNNING, as a bar.
fn bar(state: Option<TaskState>) -> String {
    const STEPS: [TaskState; 8] = [
        TaskState::New,
        TaskState::Pending,
        TaskState::Assigned,
        TaskState::Accepted,
        TaskState::Preparing,
        TaskState::Ready,
        TaskState::Starting,
        TaskState::Running,
    ];
    const STEP_WIDTH: usize = 5;
    let passed = state.map_or(0, |state| STEPS.iter().filter(|step| **step <= state).count());
    let (done, width) = (passed * STEP_WIDTH, STEPS.len() * STEP_WIDTH);
    format!("[{:<width$}]", "=".repeat(done.saturating_sub(1)) + if done > 0 { ">" } else { "" })
}

/// Troubles that were not told yet.
fn news(progress: &Progress, told: &mut HashMap<String, String>) -> Vec<String> {
    let mut lines = Vec::new();
    for Place { label, trouble, .. } in &progress.places {
        let known = told.get(label).is_some_and(|old| old == trouble);
        if !trouble.is_empty() && !known && told.len() < TROUBLES_MAX {
            told.insert(label.clone(), trouble.clone());
            lines.push(format!("{}: {}", one_line(label), one_line(trouble)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::wait::progress::Standing;

    fn progress(places: Vec<Place>) -> Progress {
        let headline = "overall progress: 1 out of 2 tasks".to_owned();
        Progress { headline, places, standing: Standing::Going }
    }

    fn place(label: &str, state: TaskState, trouble: &str) -> Place {
        Place { label: label.into(), state: Some(state), trouble: trouble.into() }
    }

    #[test]
    fn a_terminal_shows_each_task() {
        let progress = progress(vec![
            place("1/2", TaskState::Running, ""),
            place("2/2", TaskState::Pending, "no suitable node\u{1b}[2J"),
        ]);
        assert_eq!(
            screen(&progress, None),
            [
                "overall progress: 1 out of 2 tasks",
                "1/2: running   [=======================================>]",
                "2/2: pending   no suitable node [2J",
            ]
        );
        let many = (0..21).map(|i| place(&format!("{i}/21"), TaskState::New, "")).collect();
        let many = Progress { places: many, ..progress };
        assert_eq!(screen(&many, Some("verify: x".into())).len(), 2);
    }

    #[test]
    fn a_trouble_is_told_once() {
        let mut told = HashMap::new();
        let first = progress(vec![place("1/2", TaskState::Pending, "no suitable node")]);
        assert_eq!(news(&first, &mut told), ["1/2: no suitable node"]);
        assert!(news(&first, &mut told).is_empty());
        let second = progress(vec![place("1/2", TaskState::Pending, "exit 1")]);
        assert_eq!(news(&second, &mut told), ["1/2: exit 1"]);
    }
}
