//! The ResourceAllocator service, which engines call when somebody attaches a single container to a network of the swarm.
//!
//! Managers hand out no addresses yet, so there is nothing to attach to. The refusal says so: the engine shows it to whoever
//! started the container.

use skep_proto::swarmkit::{
    AttachNetworkRequest, AttachNetworkResponse, DetachNetworkRequest, DetachNetworkResponse,
    resource_allocator_server::ResourceAllocator,
};
use tonic::{Request, Response, Status, async_trait};

/// Refuses every attachment.
#[derive(Clone, Copy, Debug)]
pub struct AttachmentService;

#[async_trait]
impl ResourceAllocator for AttachmentService {
    async fn attach_network(
        &self,
        _: Request<AttachNetworkRequest>,
    ) -> Result<Response<AttachNetworkResponse>, Status> {
        Err(refused())
    }

    async fn detach_network(
        &self,
        _: Request<DetachNetworkRequest>,
    ) -> Result<Response<DetachNetworkResponse>, Status> {
        Err(refused())
    }
}

fn refused() -> Status {
    Status::unimplemented(
        "the managers of this swarm do not attach single containers to its networks; run the container as a service",
    )
}
