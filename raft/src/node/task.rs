//! The node's task: gives the core what came in, does what the core says.
//!
//! Each round takes everything that waits, lets the core work on it once, and so batches by itself when there is much
//! to do. Nothing here waits for the disk or a peer.

use std::{
    collections::{BTreeMap, BTreeSet},
    convert::Infallible,
    future::poll_fn,
    sync::Arc,
    time::Duration,
};

use tokio::{
    sync::{Notify, mpsc, watch},
    time::{Instant, sleep_until},
};

use super::{
    command::{Command, Reply, Report},
    log_writer::{Done, LogWriter, NotTaken, Work},
    proposals::Proposals,
};
use crate::{
    Clock, KeyId, ProbeError, RaftId, Refusal, RotateError, Sizes, SnapshotStage, StageError,
    StagedSnapshot, StateMachine, Status, StopReason, StorageError, Timing, Transport,
    core::{Answer, Core, Event, Output, RequestId},
    door::PeerMessage,
    wire,
};

/// Messages, reports or commands taken in one round at most, so that ticks and the disk's answers get their turn.
const TAKEN_PER_ROUND_MAX: usize = 1024;

/// How long followers may go without word of a commit when no append or heartbeat brings it (see
/// [`Core::tell_commits`]): longer than a lone writer takes from one write to the next, and less than a person notices.
const TELL_COMMITS_AFTER: Duration = Duration::from_millis(5);

/// The request by which the node itself hands leadership over before it stops.
const HAND_OVER: RequestId = RequestId(0);

/// What work outside the task and the log writer has come to.
pub enum Finished {
    Staged(Result<StagedSnapshot, StageError>),
    Probed { request: RequestId, outcome: Result<(), ProbeError> },
}

/// The queues that the task reads.
pub struct Inbox {
    pub messages: mpsc::Receiver<PeerMessage>,
    pub reports: mpsc::Receiver<Report>,
    pub commands: mpsc::Receiver<Command>,
    pub done: mpsc::Receiver<Done>,
    pub finished: mpsc::Receiver<Finished>,
}

/// See the module.
pub struct Task<S> {
    pub core: Core,
    pub state_machine: S,
    pub transport: Arc<dyn Transport>,
    pub proposals: Arc<Proposals>,
    pub wake: Arc<Notify>,
    pub log: LogWriter,
    pub stage: Arc<dyn SnapshotStage>,
    /// Held by whoever stages a snapshot.
    pub staging: mpsc::Sender<Infallible>,
    pub finished: mpsc::Sender<Finished>,
    pub status: watch::Sender<Arc<Status>>,
    pub seen: Seen,
}

/// What the task keeps in mind besides the core.
#[derive(Default)]
pub struct Seen {
    replies: BTreeMap<RequestId, Reply>,
    last_request: u64,
    answers: Vec<(RequestId, Answer)>,
    sizes: Sizes,
    keys_in_use: Arc<BTreeSet<KeyId>>,
    leading: bool,
    stop: Option<StopReason>,
    /// Ticks left until the node stops even though not everything under way has ended.
    stopping: Option<u32>,
    handing_over: bool,
    /// The length of a tick has changed.
    new_tick: Option<Duration>,
    /// When the followers are told what has committed.
    tell_commits_at: Option<Instant>,
}

impl Seen {
    /// At the start, with the keys that the log store uses and what it takes.
    pub fn new(keys_in_use: BTreeSet<KeyId>, sizes: Sizes) -> Self {
        Seen { keys_in_use: Arc::new(keys_in_use), sizes, ..Seen::default() }
    }
}

impl<S: StateMachine> Task<S> {
    /// Runs until the node is to stop; gives the reason.
    pub async fn run(
        mut self,
        mut inbox: Inbox,
        timing: Timing,
        mut clock: impl Clock,
    ) -> StopReason {
        let mut tick = timing.tick;
        let mut messages = Vec::new();
        loop {
            self.round();
            if let Some(reason) = self.seen.stop.take() {
                return self.finish(reason);
            }
            let next_tick = poll_fn(|cx| clock.poll_tick(cx, tick));
            self.wait(&mut inbox, next_tick, &mut messages, timing).await;
            tick = self.seen.new_tick.take().unwrap_or(tick);
        }
    }

    /// Waits for something to come in, and takes everything that has.
    async fn wait(
        &mut self,
        inbox: &mut Inbox,
        next_tick: impl Future<Output = ()>,
        messages: &mut Vec<PeerMessage>,
        timing: Timing,
    ) {
        let tell_commits_at = self.seen.tell_commits_at;
        let told_late = async {
            match tell_commits_at {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = next_tick => self.tick(),
            done = inbox.done.recv() => match done {
                Some(done) => self.done(done),
                None => self.stop(StopReason::Fault("the log writer has ended".to_owned())),
            },
            Some(finished) = inbox.finished.recv() => self.finished(finished),
            _ = inbox.messages.recv_many(messages, TAKEN_PER_ROUND_MAX) => {}
            () = self.wake.notified() => {}
            command = inbox.commands.recv() => match command {
                Some(command) => self.command(command, timing),
                None => self.stop(StopReason::Asked),
            },
            Some(report) = inbox.reports.recv() => self.report(report),
            () = told_late => {
                self.seen.tell_commits_at = None;
                self.core.tell_commits();
            }
        }
        while let Ok(done) = inbox.done.try_recv() {
            self.done(done);
        }
        while let Ok(finished) = inbox.finished.try_recv() {
            self.finished(finished);
        }
        while messages.len() < TAKEN_PER_ROUND_MAX {
            let Ok(message) = inbox.messages.try_recv() else { break };
            messages.push(message);
        }
        for message in messages.drain(..) {
            self.core.step(message);
        }
        for _ in 0..TAKEN_PER_ROUND_MAX {
            let Ok(command) = inbox.commands.try_recv() else { break };
            self.command(command, timing);
        }
        for _ in 0..TAKEN_PER_ROUND_MAX {
            let Ok(report) = inbox.reports.try_recv() else { break };
            self.report(report);
        }
    }

    /// Gives the core the proposals that wait.
    fn take_proposals(&mut self) {
        let drained = self.proposals.drain();
        if !drained.proposals.is_empty() {
            let proposals = drained.proposals.into_iter();
            self.core.propose(proposals.map(|proposal| (proposal.ticket, proposal.data)));
        }
        if drained.broken {
            self.core.break_epoch();
        }
    }

    /// One round of the core's work.
    fn round(&mut self) {
        self.take_proposals();
        while self.seen.stop.is_none() {
            let output = self.core.ready();
            if output.is_empty() {
                break;
            }
            self.perform(output);
        }
        if self.seen.stopping.is_some() && !self.seen.handing_over && self.core.in_flight() == 0 {
            self.stop(StopReason::Asked);
        }
        if self.seen.tell_commits_at.is_none() && self.core.commits_untold() {
            self.seen.tell_commits_at = Some(Instant::now() + TELL_COMMITS_AFTER);
        }
        self.publish();
        for (request, answer) in std::mem::take(&mut self.seen.answers) {
            if request == HAND_OVER {
                self.seen.handing_over = false;
                self.wake.notify_one();
            } else if let Some(reply) = self.seen.replies.remove(&request) {
                reply.send(answer);
            }
        }
    }

    fn perform(&mut self, output: Output) {
        for envelope in output.send {
            self.transport.send(&envelope.to, envelope.message);
        }
        for envelope in output.send_snapshot {
            let to = envelope.to.raft_id;
            if self.log.give(Work::ReadSnapshot(Box::new(envelope))).is_err() {
                self.core.report_snapshot(to, false);
            }
        }
        for persist in output.persist {
            self.give(Work::Append { number: persist.number, batch: persist.batch });
        }
        for event in output.events {
            if self.seen.stop.is_some() {
                return;
            }
            self.event(event);
        }
    }

    fn event(&mut self, event: Event) {
        match event {
            Event::Apply(entries) => {
                let index = entries.first().map_or(0, |entry| entry.index);
                if let Err(error) = self.state_machine.apply(entries) {
                    self.state_machine_failed(index, &error);
                }
            }
            Event::Refused(ticket, why) => self.state_machine.refused(ticket, why),
            Event::EpochEnded(why) => self.close_queue(why),
            Event::Leading(epoch, commit_index) => {
                self.seen.leading = true;
                self.proposals.open(epoch);
                self.state_machine.leading(epoch, commit_index);
            }
            Event::Following => self.following(Refusal::NotLeader),
            Event::Restore { index, data } => match self.state_machine.restore(index, data) {
                Ok(membership) => self.core.restored(membership),
                Err(error) => self.state_machine_failed(index, &error),
            },
            Event::TakeSnapshot { meta, membership } => {
                let write = self.state_machine.snapshot();
                let (stage, finished) = (self.stage.clone(), self.finished.clone());
                let staging = self.staging.clone();
                tokio::task::spawn_blocking(move || {
                    let staged = write(&membership).map_err(StageError::from);
                    let staged = staged.and_then(|contents| stage.stage(meta, contents));
                    drop((stage, staging));
                    // When the node has gone, so has the need.
                    let _ = finished.blocking_send(Finished::Staged(staged));
                });
            }
            Event::Compact(through) => self.give(Work::Compact(through)),
            Event::Members(membership) => {
                self.transport.members_changed(&membership, self.core.own());
            }
            Event::Probe { request, addr } => {
                let probe = self.transport.probe(&addr);
                let finished = self.finished.clone();
                tokio::spawn(async move {
                    let outcome = probe.await;
                    let _ = finished.send(Finished::Probed { request, outcome }).await;
                });
            }
            Event::Answer(request, answer) => self.seen.answers.push((request, answer)),
            Event::Ended(reason) => self.stop(reason),
        }
    }

    /// Refuses what waits in the queue, and what comes from now on.
    fn close_queue(&mut self, why: Refusal) {
        for proposal in self.proposals.close(why) {
            self.state_machine.refused(proposal.ticket, why);
        }
    }

    fn following(&mut self, why: Refusal) {
        self.close_queue(why);
        if std::mem::take(&mut self.seen.leading) {
            // Seen before the state machine refuses anything, so that new requests go to the next leader instead.
            self.publish();
            self.state_machine.following();
        }
    }

    fn state_machine_failed(&mut self, index: u64, error: &dyn std::error::Error) {
        let mut detail = error.to_string();
        let mut source = error.source();
        while let Some(cause) = source {
            detail = format!("{detail}: {cause}");
            source = cause.source();
        }
        self.stop(StopReason::StateMachine { index, detail });
    }

    /// The core's work is bounded, so the queue has room for it. When the thread has ended, why is among its answers.
    fn give(&mut self, work: Work) {
        if let Err(NotTaken::Full(_)) = self.log.give(work) {
            self.stop(StopReason::Fault("the log writer's queue is full".to_owned()));
        }
    }

    fn done(&mut self, done: Done) {
        match done {
            Done::Persisted { number, sizes } => {
                self.seen.sizes = sizes;
                self.core.persisted(number);
            }
            Done::SnapshotSaved { meta, sizes } => {
                self.seen.sizes = sizes;
                self.core.snapshot_saved(meta, sizes.snapshot_bytes);
            }
            Done::SnapshotDropped => self.core.snapshot_failed(),
            Done::SnapshotRead { mut envelope, snapshot } => match snapshot {
                Some(snapshot) => {
                    wire::attach_snapshot(&mut envelope.message, snapshot);
                    self.transport.send(&envelope.to, envelope.message);
                }
                None => {
                    // Perhaps it has rotted; a new one takes its place.
                    self.core.report_snapshot(envelope.to.raft_id, false);
                    self.core.force_snapshot();
                }
            },
            Done::Keys { in_use, sizes, rotated } => {
                self.seen.sizes = sizes;
                self.seen.keys_in_use = Arc::new(in_use);
                if let Some((reply, outcome)) = rotated {
                    self.core.force_snapshot();
                    // Whoever asked may have gone.
                    let _ = reply.send(outcome);
                }
            }
            Done::Failed(error) => self.storage_failed(error),
        }
    }

    fn storage_failed(&mut self, error: StorageError) {
        tracing::error!("the raft log failed, so this member stops: {error}");
        self.stop(StopReason::Storage(Arc::new(error)));
    }

    fn finished(&mut self, finished: Finished) {
        match finished {
            Finished::Staged(Ok(staged)) => self.give(Work::SaveSnapshot(staged)),
            Finished::Staged(Err(StageError::Storage(error))) => self.storage_failed(error),
            Finished::Staged(Err(StageError::Contents(error))) => {
                tracing::error!("a raft snapshot could not be taken: {error:?}");
                self.core.snapshot_failed();
            }
            Finished::Probed { request, outcome } => self.core.probed(request, outcome),
        }
    }

    fn report(&mut self, report: Report) {
        match report {
            Report::Unreachable(to) => self.core.report_unreachable(to),
            Report::Reachable(to) => self.core.report_reachable(to),
            Report::Snapshot { to, delivered } => self.core.report_snapshot(to, delivered),
            Report::Removed => self.core.report_removed(),
        }
    }

    fn command(&mut self, command: Command, timing: Timing) {
        match command {
            Command::Read { reply } => {
                let request = self.request(Reply::Read(reply));
                self.core.read(request);
            }
            Command::Join { node_id, addr, reply } => {
                let request = self.request(Reply::Join(reply));
                self.core.join(request, node_id, addr);
            }
            Command::Remove { raft_id, reply } => {
                let request = self.request(Reply::Remove(reply));
                self.core.remove(request, raft_id);
            }
            Command::Transfer { to, reply } => {
                // What came before is let commit first.
                self.take_proposals();
                let request = self.request(Reply::Transfer(reply));
                self.core.transfer_to(request, to);
            }
            Command::Rotate { keys, reply } => {
                let given = self.log.give(Work::Rotate { keys, reply });
                if let Err(NotTaken::Full(work)) = given
                    && let Work::Rotate { reply, .. } = *work
                {
                    // Whoever asked may have gone.
                    let _ = reply.send(Err(RotateError::Busy));
                }
            }
            Command::Configure(settings) => {
                // The same length again must not put the next tick off.
                if let Some(tick) = self.core.configure(settings) {
                    self.seen.new_tick = Some(tick);
                }
            }
            Command::TakeSnapshot => self.core.force_snapshot(),
            Command::Stop { hand_over } => {
                if !hand_over {
                    self.stop(StopReason::Asked);
                } else if self.seen.stopping.is_none() {
                    self.take_proposals();
                    self.seen.stopping = Some(timing.election_ticks);
                    self.seen.handing_over = self.core.is_leader();
                    self.core.close();
                    if self.seen.handing_over {
                        self.core.transfer_to(HAND_OVER, None);
                    }
                }
            }
        }
    }

    fn request(&mut self, reply: Reply) -> RequestId {
        self.seen.last_request += 1;
        let request = RequestId(self.seen.last_request);
        self.seen.replies.insert(request, reply);
        request
    }

    fn tick(&mut self) {
        self.core.tick();
        if let Some(left) = &mut self.seen.stopping {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.stop(StopReason::Asked);
            }
        }
    }

    /// The first reason is the one that counts.
    fn stop(&mut self, reason: StopReason) {
        self.seen.stop.get_or_insert(reason);
    }

    /// Watchers are woken by what changes seldom; the rest is there when they look.
    fn publish(&mut self) {
        let status = Status {
            sizes: self.seen.sizes,
            keys_in_use: self.seen.keys_in_use.clone(),
            ..self.core.status()
        };
        self.status.send_if_modified(|published| {
            let changed = !status.is_like(published);
            *published = Arc::new(status);
            changed
        });
    }

    fn finish(mut self, reason: StopReason) -> StopReason {
        self.core.flush();
        for persist in self.core.ready().persist {
            self.give(Work::Append { number: persist.number, batch: persist.batch });
        }
        self.following(Refusal::ShuttingDown);
        tracing::info!(own = %RaftId(self.core.own().0), "the raft node stops: {reason}");
        reason
    }
}
