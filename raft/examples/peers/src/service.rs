//! What other nodes ask of this one.

use std::{pin::Pin, sync::Arc};

use futures::{Stream, future::join_all, stream};
use skep_proto::raftpb;
use skep_raft::{Member, MembershipError, NodeHandle, RaftId, StepError};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

use crate::{
    CallError, Owner, ask,
    folder::{name_of, node_id},
    snapshot,
    transport::{Joined, Shared},
    wire::{
        self, CallReply, CallRequest, Frame, Hello, JoinReply, JoinRequest, NAME_BYTES_MAX,
        Nothing, RemoveRequest, SNAPSHOTS_MAX, SnapshotPart, Whoami, call_reply::Outcome,
        removed_signal,
    },
};

/// See the module.
#[derive(Clone)]
pub struct Service {
    shared: Arc<Shared>,
    owner: Arc<dyn Owner>,
    snapshots: Arc<Semaphore>,
    stop: CancellationToken,
}

impl Service {
    pub fn new(shared: Arc<Shared>, owner: Arc<dyn Owner>, stop: CancellationToken) -> Service {
        Service { shared, owner, snapshots: Arc::new(Semaphore::new(SNAPSHOTS_MAX)), stop }
    }

    fn joined(&self) -> Result<&Joined, Status> {
        let joined = self.shared.membership.get();
        joined.ok_or_else(|| Status::failed_precondition("this node is not a member yet"))
    }

    /// Checks who begins a stream. Gives the raft node, and the id that everything on the stream must come from.
    fn greet(&self, hello: Option<Hello>) -> Result<(NodeHandle, RaftId), Status> {
        let hello = hello.ok_or_else(|| Status::invalid_argument("a stream without a greeting"))?;
        let joined = self.joined()?;
        if hello.cluster != joined.cluster {
            return Err(Status::failed_precondition(format!(
                "this is group {:016x}, and the caller belongs to {:016x}",
                joined.cluster, hello.cluster
            )));
        }
        let from = RaftId(hello.from);
        if joined.node.status().members.is_removed(from) {
            return Err(removed_signal());
        }
        if hello.from == 0 || hello.addr.is_empty() || hello.addr.len() > NAME_BYTES_MAX {
            return Err(Status::invalid_argument("the greeting does not say who and where"));
        }
        self.shared.called_by(from, &hello.addr);
        Ok((joined.node.clone(), from))
    }
}

/// Gives a message to the node. What raft makes good by itself does not end the stream.
fn step(node: &NodeHandle, from: RaftId, message: raftpb::Message) -> Result<(), Status> {
    if message.from() != from.0 {
        return Err(Status::invalid_argument("a message of somebody else"));
    }
    match node.step(message) {
        Ok(()) | Err(StepError::Busy) => Ok(()),
        Err(error @ StepError::Malformed { .. }) => {
            tracing::warn!("raft message dropped: {error}");
            Ok(())
        }
        Err(StepError::Removed) => Err(removed_signal()),
        Err(error @ StepError::Stopped) => Err(Status::unavailable(error.to_string())),
    }
}

type End = Pin<Box<dyn Stream<Item = Result<Nothing, Status>> + Send>>;

#[tonic::async_trait]
impl wire::peers_server::Peers for Service {
    type ExchangeStream = End;

    async fn exchange(&self, request: Request<Streaming<Frame>>) -> Result<Response<End>, Status> {
        let mut frames = request.into_inner();
        let first = frames.message().await?;
        let (node, from) = self.greet(first.and_then(|frame| frame.hello))?;
        let stop = self.stop.clone();
        let taking = async move {
            while let Some(frame) = frames.message().await? {
                for message in frame.messages {
                    step(&node, from, message)?;
                }
            }
            Ok(())
        };
        // No item ever: the stream is the time for which frames are taken, and ends with the reason why no more are.
        let end = stream::once(async move {
            let ended: Result<(), Status> = tokio::select! {
                ended = taking => ended,
                () = stop.cancelled() => Err(Status::unavailable("this member is stopping")),
            };
            Err(ended.err().unwrap_or_else(|| Status::ok("")))
        });
        Ok(Response::new(Box::pin(end)))
    }

    async fn snapshot(
        &self,
        request: Request<Streaming<SnapshotPart>>,
    ) -> Result<Response<Nothing>, Status> {
        let _permit = self
            .snapshots
            .try_acquire()
            .map_err(|_| Status::resource_exhausted("other snapshots are on their way here"))?;
        let mut parts = request.into_inner();
        let first = parts.message().await?;
        let mut first = first.ok_or_else(|| Status::invalid_argument("no snapshot"))?;
        let (node, from) = self.greet(first.hello.take())?;
        let message = snapshot::receive(first, &mut parts).await?;
        step(&node, from, message)?;
        Ok(Response::new(Nothing {}))
    }

    async fn who(&self, _: Request<Nothing>) -> Result<Response<Whoami>, Status> {
        let joined = self.shared.membership.get();
        Ok(Response::new(Whoami {
            cluster: joined.map_or(0, |joined| joined.cluster),
            name: self.shared.name.clone(),
            incarnation: self.shared.incarnation,
            member: joined.is_some(),
            listed: self.shared.listed.clone(),
            fresh: self.shared.fresh && joined.is_none(),
        }))
    }

    async fn join(&self, request: Request<JoinRequest>) -> Result<Response<JoinReply>, Status> {
        let request = request.into_inner();
        let names = [&request.name, &request.addr];
        if names.iter().any(|name| name.is_empty() || name.len() > NAME_BYTES_MAX) {
            return Err(Status::invalid_argument("a joiner has a name and an address"));
        }
        let joined = self.joined()?;
        let status = joined.node.status();
        if status.leads() {
            return self.admit(joined, request).await.map(Response::new);
        }
        let leader = leader_addr(&joined.node, request.passed_on)?;
        let request = JoinRequest { passed_on: true, ..request };
        ask::join(&self.shared.security, &leader, request).await.map(Response::new)
    }

    async fn remove(&self, request: Request<RemoveRequest>) -> Result<Response<Nothing>, Status> {
        let request = request.into_inner();
        let joined = self.joined()?;
        remove(&self.shared, joined, &request.name, request.passed_on).await?;
        Ok(Response::new(Nothing {}))
    }

    async fn call(&self, request: Request<CallRequest>) -> Result<Response<CallReply>, Status> {
        let outcome = match self.owner.call(request.into_inner().body).await {
            Ok(answer) => Outcome::Answer(answer),
            Err(CallError::NotDone(why)) => Outcome::NotDone(why),
            Err(CallError::Unknown(why)) => Outcome::Unknown(why),
        };
        Ok(Response::new(CallReply { outcome: Some(outcome) }))
    }
}

impl Service {
    /// Admits a node, on the leader.
    async fn admit(&self, joined: &Joined, request: JoinRequest) -> Result<JoinReply, Status> {
        let JoinRequest { name, incarnation, addr, .. } = request;
        let wanted = node_id(&name, incarnation);
        let members = joined.node.status().members.clone();
        // Who is a member already may move without asking anybody.
        if members.by_node(&wanted).is_none() {
            let admitted = self.owner.admits(&name, &addr).await;
            admitted.map_err(Status::failed_precondition)?;
        }
        let found = ask::who(&self.shared.security, &addr).await.map_err(|status| {
            let text = format!("{addr} does not answer from here: {}", status.message());
            Status::unavailable(text)
        })?;
        if (found.name.as_str(), found.incarnation) != (name.as_str(), incarnation) {
            return Err(Status::failed_precondition(format!(
                "another node answers at {addr}: {}",
                found.name
            )));
        }
        let others = members
            .members()
            .filter(|member| name_of(&member.node_id) == name && member.node_id != wanted);
        for old in others {
            self.replace(joined, old, &addr).await?;
        }
        let admitted = joined.node.join(wanted, addr).await.map_err(membership_status)?;
        Ok(JoinReply {
            cluster: joined.cluster,
            raft_id: admitted.raft_id.0,
            members: admitted.members.into_iter().map(to_wire).collect(),
        })
    }

    /// Removes the incarnation whose folder was lost. That it was is certain only at its own address, where another one
    /// answers now.
    async fn replace(&self, joined: &Joined, old: &Member, addr: &str) -> Result<(), Status> {
        let name = name_of(&old.node_id);
        if old.addr != addr {
            return Err(Status::already_exists(format!(
                "{name} is a member at {}; remove that one first, or choose another id",
                old.addr
            )));
        }
        tracing::info!("{name} has lost its folder: its old membership {} ends", old.raft_id);
        match joined.node.remove(old.raft_id).await {
            Ok(()) | Err(MembershipError::Unknown(_)) => Ok(()),
            Err(error) => Err(membership_status(error)),
        }
    }
}

/// Removes a member by its name: here on the leader, which hands leadership over first when it is itself to go;
/// through the leader elsewhere.
pub async fn remove(
    shared: &Shared,
    joined: &Joined,
    name: &str,
    passed_on: bool,
) -> Result<(), Status> {
    let node = &joined.node;
    let status = node.status();
    let mut passed_on = passed_on;
    if status.leads() {
        let member = status.members.members().find(|member| name_of(&member.node_id) == name);
        let unknown = || Status::not_found(format!("{name} is not a member"));
        let raft_id = member.ok_or_else(unknown)?.raft_id;
        node.check_removal(raft_id).map_err(membership_status)?;
        check_quorum_without(shared, joined, raft_id).await?;
        if raft_id != node.own() {
            return node.remove(raft_id).await.map_err(membership_status);
        }
        let handed_over = node.transfer(None).await;
        handed_over.map_err(|error| Status::unavailable(error.to_string()))?;
        passed_on = false;
    }
    let leader = leader_addr(node, passed_on)?;
    let request = wire::RemoveRequest { name: name.to_owned(), passed_on: true };
    ask::remove(&shared.security, &leader, request).await
}

/// Makes sure that those who would remain are a majority of themselves right now. What the raft node knows of who can be
/// reached is as old as its last heartbeat; a member that has died since would take the group with it.
async fn check_quorum_without(
    shared: &Shared,
    joined: &Joined,
    raft_id: RaftId,
) -> Result<(), Status> {
    let members = joined.node.status().members.clone();
    let remaining: Vec<_> =
        members.members().filter(|member| member.raft_id != raft_id).cloned().collect();
    let own = joined.node.own();
    let asked = remaining.iter().map(|member| async {
        if member.raft_id == own {
            return true;
        }
        let who = ask::who(&shared.security, &member.addr).await;
        who.is_ok_and(|who| node_id(&who.name, who.incarnation) == member.node_id && who.member)
    });
    let answered = join_all(asked).await.into_iter().filter(|answers| *answers).count();
    if answered * 2 <= remaining.len() {
        return Err(Status::failed_precondition(format!(
            "only {answered} of the {} members that would remain answer, which is no majority",
            remaining.len()
        )));
    }
    Ok(())
}

/// Where the leader is, for somebody else's request that is passed on at most once.
pub fn leader_addr(node: &NodeHandle, passed_on: bool) -> Result<String, Status> {
    let status = node.status();
    let leader = status.leader.filter(|leader| *leader != status.own && !passed_on);
    let member = leader.and_then(|leader| status.members.get(leader));
    let addr = member.map(|member| member.addr.clone());
    addr.ok_or_else(|| Status::unavailable("the group has no leader at the moment; try again"))
}

fn to_wire(member: Member) -> wire::Member {
    wire::Member { raft_id: member.raft_id.0, node_id: member.node_id, addr: member.addr }
}

fn membership_status(error: MembershipError) -> Status {
    let text = error.to_string();
    match error {
        MembershipError::Unknown(_) => Status::not_found(text),
        MembershipError::QuorumLoss { .. } | MembershipError::Refused(_) => {
            Status::failed_precondition(text)
        }
        MembershipError::Full(_) => Status::resource_exhausted(text),
        MembershipError::TimedOut => Status::deadline_exceeded(text),
        MembershipError::NotLeader
        | MembershipError::Unhealthy { .. }
        | MembershipError::ChangeInProgress
        | MembershipError::UnknownOutcome
        | MembershipError::Stopped => Status::unavailable(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            assert!(!wire::is_removed_signal(&membership_status(error.clone())), "{error}");
        }
        assert!(wire::is_removed_signal(&removed_signal()));
        assert!(!wire::is_removed_signal(&Status::unknown(StepError::Removed.to_string())));
    }
}
