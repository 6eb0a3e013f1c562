//! Why a node did not come up, or cannot do what was asked; one place maps each to a gRPC code.

use skep_raft::{MembershipError, StartError, TransferError};
use tonic::{Code, Status};

/// What went wrong with a node.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The key on disk is sealed with the unlock key.
    #[error(
        "Swarm is encrypted and needs to be unlocked before it can be used. Use \"skep swarm unlock\" to unlock it."
    )]
    Locked,
    /// Only managers can do this.
    #[error(
        "This node is not a swarm manager. Worker nodes can't be used to view or modify cluster state. \
         Please run this command on a manager node or promote the current node to a manager."
    )]
    NotManager,
    /// A file of the state folder cannot be read or written, or makes no sense.
    #[error("{path}: {reason}")]
    Files {
        /// The file or folder.
        path: String,
        /// What is wrong and what to do.
        reason: String,
    },
    /// Keys, certificates or enrolment.
    #[error("{0}")]
    Identity(String),
    /// The remote listener.
    #[error("cannot listen on {addr}: {reason}")]
    Listen {
        /// What `--listen` says.
        addr: String,
        /// What the system says.
        reason: String,
    },
    /// No address to tell the others.
    #[error("no address to advertise could be chosen ({reason}): give --advertise HOST:PORT")]
    Advertise {
        /// What was tried.
        reason: String,
    },
    /// No manager would have this node.
    #[error("{message}")]
    Join {
        /// The code of the manager's answer.
        code: Code,
        /// The manager's answer, with the address asked.
        message: String,
    },
    /// The raft node did not start.
    #[error("{}", chain(.0))]
    Raft(#[from] StartError),
    /// A manager of this cluster did not come up in time.
    #[error("{what} did not happen within {seconds} s; {hint}")]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// For how long.
        seconds: u64,
        /// What to look at.
        hint: &'static str,
    },
    /// The node ended while it was coming up.
    #[error("the node stopped while it was starting: {0}")]
    Ended(String),
    /// Leadership was not handed over.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// A change of the raft group did not happen.
    #[error(transparent)]
    Membership(#[from] MembershipError),
    /// What was named does not exist.
    #[error("{0}")]
    NotFound(String),
    /// What was asked for makes no sense.
    #[error("{0}")]
    InvalidArgument(String),
    /// The raft group does not answer.
    #[error("{0}")]
    NoQuorum(String),
    /// The cluster's objects are not here yet.
    #[error("this manager has not yet received the cluster's state: try again")]
    NotReady,
}

/// An error and its causes on one line, without saying anything twice.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

impl From<NodeError> for Status {
    fn from(error: NodeError) -> Status {
        let code = match &error {
            NodeError::Locked | NodeError::NotManager | NodeError::Transfer(_) => {
                Code::FailedPrecondition
            }
            NodeError::Membership(error) => match error {
                MembershipError::NotLeader | MembershipError::Stopped => Code::Unavailable,
                MembershipError::Unknown(_) => Code::NotFound,
                _ => Code::FailedPrecondition,
            },
            NodeError::Join { code, .. } => *code,
            NodeError::NotFound(_) => Code::NotFound,
            NodeError::InvalidArgument(_) | NodeError::Advertise { .. } => Code::InvalidArgument,
            NodeError::NotReady | NodeError::NoQuorum(_) | NodeError::TimedOut { .. } => {
                Code::Unavailable
            }
            NodeError::Files { .. }
            | NodeError::Identity(_)
            | NodeError::Listen { .. }
            | NodeError::Raft(_)
            | NodeError::Ended(_) => Code::Internal,
        };
        Status::new(code, error.to_string())
    }
}
