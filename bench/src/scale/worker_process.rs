//! The workers' process, from outside.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use anyhow::Context as _;

use super::workers::{Answer, Orders, Question};

/// A process full of simulated workers. It ends when this is dropped.
pub struct WorkerProcess {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl WorkerProcess {
    /// Starts it and waits until all workers have a session. Blocks.
    pub fn start(orders: &Orders) -> anyhow::Result<WorkerProcess> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("workers")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the workers")?;
        let input = child.stdin.take().context("the workers have no input")?;
        let output = child.stdout.take().context("the workers have no output")?;
        let mut process = WorkerProcess { child, input, output: BufReader::new(output) };
        match process.exchange(orders)? {
            Answer::Registered => Ok(process),
            _ => anyhow::bail!("the workers answered what was not asked"),
        }
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How many tasks a manager has heard of as RUNNING. Blocks for a moment.
    pub fn count(&mut self) -> anyhow::Result<usize> {
        match self.exchange(&Question::Count)? {
            Answer::Count(count) => Ok(count),
            _ => anyhow::bail!("the workers answered what was not asked"),
        }
    }

    /// When each was, in microseconds since 1970, in ascending order. Blocks for a moment.
    pub fn times(&mut self) -> anyhow::Result<Vec<u64>> {
        match self.exchange(&Question::Times)? {
            Answer::Times(times) => Ok(times),
            _ => anyhow::bail!("the workers answered what was not asked"),
        }
    }

    fn exchange(&mut self, question: &impl serde::Serialize) -> anyhow::Result<Answer> {
        serde_json::to_writer(&mut self.input, question)?;
        self.input.write_all(b"\n")?;
        self.input.flush()?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        anyhow::ensure!(!line.is_empty(), "the workers' process has ended; see its message above");
        serde_json::from_str(&line).context("cannot read what the workers say")
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
