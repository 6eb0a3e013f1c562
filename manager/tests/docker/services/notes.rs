//! What the containers of a job write into a file that they share: who began and who ended, in the order in which they did.

use std::{collections::BTreeSet, path::Path};

use tempfile::TempDir;

use super::spec::Spec;

/// Work that takes a second and notes when it began and ended.
pub const WORK: &str = "echo begin $TASK >> /done/log; sleep 1; echo end $TASK >> /done/log";

/// The notes of one job.
pub struct Notes(TempDir);

impl Notes {
    pub fn new() -> Notes {
        Notes(TempDir::new().unwrap())
    }

    /// The job with this script, whose notes these are.
    pub fn kept_by(&self, job: Spec, script: &str) -> Spec {
        job.script(script).env("TASK", "{{.Task.ID}}").folder(self.folder(), "/done")
    }

    fn folder(&self) -> &Path {
        self.0.path()
    }

    fn lines(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.folder().join("log")).unwrap_or_default();
        // A line under way is not there yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let words = whole.lines().filter_map(|line| line.split_once(' '));
        words.map(|(what, task)| (what.to_owned(), task.to_owned())).collect()
    }

    fn count(&self, wanted: &str) -> usize {
        self.lines().iter().filter(|(what, _)| what == wanted).count()
    }

    /// How often the work was begun.
    pub fn began(&self) -> usize {
        self.count("begin")
    }

    /// How often it was done.
    pub fn ended(&self) -> usize {
        self.count("end")
    }

    /// The tasks that did it.
    pub fn done_by(&self) -> BTreeSet<String> {
        let ended = self.lines().into_iter().filter(|(what, _)| what == "end");
        ended.map(|(_, task)| task).collect()
    }

    /// How many were at work at the same time, at the most.
    pub fn at_a_time(&self) -> usize {
        let mut now = 0;
        let at_work = |(what, _): &(String, String)| {
            now = if what == "begin" { now + 1 } else { now - 1 };
            now
        };
        self.lines().iter().map(at_work).max().unwrap_or(0)
    }
}
