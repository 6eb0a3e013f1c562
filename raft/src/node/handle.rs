//! The node's handle: what everybody else may ask of it.

use std::{future::Future, sync::Arc};

use bytes::Bytes;
use skep_proto::raftpb;
use tokio::sync::{mpsc, oneshot, watch};

use super::{
    command::{Command, Report},
    proposals::{Proposal, Proposals},
};
use crate::{
    Epoch, Joined, Keyring, MembershipError, RaftId, ReadError, Refusal, RotateError, Settings,
    Status, StepError, StopReason, Ticket, TransferError,
    door::{self, PeerMessage, Verdict},
};

/// Asks a running node. Cheap to clone; everything behind it is bounded. When the last handle is dropped the node
/// stops without handing over.
///
/// Futures may be dropped at any time; what they asked for may still happen then.
#[derive(Clone)]
pub struct NodeHandle {
    pub(super) proposals: Arc<Proposals>,
    pub(super) wake: Arc<tokio::sync::Notify>,
    pub(super) own: RaftId,
    pub(super) messages: mpsc::Sender<PeerMessage>,
    pub(super) reports: mpsc::Sender<Report>,
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) status: watch::Receiver<Arc<Status>>,
    pub(super) stopped: watch::Receiver<Option<StopReason>>,
}

impl NodeHandle {
    /// Proposes an entry under an epoch. Does not block, and does not wait for the outcome: that comes through the
    /// state machine (see [`StateMachine`](crate::StateMachine)).
    ///
    /// An `Err` is final for this ticket, which is never heard of again; the epoch has ended with it, and `leading`
    /// comes with a new one if this member still leads. An empty entry is not allowed: it would not be applied.
    pub fn propose(&self, epoch: Epoch, ticket: Ticket, data: Bytes) -> Result<(), Refusal> {
        let outcome = self.proposals.push(epoch, Proposal { ticket, data });
        self.wake.notify_one();
        outcome
    }

    /// Takes a message of a peer. Proposals are dropped silently (only the leader proposes, nobody forwards), and so
    /// is what is meant for another member.
    pub fn step(&self, message: raftpb::Message) -> Result<(), StepError> {
        let from = RaftId(message.from());
        if self.status.borrow().members.is_removed(from) {
            return Err(StepError::Removed);
        }
        let message = match door::check(message, self.own) {
            Ok(Verdict::Take(message)) => message,
            Ok(Verdict::Drop) => return Ok(()),
            Err(what) => return Err(StepError::Malformed { from, what }),
        };
        self.messages.try_send(message).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => StepError::Busy,
            mpsc::error::TrySendError::Closed(_) => StepError::Stopped,
        })
    }

    /// A message to this member was lost.
    pub fn report_unreachable(&self, to: RaftId) {
        self.report(Report::Unreachable(to));
    }

    /// A message to this member arrived, or it answered a health check.
    pub fn report_reachable(&self, to: RaftId) {
        self.report(Report::Reachable(to));
    }

    /// A `MsgSnap` to this member was delivered, or was not.
    pub fn report_snapshot(&self, to: RaftId, delivered: bool) {
        self.report(Report::Snapshot { to, delivered });
    }

    /// A peer says that this member was removed (code `NotFound` with exactly SwarmKit's text): the node stops with
    /// [`StopReason::Removed`].
    pub fn report_removed(&self) {
        self.report(Report::Removed);
    }

    /// A lost report is made good by raft's own timeouts, so a full queue drops it.
    fn report(&self, report: Report) {
        let _ = self.reports.try_send(report);
    }

    /// A linearizable read: when it returns, every write that was acknowledged anywhere before the call has been
    /// applied here. Gives the index. Works on every member; gives up after two election timeouts.
    pub async fn read_barrier(&self) -> Result<u64, ReadError> {
        self.ask(|reply| Command::Read { reply }).await.unwrap_or(Err(ReadError::Stopped))
    }

    /// Admits a manager. Dials back first. The same node at the same address gets its raft id again; at another
    /// address, its member record changes; a new node gets a raft id that was never used. Returns once that is applied
    /// here. Only the leader does it.
    pub async fn join(&self, node_id: String, addr: String) -> Result<Joined, MembershipError> {
        self.ask(|reply| Command::Join { node_id, addr, reply })
            .await
            .unwrap_or(Err(MembershipError::Stopped))
    }

    /// This member's raft id.
    pub fn own(&self) -> RaftId {
        self.own
    }

    /// Removes a member for ever, unless that could lose the quorum. Returns once it is applied here.
    pub async fn remove(&self, raft_id: RaftId) -> Result<(), MembershipError> {
        self.ask(|reply| Command::Remove { raft_id, reply })
            .await
            .unwrap_or(Err(MembershipError::Stopped))
    }

    /// Whether the group would keep its quorum without this member: this member and the reachable ones among the
    /// others must be (n - 1) / 2 + 1 at least, n being the members of today (SwarmKit's rule).
    pub fn check_removal(&self, raft_id: RaftId) -> Result<(), MembershipError> {
        crate::membership::check_removal(&self.status.borrow(), raft_id)
    }

    /// Hands leadership to a member, or to the reachable one that is furthest along. Gives who leads then. Proposals
    /// are refused meanwhile.
    pub async fn transfer(&self, to: Option<RaftId>) -> Result<RaftId, TransferError> {
        self.ask(|reply| Command::Transfer { to, reply })
            .await
            .unwrap_or(Err(TransferError::Stopped))
    }

    /// The node as it was after its last round.
    pub fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    /// Follows the status.
    pub fn watch_status(&self) -> watch::Receiver<Arc<Status>> {
        self.status.clone()
    }

    /// Changes the keys that seal the disk. When it returns, everything new is sealed with the ring's current key. A
    /// snapshot follows, by which what was sealed with older ones goes; [`Status::keys_in_use`] says when it has gone.
    pub async fn rotate_keys(&self, keys: Keyring) -> Result<(), RotateError> {
        self.ask(|reply| Command::Rotate { keys, reply }).await.unwrap_or(Err(RotateError::Stopped))
    }

    /// Changes what may change while the node runs.
    pub async fn configure(&self, settings: Settings) {
        // A node that has ended needs no settings.
        let _ = self.commands.send(Command::Configure(settings)).await;
    }

    /// Has a snapshot taken as soon as there is something to take one of, and everything that it includes dropped from the log.
    pub async fn take_snapshot(&self) {
        // A node that has ended has no log any more.
        let _ = self.commands.send(Command::TakeSnapshot).await;
    }

    /// Stops the node and waits until its log is closed. With `hand_over`, a leader lets what is in flight commit and
    /// hands leadership over first, for at most one election timeout.
    pub async fn stop(&self, hand_over: bool) -> StopReason {
        let _ = self.commands.send(Command::Stop { hand_over }).await;
        self.stopped().await
    }

    /// Resolves with the reason once the node has ended and its log is closed.
    pub fn stopped(&self) -> impl Future<Output = StopReason> + Send + 'static {
        let mut stopped = self.stopped.clone();
        async move {
            match stopped.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or(StopReason::Asked),
                Err(_) => StopReason::Fault("the node's task ended without saying why".to_owned()),
            }
        }
    }

    async fn ask<R>(&self, command: impl FnOnce(oneshot::Sender<R>) -> Command) -> Option<R> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.ok()?;
        answer.await.ok()
    }
}
