//! `skepd dev`: a whole cluster on loopback in one process, in a temporary folder that goes with it. Its managers are
//! daemons as any; its workers join and talk as real ones do, and simulate the tasks that they are given.

use std::{
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use skep_agent::fleet::{Fleet, FleetOptions};
use skep_ca::Clock;
use skep_proto::{skep::GetKeysResponse, swarmkit::node_spec};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    config::Config,
    control_socket,
    daemon::{Daemon, InitOptions, JoinOptions, State},
    node::FoundOptions,
    options::DevOptions,
};

/// How long a daemon of the cluster may take to come up before the whole is given up.
const START_TIME_MAX: Duration = Duration::from_secs(30);

/// A folder that is deleted when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn create() -> io::Result<Folder> {
        use std::os::unix::fs::DirBuilderExt as _;
        let name = format!("skep-dev-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let path = std::env::temp_dir().join(name);
        fs::DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Folder(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} is left behind: {error}", self.0.display());
        }
    }
}

/// One daemon of the cluster, with its control socket.
struct Member {
    daemon: Daemon,
    control: PathBuf,
}

/// Runs the cluster until `shutdown` fires; prints what to type next once it stands.
pub async fn run(options: &DevOptions, shutdown: CancellationToken) -> anyhow::Result<()> {
    let folder = Folder::create()?;
    let mut tasks = JoinSet::new();
    // Held to the end: the workers live as long as it does.
    let mut workers = None;
    let result = tokio::select! {
        result = form(options, &folder.0, &mut tasks, &shutdown) => {
            result.map(|fleet| workers = Some(fleet))
        }
        () = shutdown.cancelled() => Ok(()),
    };
    if result.is_ok() {
        shutdown.cancelled().await;
        println!("stopping");
    }
    drop(workers);
    shutdown.cancel();
    while tasks.join_next().await.is_some() {}
    result
}

async fn form(
    options: &DevOptions,
    folder: &Path,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Fleet> {
    let first = member(folder, "manager-1", tasks, shutdown).await?;
    let init = InitOptions { cluster: FoundOptions::default(), ..Default::default() };
    let node = first.daemon.init(init).await?;
    let keys = node.keys().await?;
    let addr = node.advertised_addr();
    let mut members = vec![first];
    for number in 2..=options.managers {
        let name = format!("manager-{number}");
        members
            .push(joined(folder, &name, &addr, &keys.manager_join_token, tasks, shutdown).await?);
    }
    let managers = vec![addr.clone()];
    let fleet = FleetOptions::new(managers, keys.worker_join_token.parse()?);
    let fleet = Fleet::join(fleet, usize::from(options.workers)).await?;
    fleet.wait_until_registered(START_TIME_MAX).await?;
    print_next_steps(&members, fleet.workers().len(), &addr, &keys);
    Ok(fleet)
}

async fn joined(
    folder: &Path,
    name: &str,
    addr: &str,
    token: &str,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Member> {
    let member = member(folder, name, tasks, shutdown).await?;
    let join = JoinOptions {
        remotes: vec![addr.to_owned()],
        token: token.to_owned(),
        advertise: None,
        availability: None,
    };
    member.daemon.join(join).await?;
    Ok(member)
}

/// Starts a daemon that is part of nothing yet.
async fn member(
    folder: &Path,
    name: &str,
    tasks: &mut JoinSet<()>,
    shutdown: &CancellationToken,
) -> anyhow::Result<Member> {
    let dir = folder.join(name);
    let config = Config {
        state_dir: dir.join("state"),
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
        advertise: None,
        control: dir.join("control.sock"),
        metrics: None,
        hostname: name.to_owned(),
        // A daemon runs no tasks itself; they are the workers'.
        availability: node_spec::Availability::Drain,
        unlock_key_file: None,
        force_new_cluster: false,
    };
    fs::create_dir_all(&dir)?;
    let control = config.control.clone();
    let (daemon, actor) = Daemon::start(config, Clock::system(), shutdown.clone())?;
    tasks.spawn(actor);
    let socket = control_socket::bind(&control)?;
    tasks.spawn(control_socket::serve(socket, daemon.clone(), shutdown.clone()));
    let mut state = daemon.watch_state();
    let inactive = state.wait_for(|state| matches!(state, State::Inactive { .. }));
    tokio::time::timeout(START_TIME_MAX, inactive).await??;
    Ok(Member { daemon, control })
}

fn print_next_steps(members: &[Member], workers: usize, addr: &str, keys: &GetKeysResponse) {
    let socket = members[0].control.display();
    println!(
        "A swarm of {count} nodes is up on loopback, {workers} of them simulated workers. In another \
         terminal:\n\n    \
         export SKEP_SOCKET={socket}\n    \
         cargo run --release --bin skep -- node ls\n\n\
         A Docker Engine joins it as a worker with:\n\n    \
         docker swarm join --token {token} {addr}\n\n\
         Control sockets:",
        count = members.len() + workers,
        token = keys.worker_join_token,
    );
    for member in members {
        println!("    {}", member.control.display());
    }
    println!("\nCtrl-C stops it and deletes its folder.");
}
