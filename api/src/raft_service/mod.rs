//! The services that other managers call: raft messages, in SwarmKit's way and in ours, and joining and leaving the
//! group.
//!
//! They are registered before this manager is a member, because a joiner must answer health checks on the same
//! listener; until [`RaftServices::serve_with`] they say that it is not one yet.

mod dial_back;
mod membership;
mod messages;
mod port;
mod receiver;
mod stream;

use std::sync::{Arc, OnceLock};

use skep_proto::{
    skep::raft_stream_server::RaftStreamServer,
    swarmkit::{raft_membership_server::RaftMembershipServer, raft_server::RaftServer},
};
use tokio_util::sync::CancellationToken;
use tonic::Status;

pub use dial_back::{FAILURE_KEPT, SUCCESS_KEPT};
pub use port::RaftPort;
pub use receiver::VOTES_MAX;

use self::receiver::Receiver;
use crate::GrpcTransport;

/// The largest message of the raft services: a frame of ours is a quarter of it at most, and a proposal less.
pub const MAX_RAFT_MESSAGE_BYTES: usize = 16 * 1024 * 1024;

/// The text that SwarmKit gives a caller before this manager is a member.
pub const NOT_A_MEMBER: &str = "raft: node is not yet part of a raft cluster";

/// The services. All clones are the same ones.
#[derive(Clone, Default)]
pub struct RaftServices {
    receiver: Arc<OnceLock<Arc<Receiver>>>,
    stop: CancellationToken,
}

impl RaftServices {
    /// Services of a manager that is not a member yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on messages go to this raft node. The transport dials back to candidates, and learns whom messages
    /// came from. The first call counts.
    pub fn serve_with(&self, port: Arc<dyn RaftPort>, transport: GrpcTransport) {
        let _ = self.receiver.set(Arc::new(Receiver::new(port, transport)));
    }

    /// Ends the streams of peers, which would otherwise keep the listener from closing.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// SwarmKit's `Raft`.
    pub fn raft(&self) -> RaftServer<Self> {
        RaftServer::new(self.clone()).max_decoding_message_size(MAX_RAFT_MESSAGE_BYTES)
    }

    /// Our `RaftStream`.
    pub fn raft_stream(&self) -> RaftStreamServer<Self> {
        RaftStreamServer::new(self.clone()).max_decoding_message_size(MAX_RAFT_MESSAGE_BYTES)
    }

    /// SwarmKit's `RaftMembership`.
    pub fn raft_membership(&self) -> RaftMembershipServer<Self> {
        RaftMembershipServer::new(self.clone())
    }

    fn receiver(&self) -> Result<Arc<Receiver>, Status> {
        self.receiver.get().cloned().ok_or_else(|| Status::failed_precondition(NOT_A_MEMBER))
    }
}
