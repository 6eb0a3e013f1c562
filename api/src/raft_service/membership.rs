//! SwarmKit's `RaftMembership` service: managers join and leave the group through the leader.

use std::net::{IpAddr, SocketAddr};

use skep_proto::swarmkit::{
    JoinRequest, JoinResponse, LeaveRequest, LeaveResponse, RaftMember,
    raft_membership_server::RaftMembership,
};
use skep_raft::{Member, MembershipError, RaftId};
use tonic::{Request, Response, Status, async_trait};

use super::RaftServices;
use crate::Caller;

/// The text that SwarmKit gives when leadership was lost before or during a change.
pub const LOST_LEADERSHIP: &str = "raft: failed to process the request: node lost leader status";

#[async_trait]
impl RaftMembership for RaftServices {
    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinResponse>, Status> {
        let receiver = self.receiver()?;
        let caller = caller(&request)?;
        let addr = joiners_addr(&request.get_ref().addr, caller.remote_ip())?;
        let joined = receiver.port.join(caller.node_id.to_string(), addr).await.map_err(status)?;
        Ok(Response::new(JoinResponse {
            raft_id: joined.raft_id.0,
            members: joined.members.into_iter().map(member).collect(),
            // SwarmKit never fills it in.
            removed_members: Vec::new(),
        }))
    }

    async fn leave(
        &self,
        request: Request<LeaveRequest>,
    ) -> Result<Response<LeaveResponse>, Status> {
        let receiver = self.receiver()?;
        let by = caller(&request)?;
        let node = request
            .into_inner()
            .node
            .ok_or_else(|| Status::invalid_argument("leave request without a node"))?;
        let raft_id = RaftId(node.raft_id);
        // Any manager may remove any, as with SwarmKit; so it is written down who did.
        tracing::info!(by = &*by.node_id, member = %raft_id, "a manager asks for a member to leave");
        receiver.port.remove(raft_id).await.map_err(status)?;
        Ok(Response::new(LeaveResponse {}))
    }
}

fn caller<T>(request: &Request<T>) -> Result<Caller, Status> {
    let caller = request.extensions().get::<Caller>().cloned();
    caller.ok_or_else(|| Status::internal("the door did not say who is calling"))
}

fn member(member: Member) -> RaftMember {
    RaftMember {
        raft_id: member.raft_id.0,
        node_id: member.node_id,
        addr: member.addr,
        status: None,
    }
}

/// The address of a joiner: a host that means "all of mine" becomes the one that it called from.
fn joiners_addr(addr: &str, remote: Option<IpAddr>) -> Result<String, Status> {
    let invalid = |why: &str| Status::invalid_argument(format!("invalid address {addr}: {why}"));
    let (host, port) = addr.rsplit_once(':').ok_or_else(|| invalid("missing port in address"))?;
    let port: u16 = port.parse().map_err(|_| invalid("the port is no number up to 65535"))?;
    let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bracketed.is_none() && host.contains(':') {
        return Err(invalid("too many colons in address"));
    }
    let host = bracketed.unwrap_or(host);
    let unspecified = host.is_empty() || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified());
    if !unspecified {
        return Ok(addr.to_owned());
    }
    let ip = remote
        .ok_or_else(|| invalid("it names no host, and where the call came from is not known"))?;
    Ok(SocketAddr::new(ip, port).to_string())
}

fn status(error: MembershipError) -> Status {
    let text = error.to_string();
    match error {
        MembershipError::NotLeader => Status::failed_precondition(LOST_LEADERSHIP),
        MembershipError::Unhealthy { .. }
        | MembershipError::ChangeInProgress
        | MembershipError::UnknownOutcome
        | MembershipError::Stopped => Status::unavailable(text),
        MembershipError::QuorumLoss { .. } | MembershipError::Refused(_) => {
            Status::failed_precondition(text)
        }
        MembershipError::Unknown(_) => Status::not_found(text),
        MembershipError::Full(_) => Status::resource_exhausted(text),
        MembershipError::TimedOut => Status::deadline_exceeded(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_joiner_that_names_no_host_gets_the_one_it_called_from() {
        let remote = Some("10.0.0.7".parse().expect("an ip"));
        let of = |addr: &str| joiners_addr(addr, remote).map_err(|s| s.message().to_owned());
        assert_eq!(of("10.0.0.1:2377").as_deref(), Ok("10.0.0.1:2377"));
        assert_eq!(of("manager.example:2377").as_deref(), Ok("manager.example:2377"));
        assert_eq!(of("0.0.0.0:2377").as_deref(), Ok("10.0.0.7:2377"));
        assert_eq!(of("[::]:2377").as_deref(), Ok("10.0.0.7:2377"));
        assert_eq!(of(":2377").as_deref(), Ok("10.0.0.7:2377"));
        assert_eq!(of("[::1]:2377").as_deref(), Ok("[::1]:2377"));
        for bad in ["", "10.0.0.1", "10.0.0.1:", "10.0.0.1:http", "::1:2377", "10.0.0.1:70000"] {
            let error = of(bad).expect_err(bad);
            assert!(error.starts_with(&format!("invalid address {bad}")), "{error}");
        }
        let six = Some("::1".parse().expect("an ip"));
        assert_eq!(joiners_addr("0.0.0.0:1", six).expect("an address"), "[::1]:1");
        assert!(joiners_addr("0.0.0.0:1", None).is_err());
    }

    #[test]
    fn no_error_of_a_change_is_the_signal_that_a_member_was_removed() {
        let errors = [
            MembershipError::NotLeader,
            MembershipError::Unknown(RaftId(1)),
            MembershipError::ChangeInProgress,
            MembershipError::Full(7),
            MembershipError::UnknownOutcome,
            MembershipError::TimedOut,
            MembershipError::Stopped,
        ];
        for error in errors {
            assert!(!crate::removed::is_signal(&status(error.clone())), "{error}");
        }
    }
}
