//! How the node reaches its peers: the trait that the owner of the network implements.

use futures::future::BoxFuture;
use skep_proto::raftpb;

use crate::{Member, Membership, RaftId};

/// The dial-back check of a joiner failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ProbeError(
    /// What was tried and what happened.
    pub String,
);

/// The way to the other members.
pub trait Transport: Send + Sync + 'static {
    /// Takes a message for a member, whose address is empty when it is not known here: a peer is to be asked for it. Never blocks: it goes into a bounded queue or is dropped. What happens to it is
    /// told through the handle: `report_unreachable` for one that was lost, `report_reachable` for one that arrived,
    /// and **always** `report_snapshot` for a `MsgSnap`, lest the follower wait for ever.
    fn send(&self, to: &Member, message: raftpb::Message);

    /// The members have changed (or become known): connections to those who left end, new ones may be prepared.
    fn members_changed(&self, members: &Membership, own: RaftId);

    /// Dials an address and checks that a healthy manager of this cluster answers there. Bounded in time by the
    /// implementation.
    fn probe(&self, addr: &str) -> BoxFuture<'static, Result<(), ProbeError>>;
}
