//! Errors, one enum per operation of the node's handle.

use std::sync::Arc;

use crate::{Member, MembershipRuleError, ProbeError, RaftId, StorageError};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log store failed.
    #[error("the raft log cannot be opened")]
    Storage(#[from] StorageError),
    /// Asked to found or join, but the log holds a member's past already.
    #[error(
        "the raft log belongs to member {raft_id} already; start without founding or joining, or clear its folder"
    )]
    NotEmpty {
        /// Whose log it is.
        raft_id: RaftId,
    },
    /// Asked to go on, but there is nothing to go on with.
    #[error("there is no raft log to go on with")]
    Empty,
    /// The log contradicts itself.
    #[error("the raft log cannot be used: {0}")]
    Inconsistent(String),
    /// The snapshot cannot be restored.
    #[error("the raft snapshot cannot be restored")]
    Restore(#[from] crate::RestoreError),
    /// A setting makes no sense.
    #[error("raft is configured wrongly: {0}")]
    Config(String),
}

/// Why a node ended.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StopReason {
    /// [`NodeHandle::stop`](crate::NodeHandle::stop) was called, or the last handle was dropped.
    #[error("the node was stopped")]
    Asked,
    /// This member was removed from the group for ever. Its log is of no more use.
    #[error("this member was removed from the raft group")]
    Removed,
    /// The disk failed; nothing acknowledged is lost.
    #[error("the raft log failed: {0}")]
    Storage(Arc<StorageError>),
    /// The state machine refused a committed entry or a snapshot: this replica must not go on.
    #[error("the replicated state failed at index {index}: {detail}")]
    StateMachine {
        /// Where.
        index: u64,
        /// What it said, its sources included.
        detail: String,
    },
    /// A rule of the raft library was broken.
    #[error("raft failed: {0}")]
    Fault(String),
}

/// Why a message of a peer was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StepError {
    /// The sender was removed. The text is SwarmKit's: with code `NotFound` it makes a peer delete its state, so it
    /// must be used for nothing else.
    #[error("raft: member was removed from the cluster")]
    Removed,
    /// The message cannot come from a healthy peer.
    #[error("malformed raft message from {from}: {what}")]
    Malformed {
        /// Its sender.
        from: RaftId,
        /// What is wrong with it.
        what: &'static str,
    },
    /// Too many messages wait; raft copes with a lost one.
    #[error("too many raft messages are waiting")]
    Busy,
    /// The node has ended.
    #[error("the raft node has stopped")]
    Stopped,
}

/// Why a read barrier failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// No leader confirmed the read in time.
    #[error("no leader of the raft group confirmed the read; the group may have lost its quorum")]
    NoLeader,
    /// Too many reads wait.
    #[error("too many reads are waiting")]
    Busy,
    /// The node has ended.
    #[error("the raft node has stopped")]
    Stopped,
}

/// What a joiner is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// Its raft id.
    pub raft_id: RaftId,
    /// All members, itself among them.
    pub members: Vec<Member>,
}

/// Why a change of membership did not happen, or may not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MembershipError {
    /// Only the leader changes the membership.
    #[error("this manager is not the leader of the raft group")]
    NotLeader,
    /// The joiner did not answer as a healthy manager at the address it gave.
    #[error("the manager at {addr} cannot be reached at the address it gave: {source}")]
    Unhealthy {
        /// The address dialled.
        addr: String,
        /// What happened.
        source: ProbeError,
    },
    /// The change would leave the group without a quorum.
    #[error(
        "raft: member cannot be removed, because removing it may result in loss of quorum \
         ({reachable} of the {remaining} remaining managers can be reached, {needed} are needed)"
    )]
    QuorumLoss {
        /// Members that would remain and can be reached, this one included.
        reachable: usize,
        /// Members that would remain.
        remaining: usize,
        /// Reachable members that the change needs.
        needed: usize,
    },
    /// The member is not one.
    #[error("raft member {0} is not part of the group")]
    Unknown(RaftId),
    /// Too many changes wait for their turn; changes go one at a time.
    #[error("another change of the raft membership is in progress; try again")]
    ChangeInProgress,
    /// The group is as large as it may be.
    #[error("the raft group has {0} members already, which is the most it may have")]
    Full(usize),
    /// The change reached the log, but the rules of membership did not allow it by then.
    #[error(transparent)]
    Refused(#[from] MembershipRuleError),
    /// Leadership was lost while the change was under way: it may still happen.
    #[error(
        "leadership was lost while the raft membership was being changed; the change may still happen"
    )]
    UnknownOutcome,
    /// It took too long: it may still happen.
    #[error("the change of the raft membership was not committed in time; it may still happen")]
    TimedOut,
    /// The node has ended; the change may still happen.
    #[error("the raft node has stopped")]
    Stopped,
}

/// Why leadership was not handed over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransferError {
    /// There is nothing to hand over.
    #[error("this manager is not the leader of the raft group")]
    NotLeader,
    /// Nobody can take over.
    #[error("no other manager can be reached to take over leadership")]
    NoTarget,
    /// The member named is not one, or cannot be reached.
    #[error("raft member {0} cannot take over leadership: it is not a member or cannot be reached")]
    BadTarget(RaftId),
    /// It is being handed over already.
    #[error("leadership is being handed over to raft member {0} already")]
    UnderWay(RaftId),
    /// It did not take over in time; this member leads on.
    #[error("raft member {0} did not take over leadership in time")]
    TimedOut(RaftId),
    /// The node has ended.
    #[error("the raft node has stopped")]
    Stopped,
}

/// Why the keys were not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RotateError {
    /// Other work for the log waits.
    #[error("the raft log is too busy to change its keys; try again")]
    Busy,
    /// The ring lacks a key that something on disk is still sealed with. Nothing has changed.
    #[error("the raft log's keys cannot be changed: {0}")]
    Refused(String),
    /// The node has ended, perhaps because the disk failed: see why it stopped.
    #[error("the raft node has stopped before the keys were changed")]
    Stopped,
}
