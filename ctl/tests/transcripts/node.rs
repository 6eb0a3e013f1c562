//! Transcripts of `skep node`.

use skep_proto::swarmkit::{
    ContainerSpec, NodeRole, NodeSpec, Task, TaskSpec, TaskState, TaskStatus, node_spec,
    node_status, task_spec,
};
use tonic::Status;

use crate::support::{FakeDaemon, World, manager, worker};

fn cluster() -> FakeDaemon {
    let mut world = World::active();
    world.nodes.push(manager("node2", "m2", false));
    world.nodes.push(worker("worker3", "w3"));
    world.nodes.push(worker("worker4", "w4"));
    let down = &mut world.nodes[3];
    down.status.as_mut().unwrap().set_state(node_status::State::Down);
    down.spec.as_mut().unwrap().set_availability(node_spec::Availability::Drain);
    FakeDaemon::start(world)
}

fn spec(daemon: &FakeDaemon, id: &str) -> NodeSpec {
    daemon.world().nodes.iter().find(|n| n.id == id).unwrap().spec.clone().unwrap()
}

#[test]
fn ls_shows_dockers_columns() {
    let daemon = cluster();
    assert_eq!(
        daemon.skep(&["node", "ls"]),
        "\
ID        HOSTNAME   STATUS   AVAILABILITY   MANAGER STATUS   ENGINE VERSION
node1 *   m1         Ready    Active         Leader           20.10.24
node2     m2         Ready    Active         Reachable        20.10.24
worker3   w3         Ready    Active                          20.10.24
worker4   w4         Down     Drain                           20.10.24
"
    );
}

#[test]
fn ls_prints_as_it_is_told() {
    let daemon = cluster();
    assert_eq!(daemon.skep(&["node", "ls", "-q"]), "node1\nnode2\nworker3\nworker4\n");
    assert_eq!(
        daemon.skep(&[
            "node",
            "ls",
            "--format",
            "{{.ID}}: {{.Hostname}}",
            "--filter",
            "role=worker"
        ]),
        "worker3: w3\nworker4: w4\n"
    );
    assert_eq!(
        daemon.skep(&["node", "ls", "--format", "hostname,status", "--filter", "name=m"]),
        "HOSTNAME   STATUS\nm1         Ready\nm2         Ready\n"
    );
    assert_eq!(
        daemon.skep(&["node", "ls", "--format", "json", "--filter", "id=node1"]),
        r#"{"ID":"node1","Self":true,"Hostname":"m1","Status":"Ready","Availability":"Active","ManagerStatus":"Leader","EngineVersion":"20.10.24","TLSStatus":"Ready"}
"#
    );
}

#[test]
fn a_host_name_cannot_drive_the_terminal() {
    let daemon = FakeDaemon::start(World::active());
    daemon.world().nodes.push(worker("w9", "evil\u{1b}[2J\nnode1 *"));
    let shown = daemon.skep(&["node", "ls"]);
    assert!(!shown.contains('\u{1b}'), "{shown:?}");
    assert_eq!(shown.lines().count(), 3, "{shown}");
}

#[test]
fn a_node_is_found_by_id_name_beginning_and_self() {
    let daemon = cluster();
    let id = |given| daemon.skep(&["node", "inspect", given, "-f", "{{.ID}}"]);
    assert_eq!(id("worker3"), "worker3\n");
    assert_eq!(id("w3"), "worker3\n");
    assert_eq!(id("node2"), "node2\n");
    assert_eq!(id("self"), "node1\n");
    assert_eq!(
        id("worker"),
        "! Error: node worker is ambiguous: 2 match; give more of the ID\nexit 1\n"
    );
    assert_eq!(id("x"), "! Error: no such node: x ('skep node ls' shows what there is)\nexit 1\n");
}

#[test]
fn inspect_shows_what_is_found_and_says_what_is_not() {
    let daemon = cluster();
    let fields = "{{.Spec.Role}} {{.Spec.Availability}} {{.Status.State}} {{.ManagerStatus.Addr}}";
    assert_eq!(
        daemon.skep(&["node", "inspect", "m1", "nobody", "w4", "-f", fields]),
        "manager active ready 10.0.0.1:2377\nworker drain down \n\
         ! Error: no such node: nobody ('skep node ls' shows what there is)\nexit 1\n"
    );
    let shown = daemon.skep(&["node", "inspect", "w3"]);
    let start = r#"[
    {
        "ID": "worker3",
        "Version": {
            "Index": 5
        },
        "CreatedAt": "2023-11-14T22:13:20Z",
        "UpdatedAt": "2023-11-14T22:14:20Z",
        "Spec": {
            "Labels": {},
            "Role": "worker",
            "Availability": "active"
        },
        "Description": {
            "Hostname": "w3",
"#;
    assert!(shown.starts_with(start), "{shown}");
}

#[test]
fn update_changes_availability_role_and_labels() {
    let daemon = cluster();
    let update = ["node", "update", "--availability", "drain", "--label-add", "disk=ssd", "w3"];
    assert_eq!(daemon.skep(&update), "w3\n");
    let changed = spec(&daemon, "worker3");
    assert_eq!(changed.availability(), node_spec::Availability::Drain);
    assert_eq!(changed.annotations.unwrap().labels["disk"], "ssd");

    let remove = ["node", "update", "--label-rm", "disk", "--role", "manager", "w3"];
    assert_eq!(daemon.skep(&remove), "w3\n");
    let changed = spec(&daemon, "worker3");
    assert_eq!(changed.desired_role(), NodeRole::Manager);
    assert!(changed.annotations.unwrap().labels.is_empty());
    assert_eq!(
        daemon.skep(&["node", "update", "--label-rm", "disk", "w3"]),
        "! Error: cannot update node w3: it has no label disk\nexit 1\n"
    );
}

#[test]
fn an_update_that_somebody_else_was_faster_than_is_made_again() {
    let daemon = cluster();
    daemon.world().interference = 2;
    assert_eq!(daemon.skep(&["node", "update", "--availability", "pause", "w3"]), "w3\n");
    assert_eq!(spec(&daemon, "worker3").availability(), node_spec::Availability::Pause);
}

#[test]
fn promote_and_demote_say_what_they_did() {
    let daemon = cluster();
    assert_eq!(
        daemon.skep(&["node", "promote", "w3", "m2"]),
        "Node w3 promoted to a manager in the swarm.\nNode m2 is already a manager.\n"
    );
    assert_eq!(
        daemon.skep(&["node", "demote", "w3", "w4"]),
        "Manager w3 demoted in the swarm.\nNode w4 is already a worker.\n"
    );
    let text = "can't remove member from the raft: this would result in a loss of quorum";
    daemon.world().refuse("UpdateNode", Status::failed_precondition(text));
    assert_eq!(
        daemon.skep(&["node", "demote", "m2", "m1"]),
        format!(
            "! Error: cannot update node node2: {text}\n! Error: cannot update node node1: {text}\nexit 1\n"
        )
    );
}

#[test]
fn rm_needs_force_for_a_node_that_is_up() {
    let daemon = cluster();
    assert_eq!(
        daemon.skep(&["node", "rm", "w3", "w4"]),
        "w4\n! Error: cannot remove node w3: node worker3 is not down and can't be removed\nexit 1\n"
    );
    assert_eq!(daemon.skep(&["node", "rm", "--force", "w3"]), "w3\n");
    assert_eq!(daemon.skep(&["node", "ls", "-q"]), "node1\nnode2\n");
}

#[test]
fn ps_lists_the_tasks_of_a_node() {
    let daemon = cluster();
    let task = |id: &str, slot| Task {
        id: id.into(),
        service_id: "web".into(),
        slot,
        node_id: "worker3".into(),
        spec: Some(
            TaskSpec {
                runtime: Some(task_spec::Runtime::Container(ContainerSpec {
                    image: "nginx".into(),
                    ..ContainerSpec::default()
                })),
                ..TaskSpec::default()
            }
            .into(),
        ),
        status: Some(TaskStatus { state: TaskState::Running.into(), ..TaskStatus::default() }),
        desired_state: TaskState::Running.into(),
        ..Task::default()
    };
    daemon.world().tasks.extend([task("t2", 2), task("t1", 1)]);
    assert_eq!(
        daemon.skep(&["node", "ps", "w3"]),
        "\
ID   NAME    IMAGE   NODE   DESIRED STATE   CURRENT STATE   ERROR   PORTS
t1   web.1   nginx   w3     Running         Running
t2   web.2   nginx   w3     Running         Running
"
    );
    assert_eq!(daemon.skep(&["node", "ps", "-q"]), "");
}
