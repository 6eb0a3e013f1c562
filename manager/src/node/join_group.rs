//! A new manager's way into the raft group: it asks any manager, which passes the request on to the leader.

use std::time::Duration;

use skep_api::ChannelPool;
use skep_proto::swarmkit::{
    JoinRequest, LeaveRequest, RaftMember, raft_membership_client::RaftMembershipClient,
};
use skep_raft::{Member, RaftId};
use tonic::{Code, Request, Status};
use tracing::{info, warn};

use super::NodeError;

/// How long one manager may take with a join: the leader dials back and the change has to be committed.
const JOIN_CALL_TIME_MAX: Duration = Duration::from_secs(25);
/// How long all attempts together may take: long enough for an election in between.
const JOIN_TIME_MAX: Duration = Duration::from_secs(60);
/// Pause before all managers are asked again.
const RETRY_PAUSE: Duration = Duration::from_millis(500);

/// What the leader answered.
pub struct JoinedGroup {
    /// This manager's raft id.
    pub raft_id: RaftId,
    /// Everybody, this manager among them.
    pub members: Vec<Member>,
}

impl JoinedGroup {
    /// The address that the group knows this manager by.
    pub fn own_addr(&self, advertised: &str) -> String {
        let own = self.members.iter().find(|member| member.raft_id == self.raft_id);
        own.map_or_else(|| advertised.to_owned(), |member| member.addr.clone())
    }
}

/// Asks these managers in turn to admit this one at `advertise`. What may pass (no leader yet, another change under
/// way) is tried again for a while; a refusal is final. When the future is dropped the leader may still admit it.
pub async fn join(
    pool: &ChannelPool,
    remotes: &[String],
    advertise: &str,
) -> Result<JoinedGroup, NodeError> {
    let deadline = tokio::time::Instant::now() + JOIN_TIME_MAX;
    loop {
        let mut last = None;
        for remote in remotes {
            match ask(pool, remote, advertise).await {
                Ok(joined) => {
                    info!(raft_id = %joined.raft_id, manager = %remote, "admitted to the raft group");
                    return Ok(joined);
                }
                Err(status) if may_pass(&status) => last = Some((remote, status)),
                Err(status) => return Err(refused(remote, &status)),
            }
        }
        let Some((remote, status)) = last else {
            return Err(NodeError::InvalidArgument("no manager to join was named".to_owned()));
        };
        if tokio::time::Instant::now() + RETRY_PAUSE >= deadline {
            return Err(refused(remote, &status));
        }
        tokio::time::sleep(RETRY_PAUSE).await;
    }
}

/// As [`join`], for a node that may be a member already and whose log is lost: a member that has forgotten its votes
/// and its entries must not go on under the same raft id (Raft paper, figure 2: both must survive a restart).
pub async fn join_as_another(
    pool: &ChannelPool,
    remotes: &[String],
    advertise: &str,
) -> Result<JoinedGroup, NodeError> {
    let before = join(pool, remotes, advertise).await?;
    warn!(raft_id = %before.raft_id, "this manager's raft log is lost; it gives up its raft id and gets another");
    let mut last = None;
    for remote in remotes {
        let channel = pool.get(remote).map_err(|e| NodeError::InvalidArgument(e.to_string()))?;
        let node = RaftMember { raft_id: before.raft_id.0, ..Default::default() };
        let mut request = Request::new(LeaveRequest { node: Some(node) });
        request.set_timeout(JOIN_CALL_TIME_MAX);
        match RaftMembershipClient::new(channel).leave(request).await {
            Ok(_) => return join(pool, remotes, advertise).await,
            Err(status) => last = Some(refused(remote, &status)),
        }
    }
    Err(last
        .unwrap_or_else(|| NodeError::InvalidArgument("no manager to join was named".to_owned())))
}

async fn ask(pool: &ChannelPool, remote: &str, advertise: &str) -> Result<JoinedGroup, Status> {
    let channel = pool.get(remote).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let mut request = Request::new(JoinRequest { addr: advertise.to_owned() });
    request.set_timeout(JOIN_CALL_TIME_MAX);
    let response = RaftMembershipClient::new(channel).join(request).await?.into_inner();
    if response.raft_id == 0 {
        return Err(Status::internal("the manager admitted this one without giving it a raft id"));
    }
    let member = |member: skep_proto::swarmkit::RaftMember| Member {
        raft_id: RaftId(member.raft_id),
        node_id: member.node_id,
        addr: member.addr,
    };
    Ok(JoinedGroup {
        raft_id: RaftId(response.raft_id),
        members: response.members.into_iter().map(member).collect(),
    })
}

/// The swarm may be able to take the join in a moment: it elects a leader, or a manager just does not answer. The
/// leader's dial-back to this manager also fails with `Unavailable`, and then a retry helps nobody.
fn may_pass(status: &Status) -> bool {
    match status.code() {
        Code::Unavailable => !status.message().contains("at the address it gave"),
        Code::Unknown => status.message().contains("does not have a leader"),
        // One that does not answer in time says nothing about the others.
        Code::Aborted | Code::ResourceExhausted | Code::Cancelled | Code::DeadlineExceeded => true,
        _ => false,
    }
}

fn refused(remote: &str, status: &Status) -> NodeError {
    NodeError::Join {
        code: status.code(),
        message: format!("the manager at {remote} did not admit this one: {}", status.message()),
    }
}
