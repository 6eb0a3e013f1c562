//! Certificates that live for an hour, and a clock that is moved: all nodes renew in time, and calls go on. The daemons
//! run in this process, because the clock of another cannot be moved.

use std::{net::SocketAddr, path::Path, sync::Arc, time::Duration};

use skep_ca::{Clock, connect};
use skep_manager::{
    config::Config,
    control_socket,
    daemon::{Daemon, InitOptions, JoinOptions, State},
    node::{FoundOptions, Node},
};
use skep_proto::swarmkit::{
    Annotations, ConfigSpec, CreateConfigRequest, control_client::ControlClient, node_spec,
};
use skep_testkit::{skepd_process::SETTLE_LIMIT, wait::until};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

/// The shortest life that a cluster may give its certificates.
const EXPIRY: Duration = Duration::from_secs(3600);
/// Past the last moment for a renewal, which is at four fifths of a life of two hours, the hour before the issue
/// included; and before the end.
const STEP: Duration = Duration::from_secs(45 * 60);
/// All first certificates have ended after two of them.
const STEPS: usize = 4;

/// Daemons that share a clock; they stop when it is dropped.
struct Members {
    dir: tempfile::TempDir,
    clock: Clock,
    daemons: Vec<Daemon>,
    tasks: JoinSet<()>,
    shutdown: CancellationToken,
}

impl Drop for Members {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl Members {
    fn new() -> Members {
        Members {
            dir: tempfile::tempdir().unwrap(),
            clock: Clock::shifted(Duration::ZERO),
            daemons: Vec::new(),
            tasks: JoinSet::new(),
            shutdown: CancellationToken::new(),
        }
    }

    async fn start(&mut self, name: &str) -> Daemon {
        let dir = self.dir.path().join(name);
        std::fs::create_dir(&dir).unwrap();
        let config = Config {
            state_dir: dir.join("state"),
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            advertise: None,
            control: control(&dir),
            metrics: None,
            hostname: name.to_owned(),
            availability: node_spec::Availability::Active,
            unlock_key_file: None,
            force_new_cluster: false,
        };
        let (daemon, actor) =
            Daemon::start(config, self.clock.clone(), self.shutdown.clone()).unwrap();
        self.tasks.spawn(actor);
        let socket = control_socket::bind(&control(&dir)).unwrap();
        self.tasks.spawn(control_socket::serve(socket, daemon.clone(), self.shutdown.clone()));
        let inactive = |state: &State| matches!(state, State::Inactive { .. });
        daemon.watch_state().wait_for(inactive).await.unwrap();
        self.daemons.push(daemon.clone());
        daemon
    }

    async fn found(&mut self) -> Arc<Node> {
        let cluster = FoundOptions { node_cert_expiry: EXPIRY, ..Default::default() };
        let options = InitOptions { cluster, ..Default::default() };
        self.start("manager-1").await.init(options).await.unwrap()
    }

    async fn join(&mut self, name: &str, manager: &Node, token: &str) -> Arc<Node> {
        let options = JoinOptions {
            remotes: vec![manager.advertised_addr()],
            token: token.to_owned(),
            advertise: None,
            availability: None,
        };
        self.start(name).await.join(options).await.unwrap()
    }

    fn channel(&self, name: &str) -> Channel {
        connect::unix(&control(&self.dir.path().join(name)))
    }

    /// Writes through a manager, without a second attempt.
    async fn write(&self, manager: &str, name: String) {
        let annotations = Some(Annotations { name, ..Default::default() });
        let spec = ConfigSpec { annotations, data: "x".into(), ..Default::default() };
        let request = CreateConfigRequest { spec: Some(spec) };
        let mut client = ControlClient::new(self.channel(manager));
        client.create_config(request).await.unwrap();
    }
}

fn control(dir: &Path) -> std::path::PathBuf {
    dir.join("control.sock")
}

#[tokio::test]
async fn certificates_of_an_hour_are_renewed_and_calls_go_on() {
    let mut members = Members::new();
    let first = members.found().await;
    let keys = first.keys().await.unwrap();
    let second = members.join("manager-2", &first, &keys.manager_join_token).await;
    let third = members.join("manager-3", &first, &keys.manager_join_token).await;
    let worker = members.join("worker", &first, &keys.worker_join_token).await;
    let nodes = [first, second, third, worker];
    for step in 0..STEPS {
        let ends = nodes.each_ref().map(|node| node.certificate_not_after());
        members.clock.advance(STEP);
        for (node, end) in nodes.iter().zip(ends) {
            until("a renewal", SETTLE_LIMIT, async || match node.certificate_not_after() {
                now if now > end => Ok(()),
                now => Err(format!("{:?} ends at {now}", node.identity())),
            })
            .await
            .unwrap();
        }
        for manager in ["manager-1", "manager-2", "manager-3"] {
            members.write(manager, format!("{manager}-{step}")).await;
        }
    }
    // New connections are made with the new certificates alone: all the first ones have ended.
    let addr = |place: usize| Arc::clone(&nodes[place]);
    for place in 0..3 {
        let name = format!("late-{place}");
        let late = members.join(&name, &addr(place), &keys.worker_join_token).await;
        assert!(late.wait_for_session(SETTLE_LIMIT).await, "{name} has no session");
    }
}
