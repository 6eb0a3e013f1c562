//! Transcripts of `skep swarm`.

use crate::support::{FakeDaemon, World};
use skep_proto::skep::DaemonState;
use tonic::Status;

#[test]
fn init_tells_how_others_join() {
    let daemon = FakeDaemon::start(World::in_state(DaemonState::Inactive));
    let shown =
        daemon.skep(&["swarm", "init", "--advertise-addr", "10.0.0.1", "--cert-expiry", "720h"]);
    assert_eq!(
        shown,
        "Swarm initialized: current node (node1) is now a manager.

To add a worker, a skepd or a Docker Engine, run one of these on its machine:

    skep swarm join --token SWMTKN-1-worker 10.0.0.1:2377
    docker swarm join --token SWMTKN-1-worker 10.0.0.1:2377

To add a manager, run 'skep swarm join-token manager' and do what it says.
"
    );
    let asked = daemon.world().founded_with.clone().unwrap();
    assert_eq!(asked.advertise_addr, "10.0.0.1");
    assert_eq!(asked.node_cert_expiry.unwrap().seconds, 720 * 3600);
}

#[test]
fn init_with_autolock_shows_the_key() {
    let daemon = FakeDaemon::start(World::in_state(DaemonState::Inactive));
    let shown = daemon.skep(&["swarm", "init", "--autolock"]);
    let end = shown.split("do what it says.\n").nth(1).unwrap();
    assert_eq!(
        end,
        "
To unlock a swarm manager after it restarts, run 'skep swarm unlock' and give it this key:

    SWMKEY-1-key

Keep it in a password manager: without it a manager that has stopped cannot be started again.
"
    );
}

#[test]
fn init_in_a_swarm_is_refused() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(
        daemon.skep(&["swarm", "init"]),
        "! Error: cannot found a swarm: this node is already part of a swarm\nexit 1\n"
    );
}

#[test]
fn join_takes_the_token_as_an_option_or_from_a_pipe() {
    let daemon = FakeDaemon::start(World::in_state(DaemonState::Inactive));
    let option = ["swarm", "join", "--token", "SWMTKN-1-worker", "10.0.0.1:2377"];
    assert_eq!(daemon.skep(&option), "This node joined a swarm as a worker.\n");

    let pipe = ["swarm", "join", "--token", "-", "--availability", "drain", "a:1", "b:2"];
    let shown = daemon.skep_with_input(&pipe, "SWMTKN-1-manager\n");
    assert_eq!(shown, "This node joined a swarm as a manager.\n");
    let asked = daemon.world().joined_with.clone().unwrap();
    assert_eq!(asked.remote_addrs, ["a:1", "b:2"]);
    assert_eq!(asked.availability, "drain");

    let wrong = ["swarm", "join", "--token", "SWMTKN-1-other", "10.0.0.1:2377"];
    assert_eq!(
        daemon.skep(&wrong),
        "! Error: cannot join the swarm: A valid join token is necessary to join this cluster\nexit 1\n"
    );
}

#[test]
fn leave_says_why_it_needs_force() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(
        daemon.skep(&["swarm", "leave"]),
        "! Error: cannot leave the swarm: this is the last manager; use --force\nexit 1\n"
    );
    assert_eq!(daemon.skep(&["swarm", "leave", "--force"]), "Node left the swarm.\n");
}

#[test]
fn join_tokens_are_shown_and_rotated() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(daemon.skep(&["swarm", "join-token", "-q", "manager"]), "SWMTKN-1-manager\n");
    assert_eq!(
        daemon.skep(&["swarm", "join-token", "worker"]),
        "To add a worker to this swarm, run the following command:

    skep swarm join --token SWMTKN-1-worker 10.0.0.1:2377

or, on the machine of a Docker Engine:

    docker swarm join --token SWMTKN-1-worker 10.0.0.1:2377

"
    );
    assert_eq!(
        daemon.skep(&["swarm", "join-token", "--rotate", "manager"]),
        "Successfully rotated manager join token.

To add a manager to this swarm, run the following command:

    skep swarm join --token SWMTKN-1-manager-new 10.0.0.1:2377

"
    );
    assert_eq!(daemon.skep(&["swarm", "join-token", "-q", "worker"]), "SWMTKN-1-worker\n");
}

#[test]
fn the_unlock_key_is_read_from_a_pipe_and_is_no_argument() {
    let daemon = FakeDaemon::start(World::in_state(DaemonState::Locked));
    assert_eq!(daemon.skep_with_input(&["swarm", "unlock"], "SWMKEY-1-key\n"), "");
    assert_eq!(daemon.world().unlocked_with.clone().unwrap().unlock_key, "SWMKEY-1-key");
    assert_eq!(
        daemon.skep_with_input(&["swarm", "unlock"], "SWMKEY-1-wrong\n"),
        "! Error: cannot unlock this manager: invalid key\nexit 1\n"
    );
    assert_eq!(
        daemon.skep(&["swarm", "unlock"]),
        "! Error: no key was given: type it at the prompt or pipe it in\nexit 1\n"
    );
    assert!(daemon.skep(&["swarm", "unlock", "SWMKEY-1-key"]).ends_with("exit 2\n"));
}

#[test]
fn the_unlock_key_is_shown_and_rotated() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(
        daemon.skep(&["swarm", "unlock-key"]),
        "! Error: no unlock key is set: this swarm does not lock its managers \
         ('skep swarm update --autolock=true' would)\nexit 1\n"
    );
    let shown = daemon.skep(&["swarm", "update", "--autolock=true"]);
    assert!(shown.starts_with("Swarm updated.\n\nTo unlock a swarm manager"), "{shown}");
    assert!(shown.contains("    SWMKEY-1-new\n"), "{shown}");
    assert_eq!(daemon.skep(&["swarm", "unlock-key", "-q"]), "SWMKEY-1-new\n");
    let rotated = daemon.skep(&["swarm", "unlock-key", "--rotate", "-q"]);
    assert_eq!(rotated, "SWMKEY-1-newSWMKEY-1-new\n");
}

#[test]
fn update_changes_only_what_is_asked_for() {
    let daemon = FakeDaemon::start(World::active());
    let update = ["swarm", "update", "--dispatcher-heartbeat", "10s", "--snapshot-interval", "500"];
    assert_eq!(daemon.skep(&update), "Swarm updated.\n");
    let spec = daemon.world().cluster.spec.clone().unwrap();
    assert_eq!(spec.dispatcher.unwrap().heartbeat_period.unwrap().seconds, 10);
    assert_eq!(spec.raft.unwrap().snapshot_interval, 500);
    assert_eq!(spec.orchestration.unwrap().task_history_retention_limit, 5);
    assert_eq!(spec.annotations.unwrap().name, "default");
}

#[test]
fn an_update_that_somebody_else_was_faster_than_is_made_again() {
    let daemon = FakeDaemon::start(World::active());
    daemon.world().interference = 3;
    assert_eq!(daemon.skep(&["swarm", "update", "--task-history-limit", "2"]), "Swarm updated.\n");
    daemon.world().interference = usize::MAX;
    assert_eq!(
        daemon.skep(&["swarm", "update", "--task-history-limit", "3"]),
        "! Error: cannot update the swarm: it was changed by somebody else 10 times meanwhile; \
         try again\nexit 1\n"
    );
}

#[test]
fn the_root_is_shown_and_rotated() {
    let daemon = FakeDaemon::start(World::active());
    assert_eq!(daemon.skep(&["swarm", "ca"]), "ROOT ONE\n");
    daemon.world().rotation_looks = 3;
    assert_eq!(
        daemon.skep(&["swarm", "ca", "--rotate"]),
        "ROOT TWO\n! nodes with a certificate of the new root: 0/1\n"
    );
    assert_eq!(
        daemon.skep(&["swarm", "ca", "--rotate", "--quiet", "--wait", "50ms"]),
        "! Error: every node to have a certificate of the new root: not yet after 50ms; the rotation goes on; \
         a node that is down holds it up until it is back or removed ('skep node ls')\nexit 3\n"
    );
    assert_eq!(daemon.skep(&["swarm", "ca", "--rotate", "--detach"]), "");
    assert!(daemon.skep(&["swarm", "ca", "--detach"]).ends_with("exit 2\n"));
}

#[test]
fn inspect_shows_dockers_shape_and_no_token() {
    let daemon = FakeDaemon::start(World::active());
    let shown = daemon.skep(&["swarm", "inspect"]);
    assert!(
        shown.starts_with("[\n    {\n        \"ID\": \"cluster1\",\n        \"Version\": {\n"),
        "{shown}"
    );
    assert!(!shown.contains("SWMTKN"), "{shown}");
    let fields = "{{.ID}} {{.Version.Index}} {{.Spec.Orchestration.TaskHistoryRetentionLimit}} {{.SubnetSize}}";
    assert_eq!(daemon.skep(&["swarm", "inspect", "-f", fields]), "cluster1 10 5 24\n");
}

#[test]
fn a_refusal_is_one_line() {
    let daemon = FakeDaemon::start(World::active());
    let text = "the swarm does not\nhave a leader\u{1b}[2J";
    daemon.world().refuse("ListClusters", Status::unknown(text));
    assert_eq!(
        daemon.skep(&["swarm", "inspect"]),
        "! Error: cannot read the swarm: the swarm does not have a leader [2J\nexit 1\n"
    );
}
