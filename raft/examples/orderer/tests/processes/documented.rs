//! The commands of docs/orderer.md do what the page says: they are typed into one shell, in order, each expected to print what stands
//! below it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use skep_testkit::examples::{examples, lines_match};

use crate::cluster::{ORDERER, own_address};

/// What the shell says when a command is done.
const DONE: &str = "--- done";

/// A shell in a folder of its own. What it has started goes with it.
struct Shell {
    process: Child,
    commands: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn start(folder: &Path) -> Shell {
        let programs = Path::new(ORDERER).parent().expect("the program is in a folder");
        let mut process = Command::new("bash")
            .env_clear()
            .env("PATH", format!("{}:/usr/local/bin:/usr/bin:/bin", programs.display()))
            .current_dir(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let mut commands = process.stdin.take();
        let output = BufReader::new(process.stdout.take().expect("it is piped"));
        let stdin = commands.as_mut().expect("it is piped");
        writeln!(stdin, "exec 2>&1; trap 'kill -9 $(jobs -p)' EXIT").expect("the shell reads");
        Shell { process, commands, output }
    }

    fn run(&mut self, command: &str) -> Vec<String> {
        let stdin = self.commands.as_mut().expect("the shell runs");
        writeln!(stdin, "{command}\necho '{DONE}'").expect("the shell reads");
        let mut lines: Vec<String> = Vec::new();
        for line in self.output.by_ref().lines() {
            let line = line.expect("text");
            if line == DONE {
                break;
            }
            lines.push(line);
        }
        lines
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        // The end of its input is the end of the shell, which ends what it has started.
        self.commands = None;
        let _ = self.process.wait();
    }
}

#[test]
fn the_examples_of_the_page_hold() {
    if Command::new("curl").arg("--version").output().is_err() {
        assert!(std::env::var_os("SKEP_TEST_REQUIRE_ALL").is_none(), "curl is not installed");
        println!("skipped: curl is not installed");
        return;
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../docs/orderer.md");
    // Elsewhere on this machine than where somebody may be trying the page.
    let page = std::fs::read_to_string(page).expect("the page");
    let page = page.replace("127.0.0.1", &own_address().to_string());
    let folder = tempfile::tempdir().expect("a folder");
    let mut shell = Shell::start(folder.path());
    let examples = examples(&page);
    assert!(!examples.is_empty());
    for (command, expected) in examples {
        let printed = shell.run(&command);
        let lines: Vec<&str> = printed.iter().map(String::as_str).collect();
        assert!(
            lines_match(&expected, &lines),
            "$ {command}\nshould print\n{}\nand prints\n{}",
            expected.join("\n"),
            printed.join("\n")
        );
    }
}
