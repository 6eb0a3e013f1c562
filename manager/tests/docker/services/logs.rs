//! Logs of containers on several engines, as the operator's command prints them: all of them, the last ones, those that come,
//! and what is said when an engine is lost.

use std::time::Duration;

use skep_proto::swarmkit::{
    LogSelector, LogStream, LogSubscriptionOptions, SubscribeLogsRequest, logs_client::LogsClient,
    node_status::State,
};
use skep_testkit::docker_hosts::DockerHost;

use super::{
    command::{Line, Running, skep, text},
    scene::Scene,
    spec::{global, replicated},
};
use crate::support::{ENGINE_LIMIT, docker, node_of};

/// Short, so that the test need not wait for long until a node is down.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long after a node was found down who follows its logs may take to be told: far less than the finding takes.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

#[tokio::test(flavor = "multi_thread")]
async fn logs_come_from_all_engines_and_a_lost_one_is_named() {
    let Some(scene) = Scene::new(2).await else { return };
    scene.set_heartbeat(HEARTBEAT).await;
    let spec = global("talk").script("echo hello; echo trouble >&2; sleep 3600");
    let talk = scene.create(&spec).await;
    scene.wait_running(&talk, 2).await;
    every_line_says_where_it_comes_from(&scene).await;
    a_stream_is_asked_for_alone(&scene, &talk).await;
    the_last_lines_are_asked_for(&scene, &talk).await;
    a_terminal_is_read(&scene).await;

    let mut follower =
        Running::start(scene.manager(), &["service", "logs", "-f", "--raw", "--tail", "1", "talk"]);
    follower.print(ENGINE_LIMIT, &out(["last word", "last word"])).await;
    who_follows_hears_all_engines(&scene, &talk, &mut follower).await;
    who_follows_is_told_of_a_node_that_goes_and_comes_back(&scene, &talk, &mut follower).await;
    what_an_engine_that_was_killed_had_is_missing(&scene, &talk, &mut follower).await;
}

async fn every_line_says_where_it_comes_from(scene: &Scene) {
    let [mut out, mut err] = [Vec::new(), Vec::new()];
    for engine in scene.engines() {
        let node = node_of(scene.manager(), engine).await.unwrap().id;
        let label = format!("talk.{node}@{}    | ", engine.name());
        out.push(format!("{label}hello"));
        err.push(format!("{label}trouble"));
    }
    out.sort();
    err.sort();
    scene
        .wait("all lines of all engines", async |scene| {
            let printed = skep(scene.manager(), &["service", "logs", "--no-task-ids", "talk"]);
            let found = (sorted(&printed.stdout), sorted(&printed.stderr));
            if printed.status.success() && found == (out.clone(), err.clone()) {
                Ok(())
            } else {
                Err(format!("{}: {found:#?}, not {out:#?} {err:#?}", printed.status))
            }
        })
        .await;
}

async fn a_stream_is_asked_for_alone(scene: &Scene, service: &str) {
    let selector = LogSelector { service_ids: vec![service.to_owned()], ..Default::default() };
    let streams = vec![LogStream::Stderr.into()];
    let request = SubscribeLogsRequest {
        selector: Some(selector),
        options: Some(LogSubscriptionOptions { streams, ..Default::default() }),
    };
    let mut logs = LogsClient::new(scene.manager().channel());
    let mut logs = logs.subscribe_logs(request).await.unwrap().into_inner();
    let mut messages = Vec::new();
    while let Some(message) = logs.message().await.unwrap() {
        messages.extend(message.messages);
    }
    assert_eq!(messages.len(), 2, "{messages:?}");
    for message in &messages {
        assert_eq!(message.stream(), LogStream::Stderr);
        assert_eq!(text(&message.data).trim_end(), "trouble");
        assert_eq!(message.context.as_ref().unwrap().service_id, service);
    }
    let node = |place: usize| &messages[place].context.as_ref().unwrap().node_id;
    assert_ne!(node(0), node(1));
}

async fn the_last_lines_are_asked_for(scene: &Scene, service: &str) {
    for engine in scene.engines() {
        say(scene, engine, service, "last word");
    }
    let last = async |words: &[&str]| {
        let words = [&["service", "logs", "--raw"], words, &["talk"]].concat();
        scene
            .wait("the last words", async |scene| {
                let printed = skep(scene.manager(), &words);
                let lines = sorted(&printed.stdout);
                let all = lines.len() == 2 && lines.iter().all(|line| line.ends_with("last word"));
                match printed.status.success() && printed.stderr.is_empty() && all {
                    true => Ok(lines),
                    false => Err(format!("{words:?}: {printed:?}")),
                }
            })
            .await
    };
    let lines = last(&["--tail", "1", "--timestamps"]).await;
    let (first, _) = lines[0].split_once(' ').unwrap();
    last(&["--since", first]).await;
}

/// Its lines are those of a terminal, which has one stream.
async fn a_terminal_is_read(scene: &Scene) {
    let script = "test -t 1 && echo on a terminal; echo also >&2; sleep 3600";
    let mut spec = replicated("terminal", 1).script(script);
    spec.container().tty = true;
    let service = scene.create(&spec).await;
    scene.wait_running(&service, 1).await;
    scene
        .wait("what the terminal shows", async |scene| {
            let printed = skep(scene.manager(), &["service", "logs", "--raw", "terminal"]);
            let lines: Vec<String> =
                text(&printed.stdout).lines().map(|line| line.trim_end().to_owned()).collect();
            match lines == ["on a terminal", "also"] && printed.stderr.is_empty() {
                true => Ok(()),
                false => Err(format!("{printed:?}")),
            }
        })
        .await;
    scene.remove(&service).await;
}

async fn who_follows_hears_all_engines(scene: &Scene, service: &str, follower: &mut Running) {
    for (engine, word) in scene.engines().iter().zip(["one", "two"]) {
        say(scene, engine, service, word);
        follower.print(ENGINE_LIMIT, &out([word])).await;
    }
}

async fn who_follows_is_told_of_a_node_that_goes_and_comes_back(
    scene: &Scene,
    service: &str,
    follower: &mut Running,
) {
    let (stays, goes) = (scene.engine(0), scene.engine(1));
    let node = node_of(scene.manager(), goes).await.unwrap().id;
    let warning = |what: &str| Line::Err(format!("Warning: node {node} {what}"));
    goes.freeze();
    scene.wait_state(goes, State::Down).await;
    follower.print(TOLD_WITHIN, &[warning("is not available")]).await;
    say(scene, stays, service, "still here");
    follower.print(ENGINE_LIMIT, &out(["still here"])).await;

    goes.thaw();
    follower.print(ENGINE_LIMIT, &[warning("is back")]).await;
    scene.wait_running(service, 2).await;
    say(scene, goes, service, "here again");
    follower.print(ENGINE_LIMIT, &out(["here again"])).await;
    assert_eq!(follower.printed(&Line::Out("two".to_owned())), 1, "it comes twice");
}

async fn what_an_engine_that_was_killed_had_is_missing(
    scene: &Scene,
    service: &str,
    follower: &mut Running,
) {
    let (stays, goes) = (scene.engine(0), scene.engine(1));
    say(scene, stays, service, "alone");
    goes.kill().unwrap();
    let node = node_of(scene.manager(), goes).await.unwrap().id;
    // Its connection breaks, which is known before it is down.
    follower.print(TOLD_WITHIN, &[Line::Err(format!("Warning: node {node} "))]).await;
    let printed = skep(scene.manager(), &["service", "logs", "--raw", "talk"]);
    assert_eq!(printed.status.code(), Some(1), "{printed:?}");
    let (found, said) = (text(&printed.stdout), text(&printed.stderr));
    assert!(found.contains("alone\n") && !found.contains("here again"), "{printed:?}");
    let missing = format!("Error: the logs of talk are incomplete: node {node} is not available");
    assert!(said.lines().any(|line| line.starts_with(&missing)), "{printed:?}");
}

/// Has the service's container on an engine write a line.
fn say(scene: &Scene, engine: &DockerHost, service: &str, word: &str) {
    let container = scene.containers(engine, service).unwrap().remove(0);
    let script = format!("echo {word} > /proc/1/fd/1");
    docker(engine, &["exec", &container, "sh", "-c", &script]).unwrap();
}

fn out<const N: usize>(lines: [&str; N]) -> [Line; N] {
    lines.map(|line| Line::Out(line.to_owned()))
}

fn sorted(output: &[u8]) -> Vec<String> {
    let mut lines: Vec<_> = text(output).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}
