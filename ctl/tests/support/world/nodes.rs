//! The methods of nodes.

use skep_proto::swarmkit::*;
use tonic::Status;

use super::{World, any};

pub fn update_node(
    world: &mut World,
    request: UpdateNodeRequest,
) -> Result<UpdateNodeResponse, Status> {
    let place = world.nodes.iter().position(|n| n.id == request.node_id);
    let place = place.ok_or_else(|| Status::not_found("node not found"))?;
    let mut meta = world.nodes[place].meta.take();
    let checked = world.check_version(&mut meta, request.node_version);
    world.nodes[place].meta = meta;
    checked?;
    world.nodes[place].spec = request.spec;
    Ok(UpdateNodeResponse { node: Some(world.nodes[place].clone()) })
}

pub fn remove_node(
    world: &mut World,
    request: RemoveNodeRequest,
) -> Result<RemoveNodeResponse, Status> {
    let node = world.nodes.iter().find(|n| n.id == request.node_id);
    let node = node.ok_or_else(|| Status::not_found("node not found"))?;
    if node.status.as_ref().unwrap().state() == node_status::State::Ready && !request.force {
        let text = format!("node {} is not down and can't be removed", node.id);
        return Err(Status::failed_precondition(text));
    }
    world.nodes.retain(|n| n.id != request.node_id);
    Ok(RemoveNodeResponse {})
}

pub fn get_node(world: &mut World, request: GetNodeRequest) -> Result<GetNodeResponse, Status> {
    let node = world.nodes.iter().find(|n| n.id == request.node_id).cloned();
    let node =
        node.ok_or_else(|| Status::not_found(format!("node {} not found", request.node_id)))?;
    Ok(GetNodeResponse { node: Some(node) })
}

pub fn list_nodes(
    world: &mut World,
    request: ListNodesRequest,
) -> Result<ListNodesResponse, Status> {
    let wanted = request.filters.unwrap_or_default();
    let chosen = |node: &&Node| {
        let hostname = &node.description.as_ref().unwrap().hostname;
        let role = node.spec.as_ref().unwrap().desired_role;
        any(&wanted.names, |n| n == hostname)
            && any(&wanted.name_prefixes, |n| hostname.starts_with(n.as_str()))
            && any(&wanted.id_prefixes, |i| node.id.starts_with(i.as_str()))
            && any(&wanted.roles, |r| *r == role)
    };
    Ok(ListNodesResponse { nodes: world.nodes.iter().filter(chosen).cloned().collect() })
}
