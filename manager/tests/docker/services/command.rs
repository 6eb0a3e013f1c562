//! The operator's command, run against a manager of the scene.

use std::{
    io::{BufRead as _, BufReader, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use skep_testkit::skepd_process::Skepd;
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    task::{block_in_place, spawn_blocking},
    time::timeout,
};

/// Runs `skep` to its end.
pub fn skep(manager: &Skepd, words: &[&str]) -> Output {
    block_in_place(|| command(manager, words).output().unwrap())
}

/// What it printed.
pub fn text(output: &[u8]) -> String {
    String::from_utf8_lossy(output).into_owned()
}

fn command(manager: &Skepd, words: &[&str]) -> Command {
    let program = program();
    assert!(
        program.is_file(),
        "{} is not built: `cargo build -p skep`, or test the workspace",
        program.display()
    );
    let mut command = Command::new(program);
    command.args(words).env_clear().env("SKEP_SOCKET", manager.control()).stdin(Stdio::null());
    command
}

/// Where cargo puts the programs of the workspace.
fn program() -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_skepd")).with_file_name("skep")
}

/// A `skep` that runs on, and the lines that it prints. Killed when it is dropped.
pub struct Running {
    process: Child,
    lines: UnboundedReceiver<Line>,
    seen: Vec<Line>,
}

/// A line on one of the outputs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    Out(String),
    Err(String),
}

impl Line {
    fn begins_as(&self, beginning: &Line) -> bool {
        match (self, beginning) {
            (Line::Out(line), Line::Out(beginning)) | (Line::Err(line), Line::Err(beginning)) => {
                line.starts_with(beginning)
            }
            _ => false,
        }
    }
}

impl Running {
    pub fn start(manager: &Skepd, words: &[&str]) -> Running {
        let mut command = command(manager, words);
        let mut process = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = unbounded_channel();
        read(process.stdout.take().unwrap(), sender.clone(), Line::Out);
        read(process.stderr.take().unwrap(), sender, Line::Err);
        Running { process, lines, seen: Vec::new() }
    }

    /// How often it printed this line, as far as was waited for.
    pub fn printed(&self, line: &Line) -> usize {
        self.seen.iter().filter(|seen| *seen == line).count()
    }

    /// Waits until for each of these a line that begins so was printed since the last time that something was waited for.
    pub async fn print(&mut self, limit: Duration, wanted: &[Line]) {
        let mut missing = wanted.to_vec();
        let all = timeout(limit, async {
            while !missing.is_empty() {
                let line = self.lines.recv().await.expect("the command runs on");
                if let Some(at) = missing.iter().position(|wanted| line.begins_as(wanted)) {
                    missing.remove(at);
                }
                self.seen.push(line);
            }
        });
        if all.await.is_err() {
            panic!("not printed within {limit:?}: {missing:?}; but {:#?}", self.seen);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn read(from: impl Read + Send + 'static, to: UnboundedSender<Line>, kind: fn(String) -> Line) {
    spawn_blocking(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(kind(line)).is_err() {
                return;
            }
        }
    });
}
