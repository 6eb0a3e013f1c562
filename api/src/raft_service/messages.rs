//! SwarmKit's `Raft` service: a call for each message, and addresses of members.

use skep_proto::swarmkit::{
    ProcessRaftMessageRequest, ProcessRaftMessageResponse, ResolveAddressRequest,
    ResolveAddressResponse, StreamRaftMessageRequest, StreamRaftMessageResponse, raft_server::Raft,
};
use skep_raft::RaftId;
use tonic::{Request, Response, Status, Streaming, async_trait};

use super::RaftServices;
use crate::snapshot_parts::Assembly;

#[async_trait]
impl Raft for RaftServices {
    async fn process_raft_message(
        &self,
        request: Request<ProcessRaftMessageRequest>,
    ) -> Result<Response<ProcessRaftMessageResponse>, Status> {
        let receiver = self.receiver()?;
        let message = request
            .into_inner()
            .message
            .ok_or_else(|| Status::invalid_argument("Raft message request without a message"))?;
        receiver.receive(message).await?;
        Ok(Response::new(ProcessRaftMessageResponse {}))
    }

    async fn stream_raft_message(
        &self,
        request: Request<Streaming<StreamRaftMessageRequest>>,
    ) -> Result<Response<StreamRaftMessageResponse>, Status> {
        let receiver = self.receiver()?;
        let mut parts = request.into_inner();
        let mut assembly = Assembly::default();
        while let Some(part) = parts.message().await? {
            assembly.push(part)?;
        }
        receiver.receive(assembly.finish()?).await?;
        Ok(Response::new(StreamRaftMessageResponse {}))
    }

    async fn resolve_address(
        &self,
        request: Request<ResolveAddressRequest>,
    ) -> Result<Response<ResolveAddressResponse>, Status> {
        let (_, members) = self.receiver()?.port.group();
        let raft_id = RaftId(request.into_inner().raft_id);
        let member = members.get(raft_id).ok_or_else(|| {
            Status::not_found(format!("raft member {raft_id} is not known to this manager"))
        })?;
        Ok(Response::new(ResolveAddressResponse { addr: member.addr.clone() }))
    }
}
