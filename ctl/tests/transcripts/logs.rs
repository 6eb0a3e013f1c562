//! Transcripts of `skep service logs`.

use skep_proto::{
    log_notice,
    prost_types::Timestamp,
    swarmkit::{LogAttr, LogContext, LogMessage, LogStream, SubscribeLogsMessage},
};
use tonic::Status;

use crate::support::{FakeDaemon, World, worker};

fn daemon() -> FakeDaemon {
    let mut world = World::active();
    world.nodes.push(worker("worker2", "w2"));
    let daemon = FakeDaemon::start(world);
    daemon.skep(&["service", "create", "-d", "--name", "web", "--replicas", "2", "nginx"]);
    daemon
}

fn line(
    slot: u32,
    seconds: i64,
    stream: LogStream,
    text: &str,
) -> Result<SubscribeLogsMessage, Status> {
    let message = LogMessage {
        context: Some(LogContext {
            service_id: "service1".into(),
            node_id: "worker2".into(),
            task_id: format!("service1-task{slot}"),
        }),
        timestamp: Some(Timestamp { seconds, nanos: 0 }),
        stream: stream.into(),
        data: text.to_owned().into(),
        attrs: vec![LogAttr { key: "tag".into(), value: "x".into() }],
    };
    Ok(SubscribeLogsMessage { messages: vec![message] })
}

fn out(slot: u32, seconds: i64, text: &str) -> Result<SubscribeLogsMessage, Status> {
    line(slot, seconds, LogStream::Stdout, text)
}

#[test]
fn each_line_says_where_it_comes_from() {
    let daemon = daemon();
    let lines = || vec![out(1, 60, "one\n"), line(2, 61, LogStream::Stderr, "two\n")];
    daemon.world().logs = vec![lines(), lines(), lines(), lines()];
    assert_eq!(
        daemon.skep(&["service", "logs", "web"]),
        "web.1.service1-tas@w2    | one\n! web.2.service1-tas@w2    | two\n"
    );
    let told = ["service", "logs", "-t", "--no-trunc", "--details", "service1-task1"];
    assert_eq!(
        daemon.skep(&told),
        "1970-01-01T00:01:00Z web.1.service1-task1@w2    | tag=x one\n\
         ! 1970-01-01T00:01:01Z web.2.service1-task2@w2    | tag=x two\n"
    );
    assert_eq!(daemon.skep(&["service", "logs", "--raw", "web"]), "one\n! two\n");
    let ids = ["service", "logs", "--no-resolve", "--no-task-ids", "web"];
    assert_eq!(daemon.skep(&ids), "service1.1@worker2    | one\n! service1.2@worker2    | two\n");
    let asked = &daemon.world().logs_asked;
    assert_eq!(asked[0].selector.as_ref().unwrap().service_ids, ["service1"]);
    assert_eq!(asked[1].selector.as_ref().unwrap().task_ids, ["service1-task1"]);
}

#[test]
fn tail_since_and_follow_are_asked_for() {
    let daemon = daemon();
    daemon.skep(&["service", "logs", "--tail", "10", "--since", "1970-01-01T00:10:00Z", "web"]);
    daemon.skep(&["service", "logs", "web"]);
    let asked = &daemon.world().logs_asked;
    let options = asked[0].options.as_ref().unwrap();
    assert_eq!((options.tail, options.follow), (-11, false));
    assert_eq!(options.since.unwrap().seconds, 600);
    assert_eq!(asked[1].options.as_ref().unwrap().tail, 0);
}

#[test]
fn logs_that_are_not_all_there_end_with_what_is_missing() {
    let daemon = daemon();
    let why = "warning: incomplete log stream. some logs could not be retrieved for the following \
               reasons: node worker2 is not available, task t9 has not been scheduled";
    daemon.world().logs = vec![vec![out(1, 60, "one"), Err(Status::unavailable(why))]];
    assert_eq!(
        daemon.skep(&["service", "logs", "web"]),
        "web.1.service1-tas@w2    | one\n! Error: the logs of web are incomplete: node w2 is not \
         available, task t9 has not been scheduled\nexit 1\n"
    );
}

#[test]
fn a_node_that_goes_while_logs_are_followed_is_named_and_the_rest_goes_on() {
    let daemon = daemon();
    let notice = |text: &str| {
        let mut notice = line(1, 61, LogStream::Stderr, text);
        let attribute = LogAttr { key: log_notice::ATTRIBUTE.into(), value: "manager".into() };
        notice.as_mut().unwrap().messages[0].attrs = vec![attribute];
        notice
    };
    let gone = || notice("node worker2 is not available");
    // When a node is back, what was printed of it comes once more.
    let stream =
        || vec![out(1, 60, "one"), gone(), out(1, 60, "one"), out(1, 61, "two"), out(2, 59, "new")];
    daemon.world().logs = vec![stream(), stream()];
    assert_eq!(
        daemon.skep(&["service", "logs", "--follow", "--no-task-ids", "web"]),
        "web.1@w2    | one\nweb.1@w2    | two\nweb.2@w2    | new\n! Warning: node w2 is not available\n"
    );
    assert_eq!(
        daemon.skep(&["service", "logs", "--follow", "--raw", "web"]),
        "one\ntwo\nnew\n! Warning: node worker2 is not available\n"
    );
}

#[test]
fn logs_that_are_followed_go_on_after_the_leader_was_lost() {
    let daemon = daemon();
    let lost = || Err(Status::unavailable("the leader was lost"));
    daemon.world().logs = vec![
        vec![out(1, 60, "one"), out(2, 62, "two"), lost()],
        vec![out(1, 60, "one"), out(1, 61, "more"), out(2, 62, "two"), out(2, 63, "end")],
    ];
    assert_eq!(
        daemon.skep(&["service", "logs", "--follow", "--no-task-ids", "--tail", "5", "web"]),
        "web.1@w2    | one\nweb.2@w2    | two\nweb.1@w2    | more\nweb.2@w2    | end\n"
    );
    let world = daemon.world();
    let again = world.logs_asked[1].options.as_ref().unwrap();
    assert_eq!((again.since.unwrap().seconds, again.tail), (60, 0));

    drop(world);
    daemon.world().logs = vec![vec![out(1, 60, "one"), lost()]];
    assert_eq!(
        daemon.skep(&["service", "logs", "--no-task-ids", "web"]),
        "web.1@w2    | one\n! Error: cannot read the logs of web: the leader was lost\nexit 1\n"
    );
}
