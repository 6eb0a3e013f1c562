//! The rules by which a raft message of another manager is taken, dropped or refused. They are SwarmKit's:
//!
//! - a sender that was removed from the group is told so, which makes it stop and delete its state; nobody else ever is;
//! - proposals are dropped, because only the leader proposes;
//! - a vote is asked for in vain by someone who is not a member, or whom this manager cannot call back: it could win the
//!   election and then reach nobody;
//! - a message for somebody else is logged and dropped.
//!
//! Whoever is dropped gets `OK`.

use std::sync::Arc;

use skep_proto::raftpb::{self, MessageType};
use skep_raft::{Membership, RaftId, StepError, Transport as _};
use tokio::sync::Semaphore;
use tonic::Status;

use super::{dial_back::DialBack, port::RaftPort};
use crate::{GrpcTransport, removed};

/// Votes that wait for a dial-back at a time; more than a group has members.
pub const VOTES_MAX: usize = 64;

pub(super) struct Receiver {
    pub port: Arc<dyn RaftPort>,
    transport: GrpcTransport,
    dial_back: DialBack,
    votes: Arc<Semaphore>,
}

/// The group as it was when a frame came in.
pub(super) struct Group {
    own: RaftId,
    members: Arc<Membership>,
}

/// What is to be done with a message before any vote is looked into.
enum Verdict {
    Drop,
    Step,
    /// Step it if the candidate answers at this address.
    DialBack(String),
}

impl Receiver {
    pub fn new(port: Arc<dyn RaftPort>, transport: GrpcTransport) -> Self {
        let prober = transport.clone();
        Self {
            port,
            transport,
            dial_back: DialBack::new(Arc::new(move |addr| prober.probe(addr))),
            votes: Arc::new(Semaphore::new(VOTES_MAX)),
        }
    }

    /// The group now, for the messages of one frame.
    pub fn group(&self) -> Group {
        let (own, members) = self.port.group();
        Group { own, members }
    }

    /// Takes a message and waits for a dial-back if there has to be one.
    pub async fn receive(&self, message: raftpb::Message) -> Result<(), Status> {
        let verdict = judge(&self.group(), &message)?;
        self.transport.heard_of(RaftId(message.from()));
        match verdict {
            Verdict::Drop => Ok(()),
            Verdict::Step => self.step(message),
            Verdict::DialBack(addr) => {
                if self.dial_back.reaches(&addr).await {
                    self.step(message)
                } else {
                    Ok(())
                }
            }
        }
    }

    /// The peer at the other end of a stream is alive.
    pub fn heard_of(&self, message: &raftpb::Message) {
        self.transport.heard_of(RaftId(message.from()));
    }

    /// Takes a message of a stream, where nothing may wait: a dial-back happens aside.
    pub fn receive_now(
        self: &Arc<Self>,
        group: &Group,
        message: raftpb::Message,
    ) -> Result<(), Status> {
        let addr = match judge(group, &message)? {
            Verdict::Drop => return Ok(()),
            Verdict::Step => return self.step(message),
            Verdict::DialBack(addr) => addr,
        };
        match self.dial_back.remembered(&addr) {
            Some(true) => return self.step(message),
            Some(false) => return Ok(()),
            None => {}
        }
        let Ok(permit) = self.votes.clone().try_acquire_owned() else { return Ok(()) };
        let receiver = self.clone();
        tokio::spawn(async move {
            let _permit = permit;
            if receiver.dial_back.reaches(&addr).await
                && let Err(status) = receiver.step(message)
            {
                tracing::debug!("vote request not taken: {status}");
            }
        });
        Ok(())
    }

    fn step(&self, message: raftpb::Message) -> Result<(), Status> {
        self.port.step(message).map_err(|error| match error {
            StepError::Removed => removed::signal(),
            StepError::Malformed { .. } => Status::invalid_argument(error.to_string()),
            StepError::Busy => Status::resource_exhausted(error.to_string()),
            StepError::Stopped => Status::unavailable(error.to_string()),
        })
    }
}

fn judge(group: &Group, message: &raftpb::Message) -> Result<Verdict, Status> {
    let from = RaftId(message.from());
    if group.members.is_removed(from) {
        return Err(removed::signal());
    }
    if message.to() != group.own.0 {
        tracing::warn!(
            from = %from,
            to = %RaftId(message.to()),
            "raft message for another member dropped: is there an old manager at this address?"
        );
        return Ok(Verdict::Drop);
    }
    Ok(match message.r#type() {
        MessageType::MsgVote | MessageType::MsgPreVote => match group.members.get(from) {
            Some(member) => Verdict::DialBack(member.addr.clone()),
            None => {
                tracing::debug!(from = %from, "no vote for someone who is not a member");
                Verdict::Drop
            }
        },
        kind if comes_from_peers(kind) => Verdict::Step,
        _ => Verdict::Drop,
    })
}

/// The kinds that members send to each other. The rest are raft's talk with itself, and proposals.
fn comes_from_peers(kind: MessageType) -> bool {
    matches!(
        kind,
        MessageType::MsgApp
            | MessageType::MsgAppResp
            | MessageType::MsgVote
            | MessageType::MsgVoteResp
            | MessageType::MsgSnap
            | MessageType::MsgHeartbeat
            | MessageType::MsgHeartbeatResp
            | MessageType::MsgTransferLeader
            | MessageType::MsgTimeoutNow
            | MessageType::MsgReadIndex
            | MessageType::MsgReadIndexResp
            | MessageType::MsgPreVote
            | MessageType::MsgPreVoteResp
    )
}
