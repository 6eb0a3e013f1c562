//! A fake daemon at a control socket, and transcripts of what `skep` does with it.

mod daemon;
mod world;

use std::{
    io::Write as _,
    path::Path,
    process::{Command, Stdio},
};

pub use daemon::FakeDaemon;
pub use world::{World, manager, worker};

/// Runs `skep` against a socket and gives what a terminal would show: standard output as it is, lines of the standard
/// error with '! ' before them, and the exit code if it is not 0.
pub fn transcript(socket: &Path, arguments: &[&str], input: &str) -> String {
    let mut child = Command::new(env!("CARGO_BIN_EXE_skep"))
        .args(arguments)
        .env_remove("SKEP_TIMEOUT")
        .env_remove("SKEP_JOIN_TOKEN")
        .env("SKEP_SOCKET", socket)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads nothing may have ended already.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let output = child.wait_with_output().unwrap();
    let mut text = String::from_utf8(output.stdout).unwrap();
    for line in String::from_utf8(output.stderr).unwrap().lines() {
        text.push_str(&format!("! {line}\n"));
    }
    match output.status.code() {
        Some(0) => {}
        Some(code) => text.push_str(&format!("exit {code}\n")),
        None => text.push_str("killed\n"),
    }
    text
}
