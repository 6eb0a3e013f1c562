//! Real engines, really started: they form a swarm, run a container, and leave nothing behind.

use std::{path::Path, process::Command};

use skep_testkit::docker_hosts::{DockerHosts, skipped};

#[test]
fn three_engines_form_a_stock_swarm_and_leave_nothing_behind() {
    if skipped() {
        return;
    }
    let mut set = DockerHosts::start(3).unwrap();
    set.form_swarm().unwrap();
    let first = &set.hosts()[0];
    assert!(first.control_socket().exists());

    let image = first.import_busybox("busybox:test").unwrap();
    let answer = first.docker(&["run", "--rm", "--network", "none", &image, "echo", "it runs"]);
    assert_eq!(answer.unwrap(), "it runs\n");

    // A killed member comes back with the state it had.
    let last = &set.hosts()[2];
    last.kill().unwrap();
    assert_eq!(last.pid(), None);
    last.start().unwrap();
    last.wait_until_up().unwrap();
    assert_eq!(
        last.docker(&["info", "--format", "{{.Swarm.LocalNodeState}}"]).unwrap(),
        "active\n"
    );

    let pids: Vec<u32> = set.hosts().iter().filter_map(|host| host.pid()).collect();
    assert_eq!(pids.len(), 3);
    let prefix = set.subnet().name().to_owned();
    set.stop().unwrap();
    for pid in pids {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "engine {pid} still runs");
    }
    assert_eq!(namespaces(&prefix), Vec::<String>::new());
}

#[test]
fn a_panic_leaves_nothing_behind() {
    if skipped() {
        return;
    }
    let (sender, receiver) = std::sync::mpsc::channel();
    let panicked = std::thread::spawn(move || {
        let mut set = DockerHosts::start(1).unwrap();
        sender.send((set.subnet().name().to_owned(), set.hosts()[0].pid().unwrap())).unwrap();
        panic!("as a failed test does");
    });
    assert!(panicked.join().is_err());
    let (prefix, pid) = receiver.recv().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "engine {pid} still runs");
    assert_eq!(namespaces(&prefix), Vec::<String>::new());
}

fn namespaces(prefix: &str) -> Vec<String> {
    let listed = Command::new("ip").args(["netns", "list"]).output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    let names = listed.lines().filter_map(|line| line.split_whitespace().next());
    names.filter(|name| name.starts_with(&format!("{prefix}-"))).map(str::to_owned).collect()
}
