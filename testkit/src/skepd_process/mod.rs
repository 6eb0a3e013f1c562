//! `skepd` as a process of its own: started, watched through its control socket, stopped and killed.
//!
//! Each daemon gets a folder of its own and a loopback address of its own, so that daemons of tests that run side by
//! side never meet. It is killed when it is dropped; when that happens in a panic, the end of its log is printed.

mod address;
mod calls;
mod cluster;
mod options;

use std::{
    fs::File,
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, ExitStatus, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::{Status, transport::Channel};

pub use cluster::SkepdCluster;
pub use options::SkepdOptions;

use crate::{
    log_tail::log_tail,
    wait::{self, NotInTime},
};

/// How long a daemon may take to answer at its control socket, or to end: a machine under load needs seconds.
pub const PROCESS_LIMIT: Duration = Duration::from_secs(30);
/// How long a cluster may take to settle: an election takes seconds, and so does a join that is tried again.
pub const SETTLE_LIMIT: Duration = Duration::from_secs(60);

/// Why a daemon did not do what it was told.
#[derive(Debug, thiserror::Error)]
pub enum SkepdError {
    /// Its folder, log or address could not be had.
    #[error("cannot prepare skepd {name}")]
    Prepare {
        /// The daemon.
        name: String,
        /// Why.
        source: io::Error,
    },
    /// The program could not be started.
    #[error("cannot start {}", program.display())]
    Start {
        /// Which.
        program: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It was not ready in time.
    #[error("skepd {name}: {source}\n--- end of its log\n{log}")]
    NotInTime {
        /// The daemon.
        name: String,
        /// What was waited for.
        source: NotInTime,
        /// The end of its log.
        log: String,
    },
    /// It refused a call.
    #[error("skepd {name} refused to {doing}: {source}")]
    Refused {
        /// The daemon.
        name: String,
        /// What it was asked to do.
        doing: &'static str,
        /// Its answer.
        source: Box<Status>,
    },
}

/// A daemon, running or stopped; its state outlives a stop.
pub struct Skepd {
    options: SkepdOptions,
    addr: SocketAddr,
    child: Option<Child>,
    channel: Channel,
    dir: TempDir,
}

impl Skepd {
    /// Starts a daemon with a fresh state and waits until it answers at its control socket.
    pub async fn start(options: SkepdOptions) -> Result<Skepd, SkepdError> {
        let name = options.hostname.clone();
        let prepare = |source| SkepdError::Prepare { name: name.clone(), source };
        let dir = tempfile::Builder::new().prefix("skepd-").tempdir().map_err(prepare)?;
        let addr = match &options.host {
            Some(host) => SocketAddr::from((host.addr, SWARM_PORT)),
            None => address::free_loopback().map_err(prepare)?,
        };
        let channel = skep_ca::connect::unix(&control_socket(dir.path()));
        let mut skepd = Skepd { options, addr, child: None, channel, dir };
        skepd.restart().await?;
        Ok(skepd)
    }

    /// Starts a stopped daemon again with the state it had, and waits until it answers.
    pub async fn restart(&mut self) -> Result<(), SkepdError> {
        self.spawn()?;
        self.wait_for("to answer at its control socket", PROCESS_LIMIT, async |skepd| {
            skepd.status().await.map_err(|s| s.to_string())
        })
        .await
        .map(drop)
    }

    /// Starts the process and does not wait for it.
    pub fn spawn(&mut self) -> Result<(), SkepdError> {
        if self.child.is_some() {
            return Ok(());
        }
        let log = File::options().create(true).append(true).open(self.log_path());
        let log = log.and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) =
            log.map_err(|source| SkepdError::Prepare { name: self.name().to_owned(), source })?;
        let mut command = self.options.command(self.dir.path(), self.addr);
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        let child = command.spawn();
        let program = self.options.program.clone();
        self.child = Some(child.map_err(|source| SkepdError::Start { program, source })?);
        Ok(())
    }

    /// Its host name.
    pub fn name(&self) -> &str {
        &self.options.hostname
    }

    /// Where other nodes reach it.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its control socket.
    pub fn control(&self) -> PathBuf {
        control_socket(self.dir.path())
    }

    /// Its state, to look into or to damage while it is stopped.
    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join(options::STATE)
    }

    /// Its process while it runs.
    pub fn pid(&self) -> Option<u32> {
        self.child.as_ref().map(Child::id)
    }

    /// How it was started, to change what the next start is given.
    pub fn options(&mut self) -> &mut SkepdOptions {
        &mut self.options
    }

    /// Looks at `probe` until it is satisfied; its error says what is there instead. An end of the process ends the wait.
    pub async fn wait_for<T, E: std::fmt::Display>(
        &self,
        what: &str,
        limit: Duration,
        probe: impl AsyncFn(&Skepd) -> Result<T, E>,
    ) -> Result<T, SkepdError> {
        let found = wait::until(what, limit, async || match self.has_ended() {
            true => Ok(None),
            false => probe(self).await.map(Some).map_err(|e| e.to_string()),
        });
        match found.await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.not_in_time(NotInTime {
                what: what.to_owned(),
                limit,
                last: "its process has ended".into(),
            })),
            Err(source) => Err(self.not_in_time(source)),
        }
    }

    /// Kills it with SIGKILL and reaps it. What it has not made durable is lost.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // An error means that it has ended already.
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Sends SIGTERM and does not wait.
    pub fn terminate(&self) {
        if let Some(child) = &self.child {
            signal(child.id(), Signal::TERM);
        }
    }

    /// Sends SIGTERM and waits for the end.
    pub async fn stop(&mut self) -> Result<ExitStatus, SkepdError> {
        self.terminate();
        self.wait_for_end().await
    }

    /// Stops the process where it stands (SIGSTOP), as a long pause of the machine would.
    pub fn freeze(&self) {
        if let Some(child) = &self.child {
            signal(child.id(), Signal::STOP);
        }
    }

    /// Lets a frozen process go on.
    pub fn thaw(&self) {
        if let Some(child) = &self.child {
            signal(child.id(), Signal::CONT);
        }
    }

    /// Waits until the process ends by itself.
    pub async fn wait_for_end(&mut self) -> Result<ExitStatus, SkepdError> {
        let Some(child) = self.child.as_mut() else { return Ok(ExitStatus::default()) };
        let ended = wait::until("to end", PROCESS_LIMIT, async || match child.try_wait() {
            Ok(Some(status)) => Ok(status),
            Ok(None) => Err("it runs".to_owned()),
            Err(error) => Err(error.to_string()),
        })
        .await;
        let status = ended.map_err(|source| self.not_in_time(source))?;
        self.child = None;
        Ok(status)
    }

    /// The end of its log.
    pub fn log(&self) -> String {
        log_tail(&self.log_path())
    }

    /// The file of its log; nothing is ever taken out of it.
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn has_ended(&self) -> bool {
        let Some(child) = &self.child else { return true };
        // A process that has ended and is not waited for is a zombie; one that is gone has no file.
        let stat =
            std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
        let state = stat.rsplit(')').next().and_then(|rest| rest.split_whitespace().next());
        !matches!(state, Some(state) if state != "Z" && state != "X")
    }

    fn not_in_time(&self, source: NotInTime) -> SkepdError {
        SkepdError::NotInTime { name: self.name().to_owned(), source, log: self.log() }
    }
}

impl Drop for Skepd {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- end of the log of skepd {}\n{}", self.name(), self.log());
        }
    }
}

/// The port of managers in a namespace of their own.
const SWARM_PORT: u16 = 2377;

fn control_socket(dir: &Path) -> PathBuf {
    dir.join("control.sock")
}

fn signal(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    if let Some(pid) = pid {
        // It may have ended by itself; the child is ours until it is waited for, so the id means nobody else.
        let _ = kill_process(pid, signal);
    }
}
