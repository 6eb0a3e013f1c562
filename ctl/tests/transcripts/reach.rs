//! What an operator sees when the daemon is not there, or is not what the command needs; and what is the same for every
//! command.

use std::os::unix::fs::PermissionsExt;

use skep_proto::skep::DaemonState;
use tonic::Status;

use crate::support::{FakeDaemon, World, transcript};

#[test]
fn no_socket_means_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    assert_eq!(
        transcript(&socket, &["node", "ls"], ""),
        format!(
            "! Error: cannot reach a daemon at {}: there is no such socket; is skepd running? \
             Start it, or name its socket with --socket or SKEP_SOCKET\nexit 1\n",
            socket.display()
        )
    );
}

#[test]
fn a_socket_that_nobody_listens_at_means_a_dead_daemon() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control.sock");
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert_eq!(
        transcript(&socket, &["node", "ls"], ""),
        format!(
            "! Error: cannot reach a daemon at {}: nobody listens there; skepd has stopped: \
             start it again\nexit 1\n",
            socket.display()
        )
    );
}

#[test]
fn a_socket_of_somebody_else_says_so() {
    let daemon = FakeDaemon::start(World::active());
    let folder = daemon.socket().parent().unwrap().to_owned();
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o000)).unwrap();
    let shown = daemon.skep(&["node", "ls", "-q"]);
    std::fs::set_permissions(&folder, PermissionsExt::from_mode(0o700)).unwrap();
    // Root may enter any folder.
    if shown != "node1\n" {
        assert!(shown.contains("permission denied; run as the user who runs skepd"), "{shown}");
        assert!(shown.ends_with("exit 1\n"), "{shown}");
    }
}

#[test]
fn the_state_of_the_daemon_says_what_to_do() {
    let table = [
        (
            DaemonState::Inactive,
            "this daemon is not part of a swarm; use 'skep swarm init' or 'skep swarm join'",
        ),
        (DaemonState::Locked, "this manager is locked; use 'skep swarm unlock'"),
        (DaemonState::Pending, "this daemon is still on its way into the swarm; wait"),
    ];
    for (state, hint) in table {
        let daemon = FakeDaemon::start(World::in_state(state));
        let expected = format!("! Error: cannot list nodes: {hint}\nexit 1\n");
        assert_eq!(daemon.skep(&["node", "ls"]), expected);
    }
}

#[test]
fn a_worker_sends_the_operator_to_a_manager() {
    let daemon = FakeDaemon::start(World::active());
    daemon.world().status.role = "swarm-worker".into();
    daemon
        .world()
        .refuse("ListNodes", Status::unimplemented("/docker.swarmkit.v1.Control/ListNodes"));
    assert_eq!(
        daemon.skep(&["node", "ls"]),
        "! Error: cannot list nodes: this node is a worker; run the command on a manager\nexit 1\n"
    );
}

#[test]
fn the_texts_of_the_daemon_pass_through() {
    let daemon = FakeDaemon::start(World::active());
    let text = "The swarm does not have a leader. It's possible that too few managers are online. \
                Make sure more than half of the managers are online.";
    daemon.world().refuse("ListNodes", Status::unknown(text));
    assert_eq!(
        daemon.skep(&["node", "ls"]),
        format!("! Error: cannot list nodes: {text}\nexit 1\n")
    );
    daemon.world().refuse("ListNodes", Status::deadline_exceeded(""));
    assert_eq!(
        daemon.skep(&["node", "ls"]),
        "! Error: cannot list nodes: no answer in time, and it may still happen; is there a leader? \
         ('skep raft status')\nexit 1\n"
    );
}

#[test]
fn status_tells_each_state() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(
        daemon.skep(&["status"]),
        "State:       active
Version:     0.1.0
Node ID:     node1
Cluster ID:  cluster1
Role:        manager (leader)
Hostname:    m1
Listens on:  0.0.0.0:2377
Reached by:  10.0.0.1:2377
Managers:    10.0.0.1:2377 (node1)
Certificate: valid until 2027-01-15T08:00:00Z
"
    );
    assert_eq!(daemon.skep(&["status", "-f", "{{.LocalNodeState}} {{.Role}}"]), "active manager\n");
    assert!(daemon.skep(&["status", "--wait", "10s"]).starts_with("State:       active\n"));

    let locked = FakeDaemon::start(World::in_state(DaemonState::Locked));
    assert_eq!(
        locked.skep(&["status"]),
        "State:       locked
Version:     0.1.0
What to do:  this manager is locked; use 'skep swarm unlock'
"
    );
    assert_eq!(
        locked.skep(&["status", "--wait", "10ms"]),
        "! Error: this daemon to be ready: not yet after 10ms; this manager is locked; \
         use 'skep swarm unlock'\nexit 3\n"
    );
}

#[test]
fn a_senseless_command_line_has_an_exit_code_of_its_own() {
    let daemon = FakeDaemon::start(World::active());
    let table: &[&[&str]] = &[
        &["nod", "ls"],
        &["node", "ls", "--format", "{{.ID"],
        &["node", "ls", "--format", "{{.Nothing}}"],
        &["node", "ls", "--filter", "colour=red"],
        &["swarm", "update"],
        &["events", "--format", "id,type"],
    ];
    for arguments in table {
        let shown = daemon.skep(arguments);
        assert!(shown.ends_with("exit 2\n"), "{arguments:?}: {shown}");
    }
    assert_eq!(
        daemon.skep(&["node", "ls", "--format", "{{.Nothing}}"]),
        "! Error: --format: there is no field 'Nothing'; there are: ID, Self, Hostname, Status, \
         Availability, ManagerStatus, EngineVersion, TLSStatus\nexit 2\n"
    );
}

#[test]
fn completions_need_no_daemon() {
    let dir = tempfile::tempdir().unwrap();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = transcript(&dir.path().join("none"), &["completion", shell], "");
        assert!(script.contains("join-token"), "{shell}: {script}");
    }
}
