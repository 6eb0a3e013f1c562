//! The node: one task that owns the core and does what it says, one thread that writes the log, and a handle for
//! everybody else.

mod command;
mod handle;
pub(crate) mod log_writer;
pub(crate) mod proposals;
mod task;

use std::{sync::Arc, thread};

pub use handle::NodeHandle;
use log_writer::LogWriter;
use task::{Inbox, Seen, Task};
use tokio::sync::{Notify, mpsc, oneshot, watch};

use crate::{
    Clock, Config, LogStore, SnapshotStage, Start, StartError, StateMachine, StopReason,
    TokioClock, Transport,
    core::{self, Core, Restored},
};

/// Messages of peers that wait for the task at most; SwarmKit's bound per peer.
const MESSAGES_WAITING_MAX: usize = 4096;

/// Requests that wait for the task at most; senders wait for room.
const COMMANDS_WAITING_MAX: usize = 1024;

/// Answers of the log writer and of other work that wait for the task at most; the writer waits for room.
const ANSWERS_WAITING_MAX: usize = 256;

/// Starts a node: loads its log, restores the state machine from the snapshot, and spawns the task that runs it. Must
/// be called within a tokio runtime. When the future is dropped before it resolves, nothing runs, though the log may
/// have been created.
pub async fn start<L: LogStore, S: StateMachine>(
    config: Config,
    start: Start,
    store: L,
    state_machine: S,
    transport: Arc<dyn Transport>,
) -> Result<NodeHandle, StartError> {
    let clock = TokioClock::default();
    start_with_clock(config, start, store, state_machine, transport, clock).await
}

/// As [`start()`], with ticks from elsewhere than tokio's timer.
pub async fn start_with_clock<L: LogStore, S: StateMachine>(
    config: Config,
    start: Start,
    store: L,
    state_machine: S,
    transport: Arc<dyn Transport>,
    clock: impl Clock,
) -> Result<NodeHandle, StartError> {
    let (log, queue) = log_writer::queue();
    let (done_sender, done) = mpsc::channel(ANSWERS_WAITING_MAX);
    let (ready, loaded) = oneshot::channel();
    let (log_closed_sender, log_closed) = oneshot::channel();
    let prepare_config = config.clone();
    let body = move || {
        let (mut store, mut state_machine) = (store, state_machine);
        let restored = core::prepare(&prepare_config, start, &mut store, |index, data| {
            state_machine.restore(index, data)
        });
        let restored = restored.map(|restored| {
            let seen = Seen::new(store.keys_in_use(), store.sizes());
            (restored, state_machine, store.snapshot_stage(), seen)
        });
        let started = restored.is_ok();
        if ready.send(restored).is_ok() && started {
            log_writer::run(store, queue, done_sender);
        }
        // The store is closed by now. Nobody may be waiting.
        let _ = log_closed_sender.send(());
    };
    thread::Builder::new()
        .name("raft-log".to_owned())
        .spawn(body)
        .map_err(|error| StartError::Config(format!("cannot start the log's thread: {error}")))?;
    let (restored, state_machine, stage, seen) = loaded
        .await
        .unwrap_or_else(|_| Err(StartError::Config("the log's thread has panicked".to_owned())))?;
    let parts = Parts { config, state_machine, transport, log, stage, done, log_closed, seen };
    parts.spawn(restored, clock)
}

/// What a node is put together from.
struct Parts<S> {
    config: Config,
    state_machine: S,
    transport: Arc<dyn Transport>,
    log: LogWriter,
    stage: Arc<dyn SnapshotStage>,
    done: mpsc::Receiver<log_writer::Done>,
    log_closed: oneshot::Receiver<()>,
    seen: Seen,
}

impl<S: StateMachine> Parts<S> {
    fn spawn(self, restored: Restored, clock: impl Clock) -> Result<NodeHandle, StartError> {
        let timing = self.config.timing;
        let core = Core::new(self.config, restored)?;
        let (messages_sender, messages) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (reports_sender, reports) = mpsc::channel(MESSAGES_WAITING_MAX);
        let (commands_sender, commands) = mpsc::channel(COMMANDS_WAITING_MAX);
        let (finished_sender, finished) = mpsc::channel(ANSWERS_WAITING_MAX);
        let (status_sender, status) = watch::channel(Arc::new(core.status()));
        let (staging, mut all_staged) = mpsc::channel(1);
        let (stopped_sender, stopped) = watch::channel(None);
        let handle = NodeHandle {
            proposals: Arc::new(proposals::Proposals::new()),
            wake: Arc::new(Notify::new()),
            own: core.own(),
            messages: messages_sender,
            reports: reports_sender,
            commands: commands_sender,
            status,
            stopped,
        };
        let task = Task {
            core,
            state_machine: self.state_machine,
            transport: self.transport,
            proposals: handle.proposals.clone(),
            wake: handle.wake.clone(),
            log: self.log,
            stage: self.stage,
            staging,
            finished: finished_sender,
            status: status_sender,
            seen: self.seen,
        };
        let inbox = Inbox { messages, reports, commands, done: self.done, finished };
        let proposals = handle.proposals.clone();
        let log_closed = self.log_closed;
        let running = tokio::spawn(task.run(inbox, timing, clock));
        tokio::spawn(async move {
            // A rule of the raft library that was broken in spite of all checks ends the node, not the process.
            let reason = running.await.unwrap_or_else(|panic| {
                tracing::error!("the raft node has panicked: {panic}");
                StopReason::Fault(panic.to_string())
            });
            proposals.close(crate::Refusal::ShuttingDown);
            let _ = log_closed.await;
            // Nobody writes into the folder any more.
            let _ = all_staged.recv().await;
            stopped_sender.send_replace(Some(reason));
        });
        Ok(handle)
    }
}
