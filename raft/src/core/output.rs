//! What comes out of the core.

use std::sync::Arc;

use bytes::Bytes;
use skep_proto::raftpb;

use crate::{
    Batch, Committed, Epoch, Joined, Member, Membership, MembershipError, RaftId, ReadError,
    Refusal, SnapshotMeta, StopReason, Ticket, TransferError,
};

/// Names a request to the core; its driver gives them out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// A message and where it goes.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// The member it is for. Its address is empty when this member has not yet learned who that is: then the transport asks another
    /// member.
    pub to: Member,
    /// The message.
    pub message: raftpb::Message,
}

/// Something to make durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Persist {
    /// Its number, increasing by one. Reporting a number reports all before it.
    pub number: u64,
    /// What to write.
    pub batch: Batch,
}

/// Everything to do before the core is called again. See the [module](super) for the order.
#[derive(Debug, Default)]
pub struct Output {
    /// Messages that may go out now.
    pub send: Vec<Envelope>,
    /// `MsgSnap`s without their data: read the newest snapshot from the log store, attach it
    /// ([`attach_snapshot`](super::attach_snapshot)), send it, and report what became of it in any case.
    pub send_snapshot: Vec<Envelope>,
    /// What to persist, in order.
    pub persist: Vec<Persist>,
    /// What has happened, in order.
    pub events: Vec<Event>,
}

impl Output {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.send.is_empty()
            && self.send_snapshot.is_empty()
            && self.persist.is_empty()
            && self.events.is_empty()
    }
}

/// Something that happened. All but the last five concern the state machine.
#[derive(Debug)]
pub enum Event {
    /// Committed entries, for [`StateMachine::apply`](crate::StateMachine::apply).
    Apply(Vec<Committed>),
    /// A proposal will not commit.
    Refused(Ticket, Refusal),
    /// The epoch has ended: what waits to be proposed is to be refused for this reason, after the refusals before.
    EpochEnded(Refusal),
    /// This member may act as leader; proposals are taken under this epoch from now on.
    Leading(Epoch, u64),
    /// Leadership was lost.
    Following,
    /// The state machine is to be replaced by a leader's snapshot; [`Core::restored`](super::Core::restored) takes
    /// the membership that it holds.
    Restore {
        /// What the snapshot includes.
        index: u64,
        /// Its bytes.
        data: Bytes,
    },
    /// The state machine is to be captured *now*, encoded and staged anywhere, and saved by the log store; then
    /// [`Core::snapshot_saved`](super::Core::snapshot_saved), or [`Core::snapshot_failed`](super::Core::snapshot_failed) when
    /// that was not done, or the log store had no use for it any more.
    TakeSnapshot {
        /// What it stands for.
        meta: SnapshotMeta,
        /// The membership at its index.
        membership: Arc<Membership>,
    },
    /// The log store may drop entries up to this one.
    Compact(u64),
    /// The members have changed.
    Members(Arc<Membership>),
    /// Check that a healthy manager answers at this address, and report by [`Core::probed`](super::Core::probed).
    Probe {
        /// For whom.
        request: RequestId,
        /// The address.
        addr: String,
    },
    /// A request is done.
    Answer(RequestId, Answer),
    /// The core has ended.
    Ended(StopReason),
}

/// How a request ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A read barrier.
    Read(Result<u64, ReadError>),
    /// A join.
    Join(Result<Joined, MembershipError>),
    /// A removal.
    Remove(Result<(), MembershipError>),
    /// A transfer of leadership.
    Transfer(Result<RaftId, TransferError>),
}
