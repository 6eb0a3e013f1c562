//! Transcripts of `skep raft` and `skep events`.

use skep_proto::{
    skep::{GetRaftStatusResponse, RaftPeer},
    swarmkit::{
        Object, Secret, Version, WatchActionKind, WatchMessage, node_spec, object, watch_message,
    },
};
use tonic::Status;

use crate::support::{FakeDaemon, World, manager, worker};

fn peer(raft_id: u64, leader: bool) -> RaftPeer {
    RaftPeer {
        raft_id,
        node_id: format!("node{raft_id}"),
        addr: format!("10.0.0.{raft_id}:2377"),
        hostname: format!("m{raft_id}"),
        leader,
        reachable: true,
        match_index: 120,
        progress: "replicate".into(),
        ..RaftPeer::default()
    }
}

fn group() -> FakeDaemon {
    let mut world = World::active();
    world.nodes.push(manager("node2", "m2", false));
    world.raft = GetRaftStatusResponse {
        raft_id: 1,
        leader_raft_id: 1,
        role: "leader".into(),
        term: 7,
        commit_index: 120,
        applied_index: 118,
        last_index: 121,
        first_index: 11,
        snapshot_index: 10,
        log_bytes: 5 << 20,
        snapshot_bytes: 1536,
        members: vec![
            peer(1, true),
            peer(2, false),
            RaftPeer {
                reachable: false,
                match_index: 20,
                lag_entries: 101,
                progress: "probe".into(),
                last_error: "connection refused".into(),
                ..peer(3, false)
            },
        ],
        removed_members: 1,
        serving_writes: true,
        swarmkit_compatible: false,
    };
    FakeDaemon::start(world)
}

#[test]
fn status_shows_the_group_and_the_health_of_each_peer() {
    assert_eq!(
        group().skep(&["raft", "status"]),
        "\
Raft ID:        1
Role:           leader
Leader:         m1 (node1)
Term:           7
Writes:         accepted here
Last index:     121 (first 11)
Commit index:   120
Applied index:  118 (lag 2)
Snapshot index: 10
Log size:       5.0 MiB
Snapshot size:  1.5 KiB
Timing:         fast
Members:        3 (quorum 2), 1 removed for ever

RAFT ID   NODE ID   HOSTNAME   ADDRESS         ROLE       REACHABLE   MATCH   LAG   PROGRESS    LAST ERROR
1 *       node1     m1         10.0.0.1:2377   leader     yes         120     0     replicate
2         node2     m2         10.0.0.2:2377   follower   yes         120     0     replicate
3         node3     m3         10.0.0.3:2377   follower   no          20      101   probe       connection refused
"
    );
}

#[test]
fn status_is_also_for_programs() {
    let daemon = group();
    assert_eq!(
        daemon.skep(&["raft", "status", "-f", "{{.Role}} {{.Term}} {{.CommitIndex}}"]),
        "leader 7 120\n"
    );
    let json = daemon.skep(&["raft", "status", "--format", "json"]);
    let parsed: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(parsed["Members"][2]["LagEntries"], 101);
}

#[test]
fn a_follower_knows_little_of_the_other_followers() {
    let daemon = group();
    daemon.world().raft.raft_id = 2;
    daemon.world().raft.role = "follower".into();
    daemon.world().raft.serving_writes = false;
    daemon.world().raft.members[2].last_error = String::new();
    let shown = daemon.skep(&["raft", "status"]);
    assert!(shown.contains("Writes:         passed on to the leader\n"), "{shown}");
    let table: Vec<&str> = shown.lines().skip_while(|line| !line.starts_with("RAFT ID")).collect();
    assert_eq!(
        table[1..],
        [
            "1         node1     m1         10.0.0.1:2377   leader     yes",
            "2 *       node2     m2         10.0.0.2:2377   follower   yes",
            "3         node3     m3         10.0.0.3:2377   follower",
        ]
    );
}

#[test]
fn transfer_names_the_new_leader() {
    let daemon = group();
    assert_eq!(daemon.skep(&["raft", "transfer", "m2"]), "m2 (node2) is the leader now.\n");
    assert_eq!(daemon.skep(&["raft", "transfer"]), "m2 (node2) is the leader now.\n");
    let text = "node2 is not caught up";
    daemon.world().refuse("TransferLeadership", Status::failed_precondition(text));
    assert_eq!(
        daemon.skep(&["raft", "transfer", "m2"]),
        "! Error: cannot hand leadership over: node2 is not caught up\nexit 1\n"
    );
}

fn events() -> FakeDaemon {
    let mut world = World::active();
    let old = worker("w1", "host");
    let mut new = old.clone();
    new.spec.as_mut().unwrap().set_availability(node_spec::Availability::Drain);
    let event =
        |action: WatchActionKind, object, old_object: Option<object::Object>| WatchMessage {
            events: vec![watch_message::Event {
                action: action.into(),
                object: Some(Object { object: Some(object) }),
                old_object: old_object.map(|object| Object { object: Some(object) }),
            }],
            version: Some(Version { index: 9 }),
        };
    let secret = Secret { id: "s1".into(), meta: new.meta, ..Secret::default() };
    world.events = vec![
        event(
            WatchActionKind::WatchActionUpdate,
            object::Object::Node(new),
            Some(object::Object::Node(old)),
        ),
        event(WatchActionKind::WatchActionCreate, object::Object::Secret(secret), None),
    ];
    FakeDaemon::start(world)
}

#[test]
fn events_show_what_changed() {
    let daemon = events();
    assert_eq!(
        daemon.skep(&["events", "--limit", "2"]),
        "\
2023-11-14T22:14:20Z node update w1 (availability.new=drain, availability.old=active, name=host)
2023-11-14T22:14:20Z secret create s1
"
    );
    assert_eq!(
        daemon.skep(&["events", "--limit", "1", "--format", "{{.Type}} {{.Action}} {{.Actor.ID}}"]),
        "node update w1\n"
    );
    assert_eq!(
        daemon.skep(&["events", "--limit", "1", "--format", "json", "--type", "node"]),
        "{\"Type\":\"node\",\"Action\":\"update\",\"Actor\":{\"ID\":\"w1\",\"Attributes\":\
         {\"availability.new\":\"drain\",\"availability.old\":\"active\",\"name\":\"host\"}},\
         \"scope\":\"swarm\",\"time\":1700000060,\"timeNano\":1700000060000000000}\n"
    );
}

#[test]
fn the_end_of_the_stream_is_a_failure() {
    let shown = events().skep(&["events"]);
    let end = "! Error: the daemon ended the stream of events; run the command again to go on from now\nexit 1\n";
    assert!(shown.ends_with(end), "{shown}");
}
