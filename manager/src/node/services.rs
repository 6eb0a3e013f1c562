//! Which services stand behind the two doors of a manager.

use rand::{SeedableRng as _, rngs::StdRng};
use skep_api::{Health, RaftServices};
use skep_proto::{
    skep::{
        networks_server::NetworksServer, raft_admin_server::RaftAdminServer,
        scheduling_server::SchedulingServer,
    },
    swarmkit::{
        ca_server::CaServer, control_server::ControlServer, dispatcher_server::DispatcherServer,
        log_broker_server::LogBrokerServer, logs_server::LogsServer, node_ca_server::NodeCaServer,
        resource_allocator_server::ResourceAllocatorServer, watch_server::WatchServer,
    },
};
use tonic::service::Routes;

use super::raft_admin::RaftAdminService;
use crate::{
    attachments::AttachmentService, control::ControlService, leader::LeaderContext,
    networks::NetworksService, scheduler::SchedulingService, watch::WatchService,
};

/// For other nodes.
pub fn remote(context: &LeaderContext, raft: &RaftServices, admin: &RaftAdminService) -> Routes {
    common(context, admin)
        .add_service(raft.raft())
        .add_service(raft.raft_stream())
        .add_service(raft.raft_membership())
        .add_service(Health::remote().service())
        .prepare()
}

/// For this machine's operator and this node's own agent.
pub fn local(context: &LeaderContext, admin: &RaftAdminService) -> Routes {
    common(context, admin).add_service(Health::local().service()).prepare()
}

fn common(context: &LeaderContext, admin: &RaftAdminService) -> Routes {
    let control = ControlService::new(
        context.store.clone(),
        context.group.clone(),
        context.shared.authority.ca_change(),
        StdRng::from_os_rng(),
    );
    Routes::new(ControlServer::new(control))
        .add_service(WatchServer::new(WatchService::new(context.store.clone())))
        .add_service(DispatcherServer::new(context.shared.dispatcher.clone()))
        .add_service(LogBrokerServer::new(context.shared.logs.clone()))
        .add_service(LogsServer::new(context.shared.logs.clone()))
        .add_service(ResourceAllocatorServer::new(AttachmentService::new(
            context.store.clone(),
            StdRng::from_os_rng(),
        )))
        .add_service(CaServer::new(context.shared.authority.ca_service()))
        .add_service(NodeCaServer::new(context.shared.authority.node_ca_service()))
        .add_service(SchedulingServer::new(SchedulingService::new(
            context.store.clone(),
            context.group.clone(),
            context.clock.clone(),
        )))
        .add_service(NetworksServer::new(NetworksService::new(
            context.store.clone(),
            context.group.clone(),
        )))
        .add_service(RaftAdminServer::new(admin.clone()))
}
