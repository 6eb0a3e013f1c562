//! One host: a Docker Engine with folders, sockets, a network, a host name and processes of its own.

use std::{
    fmt::Display,
    fs::{self, File},
    io,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{HostsError, image, network::NetworkHost, run};
use crate::{log_tail::log_tail, wait::until_blocking};

/// An engine is up in about 5 s on an idle machine.
const UP_LIMIT: Duration = Duration::from_secs(60);
/// An engine stops its containers first, with 10 s for each.
const STOP_LIMIT: Duration = Duration::from_secs(30);

/// Runs in new namespaces for mounts, processes and the host name. The folders that every engine uses are its own, and
/// look-ups of names fail at once, so that nothing waits for a registry that is not there.
const START: &str = r#"
hostname "$1"
dir="$2"
cgroup="$3"
shift 3
mkdir -p /run/docker /run/containerd
mount -t tmpfs tmpfs /run/docker
mount -t tmpfs tmpfs /run/containerd
mount --bind "$dir/resolv.conf" /etc/resolv.conf
exec dockerd --debug --data-root "$dir/data" --exec-root "$dir/exec" --pidfile "$dir/pid" \
    --cgroup-parent "/$cgroup" --host "unix://$dir/docker.sock" "$@"
"#;

/// A Docker Engine.
pub struct DockerHost {
    host: NetworkHost,
    name: String,
    dir: PathBuf,
    cgroup: String,
    /// More arguments of the engine.
    arguments: Vec<String>,
    running: Mutex<Option<Running>>,
}

struct Running {
    /// `unshare`, the parent of the engine.
    parent: Child,
    engine: Pid,
    frozen: bool,
}

impl DockerHost {
    /// Starts an engine on `host` with these arguments beside the usual ones; its files go into a folder of `dir`.
    pub(super) fn create(
        host: NetworkHost,
        dir: &Path,
        cgroup: &str,
        arguments: &[&str],
    ) -> Result<DockerHost, HostsError> {
        let name = host.namespace.clone();
        let dir = dir.join(&name);
        let prepare = || -> io::Result<()> {
            fs::create_dir_all(dir.join("data"))?;
            fs::create_dir_all(dir.join("exec"))?;
            fs::write(dir.join("resolv.conf"), "nameserver 127.0.0.1\n")
        };
        prepare().map_err(|source| HostsError::Prepare { path: dir.clone(), source })?;
        let cgroup = cgroup.to_owned();
        let arguments = arguments.iter().map(|&argument| argument.to_owned()).collect();
        let running = Mutex::new(None);
        let created = DockerHost { host, name, dir, cgroup, arguments, running };
        created.start()?;
        Ok(created)
    }

    /// The host name, which is what `docker node ls` shows.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host's address.
    pub fn addr(&self) -> Ipv4Addr {
        self.host.addr
    }

    /// The host's namespace, to run other programs in.
    pub fn network(&self) -> &NetworkHost {
        &self.host
    }

    /// SwarmKit's control socket of the engine, which serves while it is a manager: gRPC over TLS.
    pub fn control_socket(&self) -> PathBuf {
        self.dir.join("exec/swarm/control.sock")
    }

    /// The folder of the engine's part in a swarm: its certificates and the managers that it remembers.
    pub fn swarm_dir(&self) -> PathBuf {
        self.dir.join("data/swarm")
    }

    /// The engine's process, as this process sees it; nothing while it is stopped.
    pub fn pid(&self) -> Option<u32> {
        self.running().as_ref().map(|r| r.engine.as_raw_nonzero().get().unsigned_abs())
    }

    /// Runs `docker` with these arguments and gives what it printed.
    pub fn docker(&self, arguments: &[&str]) -> Result<String, HostsError> {
        run(self.docker_command().args(arguments))
    }

    /// A `docker` command for this engine.
    pub fn docker_command(&self) -> Command {
        let mut command = Command::new("docker");
        command.arg("--host").arg(format!("unix://{}", self.dir.join("docker.sock").display()));
        command
    }

    /// Gives the engine an image with busybox, whose name is `name`, and gives its id. Services should name it by the
    /// id: the engine looks for a registry when it is named otherwise.
    pub fn import_busybox(&self, name: &str) -> Result<String, HostsError> {
        image::import_busybox(self.docker_command(), &self.dir.join("image"), name)
    }

    /// Starts the engine, if it is not running, and does not wait for it.
    pub fn start(&self) -> Result<(), HostsError> {
        let mut running = self.running();
        if running.is_some() {
            return Ok(());
        }
        // They name processes of the last time. An engine is always the first of its namespace, and one that finds some
        // other process under its containerd's old number waits for that instead of starting containerd.
        for stale in ["pid", "exec/containerd/containerd.pid"] {
            let _ = fs::remove_file(self.dir.join(stale));
        }
        let path = self.log_path();
        let log = File::options().create(true).append(true).open(&path);
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|source| HostsError::Prepare { path, source })?;
        let mut command = self.host.command("unshare");
        command
            .args(["--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc"])
            .args(["sh", "-e", "-c", START, "start", &self.name])
            .arg(&self.dir)
            .arg(&self.cgroup)
            .args(&self.arguments)
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err);
        let parent = command.spawn();
        let parent =
            parent.map_err(|source| HostsError::Run { program: "unshare".into(), source })?;
        let engine = only_child(parent.id());
        let engine = engine.map_err(|source| self.not_ready(source))?;
        *running = Some(Running { parent, engine, frozen: false });
        Ok(())
    }

    /// Waits until the engine answers.
    pub fn wait_until_up(&self) -> Result<(), HostsError> {
        self.wait_for("the engine to answer", UP_LIMIT, || {
            self.docker(&["version", "--format", "{{.Server.Version}}"]).map(drop)
        })
    }

    /// Asks the engine to end (SIGTERM) and waits until it has.
    pub fn stop(&self) -> Result<(), HostsError> {
        self.end(Signal::TERM)
    }

    /// Kills the engine with all that it runs, as a power cut would.
    pub fn kill(&self) -> Result<(), HostsError> {
        self.end(Signal::KILL)
    }

    /// Stops the engine's own process in its tracks (SIGSTOP), while its containers run on: to others it looks as if the
    /// network were cut.
    pub fn freeze(&self) {
        self.set_frozen(true);
    }

    /// Lets a frozen engine go on.
    pub fn thaw(&self) {
        self.set_frozen(false);
    }

    /// Whether the engine runs and is not frozen.
    pub fn answers(&self) -> bool {
        self.running().as_ref().is_some_and(|running| !running.frozen)
    }

    /// Looks at `probe` until it is satisfied; its error says what is there instead.
    pub fn wait_for<T, E: Display>(
        &self,
        what: &str,
        limit: Duration,
        probe: impl FnMut() -> Result<T, E>,
    ) -> Result<T, HostsError> {
        until_blocking(what, limit, probe).map_err(|source| self.not_ready(source))
    }

    /// The end of the engine's log.
    pub fn log(&self) -> String {
        log_tail(&self.log_path())
    }

    /// The file of its log, at debug level; nothing is ever taken out of it.
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn set_frozen(&self, frozen: bool) {
        if let Some(running) = self.running().as_mut() {
            // It may have ended by itself, which shows when it is next asked.
            let _ = kill_process(running.engine, if frozen { Signal::STOP } else { Signal::CONT });
            running.frozen = frozen;
        }
    }

    fn end(&self, signal: Signal) -> Result<(), HostsError> {
        let mut running = self.running();
        let Some(Running { parent, engine, .. }) = running.as_mut() else { return Ok(()) };
        // It may have ended by itself, which is what is wanted.
        let _ = kill_process(*engine, signal);
        let ended = until_blocking("the engine to end", STOP_LIMIT, || match parent.try_wait() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        });
        ended.map_err(|source| self.not_ready(source))?;
        *running = None;
        Ok(())
    }

    fn running(&self) -> MutexGuard<'_, Option<Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn not_ready(&self, source: crate::wait::NotInTime) -> HostsError {
        HostsError::NotReady { host: self.name.clone(), source, log: self.log() }
    }
}

impl Drop for DockerHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the log of {}\n{}", self.name, self.log());
        }
        // The janitor ends the engine; here only its parent is waited for, if it is gone.
        if let Some(running) = self.running().as_mut() {
            let _ = kill_process(running.engine, Signal::KILL);
            let _ = running.parent.wait();
        }
    }
}

/// The process that `unshare` has started: it forks once, and the engine takes its place by exec.
fn only_child(parent: u32) -> Result<Pid, crate::wait::NotInTime> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    until_blocking("the engine's process", UP_LIMIT, || {
        let children = fs::read_to_string(&path).map_err(|e| e.to_string())?;
        let first = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
        first.and_then(Pid::from_raw).ok_or_else(|| "no child yet".to_owned())
    })
}
