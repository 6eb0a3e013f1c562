//! The methods of the daemon itself: its life, its keys, its raft group.

use skep_proto::{
    skep::{
        DaemonState, GetKeysRequest, GetKeysResponse, GetRaftStatusRequest, GetRaftStatusResponse,
        GetStatusRequest, GetStatusResponse, InitRequest, InitResponse, JoinRequest, JoinResponse,
        LeaveRequest, LeaveResponse, TransferLeadershipRequest, TransferLeadershipResponse,
        UnlockRequest, UnlockResponse,
    },
    swarmkit::Node,
};
use tonic::Status;

use super::World;

pub fn get_status(world: &mut World, _: GetStatusRequest) -> Result<GetStatusResponse, Status> {
    Ok(world.status.clone())
}

pub fn init(world: &mut World, request: InitRequest) -> Result<InitResponse, Status> {
    if world.status.state() != DaemonState::Inactive {
        return Err(Status::failed_precondition("this node is already part of a swarm"));
    }
    let unlock_key = if request.autolock { "SWMKEY-1-key" } else { "" }.to_owned();
    world.founded_with = Some(request);
    let active = World::active();
    world.status = active.status;
    Ok(InitResponse {
        node_id: world.status.node_id.clone(),
        cluster_id: world.status.cluster_id.clone(),
        worker_join_token: active.keys.worker_join_token,
        manager_join_token: active.keys.manager_join_token,
        unlock_key,
    })
}

pub fn join(world: &mut World, request: JoinRequest) -> Result<JoinResponse, Status> {
    let role = match request.token.as_str() {
        "SWMTKN-1-worker" => "swarm-worker",
        "SWMTKN-1-manager" => "swarm-manager",
        _ => {
            return Err(Status::invalid_argument(
                "A valid join token is necessary to join this cluster",
            ));
        }
    };
    world.joined_with = Some(request);
    Ok(JoinResponse { node_id: "node2".into(), cluster_id: "cluster1".into(), role: role.into() })
}

pub fn leave(_: &mut World, request: LeaveRequest) -> Result<LeaveResponse, Status> {
    match request.force {
        true => Ok(LeaveResponse {}),
        false => Err(Status::failed_precondition("this is the last manager; use --force")),
    }
}

pub fn unlock(world: &mut World, request: UnlockRequest) -> Result<UnlockResponse, Status> {
    let good = request.unlock_key == "SWMKEY-1-key";
    world.unlocked_with = Some(request);
    if good { Ok(UnlockResponse {}) } else { Err(Status::invalid_argument("invalid key")) }
}

pub fn get_keys(world: &mut World, _: GetKeysRequest) -> Result<GetKeysResponse, Status> {
    Ok(world.keys.clone())
}

pub fn get_raft_status(
    world: &mut World,
    _: GetRaftStatusRequest,
) -> Result<GetRaftStatusResponse, Status> {
    Ok(world.raft.clone())
}

pub fn transfer_leadership(
    world: &mut World,
    request: TransferLeadershipRequest,
) -> Result<TransferLeadershipResponse, Status> {
    let wanted = |n: &&Node| request.target.is_empty() && n.id != "node1" || n.id == request.target;
    let target =
        world.nodes.iter().find(wanted).ok_or_else(|| Status::not_found("no such member"))?;
    Ok(TransferLeadershipResponse { leader_node_id: target.id.clone() })
}
