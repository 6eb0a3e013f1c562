//! What the documents say is what happens: examples marked `console run` are run against a real daemon, and every
//! command and option of `skep` stands in the operators' page.
//!
//! What an example prints includes standard error. Environment and working folder are the daemon's; the examples of one
//! page are run in order against one daemon; those about services against one with three simulated workers.

use std::{
    collections::BTreeSet,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use skep_testkit::examples::{examples, lines_match};

const SKEP: &str = env!("CARGO_BIN_EXE_skep");
/// How long the daemon may take to found its swarm on a busy machine.
const START_TIME_MAX: &str = "60s";

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A manager that is a swarm of its own, in a folder that goes with it.
struct Daemon {
    process: Child,
    folder: tempfile::TempDir,
    socket: PathBuf,
}

impl Daemon {
    fn found() -> Daemon {
        let skepd = programs().join("skepd");
        assert!(
            skepd.is_file(),
            "{} is not built: `cargo build -p skepd`, or test the workspace",
            skepd.display()
        );
        let folder = tempfile::tempdir().unwrap();
        let at = |name| folder.path().join(name);
        let process = Command::new(skepd)
            .env_clear()
            .args(["--init", "--listen", "127.0.0.1:0", "--hostname", "manager-1"])
            .arg("--state-dir")
            .arg(at("state"))
            .arg("--control")
            .arg(at("control.sock"))
            .stderr(std::fs::File::create(at("log")).unwrap())
            .spawn()
            .unwrap();
        let socket = folder.path().join("control.sock");
        let daemon = Daemon { process, folder, socket };
        let ready = daemon.run(&format!("skep status --wait {START_TIME_MAX}"));
        assert!(ready.status.success(), "{}{}", text(&ready), daemon.log());
        daemon.await_own_session();
        daemon
    }

    /// A manager of a swarm with simulated workers, as `skepd dev` starts it.
    fn with_workers(count: u32) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Command::new(programs().join("skepd"))
            .env_clear()
            .env("TMPDIR", folder.path())
            .args(["dev", "--managers", "1", "--workers", &count.to_string()])
            .stdout(Stdio::piped())
            .stderr(std::fs::File::create(folder.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        // It prints what to type when everything is up, and would fail to print the rest if nobody read on.
        let said = BufReader::new(process.stdout.take().unwrap());
        let said = said.lines().map_while(Result::ok);
        let said: Vec<String> = said.take_while(|line| !line.starts_with("Ctrl-C")).collect();
        let socket = said
            .iter()
            .find_map(|line| line.trim().strip_prefix("export SKEP_SOCKET=").map(PathBuf::from));
        let mut daemon = Daemon { process, folder, socket: PathBuf::new() };
        daemon.socket = socket.unwrap_or_else(|| panic!("no swarm: {}", daemon.log()));
        daemon
    }

    /// The manager's own agent registers moments after the swarm was founded; the examples show a node that is ready.
    fn await_own_session(&self) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while text(&self.run("skep node ls --format '{{.Status}}'")) != "Ready\n" {
            assert!(Instant::now() < deadline, "the node is not ready: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    fn run(&self, command: &str) -> Output {
        let path = format!("{}:/usr/local/bin:/usr/bin:/bin", programs().display());
        Command::new("sh")
            .args(["-c", &format!("{{ {command}\n}} 2>&1")])
            .env_clear()
            .env("PATH", path)
            .env("SKEP_SOCKET", &self.socket)
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .output()
            .unwrap()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is gone afterwards.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Where cargo puts the programs of the workspace.
fn programs() -> PathBuf {
    Path::new(SKEP).parent().unwrap().to_owned()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn examples_hold(page: &str, daemon: &Daemon) {
    let examples = examples(&document(page));
    assert!(!examples.is_empty(), "{page} has no example that is run");
    for (command, expected) in examples {
        let printed = text(&daemon.run(&command));
        let lines: Vec<&str> = printed.lines().collect();
        assert!(
            lines_match(&expected, &lines),
            "{page}: $ {command}\nshould print\n{}\nand prints\n{printed}",
            expected.join("\n")
        );
    }
}

#[test]
fn the_examples_of_the_readme_hold() {
    examples_hold("README.md", &Daemon::with_workers(3));
}

#[test]
fn the_examples_of_the_operators_page_hold() {
    examples_hold("docs/operations.md", &Daemon::found());
}

#[test]
fn the_examples_of_the_networks_page_hold() {
    examples_hold("docs/networks.md", &Daemon::with_workers(3));
}

#[test]
fn the_examples_of_the_services_page_hold() {
    examples_hold("docs/services.md", &Daemon::with_workers(3));
}

fn help(command: &[String]) -> String {
    let output = Command::new(SKEP).args(command).arg("--help").env_clear().output().unwrap();
    assert!(output.status.success(), "skep {command:?} --help");
    text(&output)
}

/// The words of `text` that begin with `prefix`, cut where something else than a name begins.
fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    text.match_indices(prefix).map(move |(at, _)| {
        let word = &text[at..];
        &word[..word.find(|c| !is_name(c)).unwrap_or(word.len())]
    })
}

/// Everything that the help of a command and of those below it names: commands, options, variables.
fn named(command: &mut Vec<String>, found: &mut BTreeSet<String>) {
    let help = help(command);
    found.extend(words(&help, "--").filter(|word| word.len() > 2).map(str::to_owned));
    found.extend(words(&help, "SKEP_").map(str::to_owned));
    let below = help.split_once("Commands:\n").map_or("", |(_, after)| after);
    for line in below.lines().take_while(|line| !line.is_empty()) {
        // Deeper lines go on with a text.
        let Some(name) = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' ')) else {
            continue;
        };
        let name = name.split_whitespace().next().unwrap_or_default();
        if name != "help" {
            found.insert(name.to_owned());
            command.push(name.to_owned());
            named(command, found);
            command.pop();
        }
    }
}

#[test]
fn the_operators_pages_name_every_command_and_option() {
    let pages = ["docs/operations.md", "docs/services.md", "docs/networks.md"];
    let page: String = pages.iter().map(|page| document(page)).collect();
    let mut found = BTreeSet::new();
    named(&mut Vec::new(), &mut found);
    assert!(found.contains("join-token") && found.contains("--force-new-cluster"), "{found:?}");
    let told = words(&page, "--").collect::<BTreeSet<_>>();
    let missing: Vec<_> = found
        .iter()
        .filter(|name| match name.starts_with("--") {
            true => !told.contains(name.as_str()),
            false => !page.contains(name.as_str()),
        })
        .filter(|name| *name != "--version")
        .collect();
    assert!(missing.is_empty(), "{pages:?} do not name {missing:?}");
}

/// The options in the first column of the table under a heading, with what the second column says of them.
fn option_table(page: &str, heading: &str) -> Vec<(String, String)> {
    let (_, section) = page.split_once(&format!("\n### {heading}\n")).expect(heading);
    let section = section.split("\n#").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with("| `--"));
    rows.flat_map(|row| {
        let mut cells = row.trim_matches('|').split(" | ");
        let options: Vec<String> =
            words(cells.next().unwrap_or_default(), "--").map(Into::into).collect();
        let said = cells.next().unwrap_or_default().trim().to_owned();
        options.into_iter().map(move |option| (option, said.clone()))
    })
    .collect()
}

/// The options that a help text explains; those that it only mentions stand elsewhere in a line.
fn explained(help: &str) -> BTreeSet<String> {
    let is_explained = |line: &&str| {
        let line = line.trim_start();
        line.starts_with("--") || (line.starts_with('-') && line.get(2..6) == Some(", --"))
    };
    help.lines()
        .filter(is_explained)
        .filter_map(|line| words(line, "--").next())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_comparison_with_docker_is_true() {
    let own: Vec<String> = option_table(&document("docs/services.md"), "Only in Skep")
        .into_iter()
        .map(|(option, _)| option)
        .collect();
    let global = ["--socket", "--timeout", "--help"].map(str::to_owned);
    for (page, command, options_min) in [
        ("docs/services.md", ["service", "create"], 60),
        ("docs/services.md", ["service", "update"], 60),
        ("docs/networks.md", ["network", "create"], 15),
    ] {
        let table = option_table(&document(page), &command.join(" "));
        let command = command.map(str::to_owned);
        let ours = explained(&help(&command));
        let enough = table.len() > options_min && ours.len() > options_min;
        let command = command.join(" ");
        assert!(enough, "{command}: {table:?} {ours:?}");
        for (option, said) in &table {
            let expected = match said.as_str() {
                "same" | "limited" => true,
                "no" => false,
                other => panic!("{command} {option} is said to be '{other}'"),
            };
            assert_eq!(ours.contains(option), expected, "{command} {option}: {said}");
        }
        let told = |option: &String| table.iter().any(|(o, _)| o == option);
        let untold: Vec<_> =
            ours.iter().filter(|o| !told(o) && !own.contains(o) && !global.contains(o)).collect();
        assert!(untold.is_empty(), "{page} does not tell of {command} {untold:?}");

        // Where Docker is installed, its own list is held against the table too.
        let docker = Command::new("docker").args(command.split(' ')).arg("--help").output();
        let Ok(docker) = docker else { continue };
        let missing: Vec<_> =
            explained(&text(&docker)).into_iter().filter(|option| !told(option)).collect();
        assert!(missing.is_empty(), "{page} lacks Docker's {command} {missing:?}");
    }
}
