//! What reaches the node's task from its handles.

use tokio::sync::oneshot;

use crate::{
    Joined, Keyring, MembershipError, RaftId, ReadError, RotateError, Settings, TransferError,
    core::Answer,
};

/// Asked through a handle; an unanswered reply means that the node has ended.
pub enum Command {
    Read { reply: oneshot::Sender<Result<u64, ReadError>> },
    Join { node_id: String, addr: String, reply: oneshot::Sender<Result<Joined, MembershipError>> },
    Remove { raft_id: RaftId, reply: oneshot::Sender<Result<(), MembershipError>> },
    Transfer { to: Option<RaftId>, reply: oneshot::Sender<Result<RaftId, TransferError>> },
    Rotate { keys: Keyring, reply: oneshot::Sender<Result<(), RotateError>> },
    Configure(Settings),
    TakeSnapshot,
    Stop { hand_over: bool },
}

/// What the transport says about its messages.
#[derive(Clone, Copy, Debug)]
pub enum Report {
    Unreachable(RaftId),
    Reachable(RaftId),
    Snapshot { to: RaftId, delivered: bool },
    Removed,
}

/// Where the answer to a request goes. Whoever asked may have gone; then nobody hears it.
pub enum Reply {
    Read(oneshot::Sender<Result<u64, ReadError>>),
    Join(oneshot::Sender<Result<Joined, MembershipError>>),
    Remove(oneshot::Sender<Result<(), MembershipError>>),
    Transfer(oneshot::Sender<Result<RaftId, TransferError>>),
}

impl Reply {
    pub fn send(self, answer: Answer) {
        match (self, answer) {
            (Reply::Read(reply), Answer::Read(answer)) => drop(reply.send(answer)),
            (Reply::Join(reply), Answer::Join(answer)) => drop(reply.send(answer)),
            (Reply::Remove(reply), Answer::Remove(answer)) => drop(reply.send(answer)),
            (Reply::Transfer(reply), Answer::Transfer(answer)) => drop(reply.send(answer)),
            (_, answer) => debug_assert!(false, "an answer of another kind: {answer:?}"),
        }
    }
}
