//! What the documents say of the daemon is true: every option of `skepd` stands in the operators' page, the page of
//! metrics has exactly those that the daemon serves, and alerts and dashboard use no others.

use std::{collections::BTreeSet, path::Path};

use clap::CommandFactory as _;
use skep_ca::Clock;
use skep_manager::{
    config::Config,
    control_socket,
    daemon::{Daemon, InitOptions, State},
    metrics,
    options::Options,
};
use skep_proto::swarmkit::node_spec;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of `text` that look like names of metrics.
fn metric_names(text: &str) -> BTreeSet<String> {
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let prefixes = [
        "skep_allocator_",
        "skep_daemon_",
        "skep_dispatcher_",
        "skep_log_",
        "skep_raft_",
        "skep_node_",
        "swarm_dispatcher_",
        "swarm_manager",
        "swarm_node",
        "swarm_raft",
    ];
    text.split(|c| !is_name(c))
        .filter(|word| prefixes.iter().any(|prefix| word.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

/// The metric that a line belongs to: a histogram has lines of three names.
fn family(name: &str) -> &str {
    let suffixes = ["_bucket", "_sum", "_count"];
    suffixes.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// The names in the first column of the page's table.
fn documented_metrics() -> BTreeSet<String> {
    let page = document("docs/metrics.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    rows.map(|(name, _)| name.to_owned()).collect()
}

#[test]
fn the_operators_page_names_every_option_of_the_daemon() {
    let page = document("docs/operations.md");
    let command = Options::command();
    let mut missing = Vec::new();
    for command in std::iter::once(&command).chain(command.get_subcommands()) {
        for option in command.get_arguments() {
            let name = option.get_long().map(|long| format!("--{long}"));
            let variable = option.get_env().map(|name| name.to_string_lossy().into_owned());
            missing.extend(name.into_iter().chain(variable).filter(|name| !page.contains(name)));
        }
    }
    assert!(missing.is_empty(), "docs/operations.md does not name {missing:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_of_metrics_has_what_a_manager_serves() {
    let folder = tempfile::tempdir().unwrap();
    let config = Config {
        state_dir: folder.path().join("state"),
        listen: "127.0.0.1:0".parse().unwrap(),
        advertise: None,
        control: folder.path().join("control.sock"),
        metrics: None,
        hostname: "manager-1".into(),
        availability: node_spec::Availability::Active,
        unlock_key_file: None,
        force_new_cluster: false,
    };
    let shutdown = CancellationToken::new();
    let socket = control_socket::bind(&config.control).unwrap();
    let (daemon, actor) = Daemon::start(config, Clock::system(), shutdown.clone()).unwrap();
    let mut tasks = JoinSet::new();
    tasks.spawn(actor);
    tasks.spawn(control_socket::serve(socket, daemon.clone(), shutdown.clone()));
    let mut state = daemon.watch_state();
    let inactive = state.wait_for(|state| matches!(state, State::Inactive { .. })).await;
    drop(inactive.unwrap());
    daemon.init(InitOptions::default()).await.unwrap();

    let text = metrics::render(&daemon);
    let served: BTreeSet<String> = text
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split(['{', ' ']).next())
        .map(family)
        .map(str::to_owned)
        .collect();
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}

    let documented = documented_metrics();
    assert!(served.len() > 10, "{text}");
    let untold: Vec<_> = served.difference(&documented).collect();
    assert!(untold.is_empty(), "docs/metrics.md does not explain {untold:?}");
    // Without tasks there is no line for them; an info metric gets its suffix when it is written.
    let code = include_str!("../src/metrics.rs");
    let gone: Vec<_> = documented
        .difference(&served)
        .filter(|name| !code.contains(&format!("\"{}\"", name.trim_end_matches("_info"))))
        .collect();
    assert!(gone.is_empty(), "docs/metrics.md explains what is not served: {gone:?}");
}

#[test]
fn alerts_and_dashboard_use_metrics_that_exist() {
    let documented = documented_metrics();
    for name in ["deploy/monitoring/alerts.yaml", "deploy/monitoring/dashboard.json"] {
        let used = metric_names(&document(name));
        assert!(used.len() > 5, "{name}: {used:?}");
        let unknown: Vec<_> = used.difference(&documented).collect();
        assert!(unknown.is_empty(), "{name} uses {unknown:?}, which docs/metrics.md does not know");
    }
    let dashboard: serde_json::Value =
        serde_json::from_str(&document("deploy/monitoring/dashboard.json")).unwrap();
    assert!(dashboard["panels"].as_array().is_some_and(|panels| !panels.is_empty()));
}
