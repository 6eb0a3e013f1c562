//! Transcripts of `skep task`.

use crate::support::{FakeDaemon, World, worker};

fn daemon() -> FakeDaemon {
    let mut world = World::active();
    world.nodes.push(worker("worker2", "w2"));
    let daemon = FakeDaemon::start(world);
    for (name, replicas) in [("web", "2"), ("db", "1")] {
        let create = ["service", "create", "-d", "--name", name, "--replicas", replicas, "nginx"];
        daemon.skep(&create);
    }
    daemon
}

#[test]
fn tasks_are_listed_by_service() {
    let daemon = daemon();
    assert_eq!(
        daemon.skep(&["task", "ls", "--format", "name,node,desiredstate"]),
        "NAME    NODE   DESIRED STATE\ndb.1    w2     Running\nweb.1   w2     Running\nweb.2   w2     Running\n"
    );
    assert_eq!(daemon.skep(&["task", "ls", "-q", "--filter", "service=db"]), "service2-task1\n");
    assert_eq!(
        daemon.skep(&[
            "task",
            "ls",
            "--no-resolve",
            "--format",
            "{{.Name}}",
            "--filter",
            "id=service2"
        ]),
        "service2.1\n"
    );
}

#[test]
fn a_task_is_inspected_by_the_beginning_of_its_id() {
    let daemon = daemon();
    let fields =
        "{{.ID}} {{.Slot}} {{.Status.State}} {{.DesiredState}} {{.Spec.ContainerSpec.Image}}";
    assert_eq!(
        daemon.skep(&["task", "inspect", "service2", "-f", fields]),
        "service2-task1 1 running running nginx\n"
    );
    assert_eq!(
        daemon.skep(&["task", "inspect", "service1"]),
        "[]\n! Error: task service1 is ambiguous: 2 match; give more of the ID\nexit 1\n"
    );
    assert_eq!(
        daemon.skep(&["task", "inspect", "x", "-f", "{{.ID}}"]),
        "! Error: no such task: x ('skep task ls' shows what there is)\nexit 1\n"
    );
}
